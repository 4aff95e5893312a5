"""The cloud's clock: AWS's durations, divided by the speed.

Time stamps are the machine's own, so that a foreign client's time windows hold; only waiting is shortened. A state
machine asks `deadline(duration_s)` once, stores the answer, and waits with `until`. A deadline is an absolute time and
survives a restart.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """What a state machine may know of time."""

    def now(self) -> float:
        """Seconds since the epoch, for time stamps."""

    def deadline(self, duration_s: float, *, least_real_s: float = 0.0) -> float:
        """The moment `duration_s` virtual seconds from now, at least `least_real_s` real seconds away."""

    async def until(self, moment: float) -> None:
        """Wait for a moment; returns at once when it has passed."""


_DIGITS = 3
"""Milliseconds, as AWS's time stamps have: a client that sends one back as a filter sends the very same."""


class ScaledClock:
    """The machine's clock, whose waits are `speed` times shorter than AWS's."""

    def __init__(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"the speed must be above 0, not {speed}")
        self.speed = speed

    def now(self) -> float:
        """Seconds since the epoch, in whole milliseconds."""
        return round(time.time(), _DIGITS)

    def deadline(self, duration_s: float, *, least_real_s: float = 0.0) -> float:
        """See `Clock.deadline`."""
        return self.now() + max(duration_s / self.speed, least_real_s)

    async def until(self, moment: float) -> None:
        """See `Clock.until`."""
        # A loop, because the wall clock may be set while we sleep.
        while (left := moment - self.now()) > 0:  # noqa: ASYNC110 - it is the time that is waited for
            await asyncio.sleep(min(left, 1.0))


class ManualClock:
    """A clock that stands still until it is told to go on: tests of minutes take no time."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> float:
        """Seconds since the epoch, as told."""
        return self._now

    def deadline(self, duration_s: float, *, least_real_s: float = 0.0) -> float:
        """See `Clock.deadline`; one virtual second is one second here."""
        return self._now + max(duration_s, least_real_s)

    async def until(self, moment: float) -> None:
        """See `Clock.until`."""
        if moment > self._now:
            event = asyncio.Event()
            heapq.heappush(self._sleepers, (moment, id(event), event))
            await event.wait()

    async def advance(self, duration_s: float) -> None:
        """Go on by `duration_s`, waking each sleeper at its own moment and in order, and let the tasks run."""
        end = self._now + duration_s
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, event = heapq.heappop(self._sleepers)
            self._now = max(self._now, moment)
            event.set()
            await settle()
        self._now = end


async def settle(rounds: int = 20) -> None:
    """Give every ready task of the loop a turn, several times."""
    for _ in range(rounds):
        await asyncio.sleep(0)
