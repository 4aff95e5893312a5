"""Where a warm-up ends, and what is steady."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from llm_deploy.bench import steady


def noisy(mean: float, count: int, seed: int) -> list[float]:
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    return [random.gauss(mean, 0.1 * mean) for _ in range(count)]


@given(st.integers(0, 1000), st.integers(2, 10))
def test_a_slow_beginning_is_left_out(seed: int, cold: int) -> None:
    """Windows ten times as slow as the rest are cut, and little more than they."""
    values = noisy(10.0, cold, seed) + noisy(1.0, 40, seed + 1)
    assert cold <= steady.warm_up(values) <= len(values) // 2


@given(st.lists(st.floats(0, 100), max_size=60))
def test_at_most_half_is_left_out(values: list[float]) -> None:
    """Whatever the values are."""
    assert 0 <= steady.warm_up(values) <= len(values) // 2


def test_noise_is_steady() -> None:
    """Of 200 rows of noise hardly one is called growing."""
    verdicts = [steady.verdict(noisy(1.0, 40, seed)) for seed in range(200)]
    assert verdicts.count("growing") <= 2


@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_a_queue_that_grows_is_seen(seed: int, slope: float) -> None:
    """Latency that rises with every window."""
    values = [value + slope * index for index, value in enumerate(noisy(1.0, 40, seed))]
    assert steady.verdict(values) == "growing"


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_windows_say_nothing(count: int) -> None:
    """They are called short, and nothing of them is left out."""
    assert steady.verdict([1.0] * count) == "short"
    assert steady.warm_up([1.0] * count) == 0
