"""The judge of the soak: what it calls growth."""

from __future__ import annotations

import random

import pytest

from tests.functional.soak.vitals import growth

TIMES = [float(number) for number in range(60)]


def noise(amount: float) -> list[float]:
    """The same each time."""
    chance = random.Random(1)  # noqa: S311 - not for secrets
    return [chance.uniform(-amount, amount) for _ in TIMES]


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 60,
        [100 + one for one in noise(5)],
        [100 + min(time, 12) * 3 for time in TIMES],
        [100 + (80 if 30 <= time < 33 else 0) for time in TIMES],
        [100 + (60 if time > 56 else 0) for time in TIMES],
    ],
    ids=["flat", "noisy", "warm-up", "a burst", "a burst at the end"],
)
def test_what_does_not_grow_is_left_alone(values: list[float]) -> None:
    """Noise, warm-up and bursts are no leak."""
    assert not growth(TIMES, values).above(8)


@pytest.mark.parametrize("amount", [0.0, 5.0])
def test_a_leak_is_seen(amount: float) -> None:
    """Half a MiB a sample, under noise too."""
    leak = [100 + 0.5 * time + one for time, one in zip(TIMES, noise(amount), strict=True)]
    assert growth(TIMES, leak).above(8)
