"""Latencies in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from llm_deploy.bench.histogram import Histogram, bucket, highest, merged

SECONDS = st.floats(0, 10_000, allow_nan=False)
VALUES = st.lists(SECONDS, min_size=1, max_size=200)


def of(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@given(st.integers(0, 2**40))
def test_a_bucket_holds_its_value(value: int) -> None:
    """A bucket's highest value is not below any of its values, nor more than 0.8 % above."""
    top = highest(bucket(value))
    assert value <= top <= value * (1 + 1 / 128) + 1
    assert bucket(top) == bucket(value)
    assert bucket(top + 1) == bucket(value) + 1


@given(VALUES, st.sampled_from([1.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_that_of_the_sorted_values(values: list[float], percent: float) -> None:
    """It is the exact one, rounded up by less than 1 %."""
    exact = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    found = of(values).percentile_s(percent)
    assert exact - 1e-6 <= found <= exact * 1.008 + 2e-6


@given(VALUES, VALUES)
def test_histograms_add_up(first: list[float], second: list[float]) -> None:
    """Two together are one of all values."""
    both, whole = merged([of(first), of(second)]), of(first + second)
    assert (both.counts, both.count, both.max_s) == (whole.counts, whole.count, whole.max_s)
    assert both.mean_s == pytest.approx(whole.mean_s)


@given(VALUES)
def test_shares_rise_to_one(values: list[float]) -> None:
    """The distribution's points go up and right, and end at 1."""
    shares = of(values).shares()
    assert shares == sorted(shares)
    assert shares[-1][1] == 1.0


def test_memory_is_bounded() -> None:
    """A hundred thousand values from a microsecond to a day need fewer than 5,000 counters."""
    made = of([1e-6 * 1.0003**number for number in range(84_000)])
    assert made.max_s > 80_000
    assert len(made.counts) < 5000


def test_nothing_counted() -> None:
    """An empty histogram has zeros to show."""
    assert (Histogram().percentile_s(99), Histogram().mean_s, Histogram().shares()) == (0.0, 0.0, [])
