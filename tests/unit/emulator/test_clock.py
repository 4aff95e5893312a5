"""Rules of the clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from llm_deploy.emulator.clock import ManualClock, ScaledClock


def test_durations_are_divided_by_the_speed() -> None:
    """A minute at speed 60 is a second, and time stamps stay the machine's."""
    clock = ScaledClock(60)
    assert clock.deadline(60) - clock.now() == pytest.approx(1, abs=0.05)
    assert clock.now() == pytest.approx(time.time(), abs=1)


def test_time_stamps_are_whole_milliseconds() -> None:
    """Botocore reads microseconds: a finer time stamp would come back as another one, and filters would miss."""
    clock = ScaledClock(60)
    assert all((moment := clock.now()) == round(moment, 3) for _ in range(1000))


def test_a_least_real_time_holds_at_any_speed() -> None:
    """What needs real time gets it, however fast the clock."""
    clock = ScaledClock(1e9)
    assert clock.deadline(60, least_real_s=20) - clock.now() == pytest.approx(20, abs=0.05)


def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    """A deadline stored before a restart may be long gone."""
    asyncio.run(asyncio.wait_for(ScaledClock(1).until(0), 0.5))


@pytest.mark.parametrize("speed", [0, -1])
def test_a_speed_is_above_zero(speed: float) -> None:
    """Time that stands still would never end a deployment."""
    with pytest.raises(ValueError, match="above 0"):
        ScaledClock(speed)


def test_sleepers_wake_in_the_order_of_their_moments() -> None:
    """One long step passes through every moment on its way."""

    async def story() -> None:
        clock, seen = ManualClock(0), []

        async def sleeper(moment: float) -> None:
            await clock.until(moment)
            seen.append((moment, clock.now()))

        tasks = [asyncio.create_task(sleeper(moment)) for moment in (30, 10, 20)]
        await clock.advance(25)
        assert seen == [(10, 10), (20, 20)]
        await clock.advance(25)
        assert seen[2:] == [(30, 30)]
        await asyncio.gather(*tasks)

    asyncio.run(story())
