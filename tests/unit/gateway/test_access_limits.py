"""Rates and budgets, against slow models of them and under any order of events."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from llm_deploy.gateway.limits import FOREVER, SECONDS_A_DAY, Bucket, Budget, day, grant_for

MINUTE = 60
moves = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(-200, 200)),
        st.tuples(st.just("take"), st.integers(1, 500)),
        st.tuples(st.just("give"), st.integers(1, 300)),
    ),
    max_size=60,
)


class SlowBucket:
    """The same rate in exact arithmetic, second by second: what `Bucket` must agree with."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.level = Fraction(per_minute)
        self.latest_s = 0

    def pass_to(self, now_s: int) -> None:
        """Refill, a second at a time."""
        while self.latest_s < now_s:
            self.latest_s += 1
            self.level = min(Fraction(self.per_minute), self.level + Fraction(self.per_minute, MINUTE))

    def passes(self, amount: int) -> bool:
        """Whether this amount may be taken."""
        return self.level >= min(amount, self.per_minute)


@given(st.integers(1, 400), moves)
def test_a_bucket_agrees_with_exact_arithmetic(per_minute: int, events: list[tuple[str, int]]) -> None:
    """Whatever is taken and given back, and whatever the clock does, both let the same pass."""
    bucket, slow, now_s = Bucket(per_minute, 0.0), SlowBucket(per_minute), 0
    for event, number in events:
        if event == "wait":
            now_s += number
            slow.pass_to(now_s)
            bucket.wait_s(0, now_s)  # a bucket knows of those times only at which it is asked
        elif event == "give":
            bucket.take(-number)
            slow.level = min(Fraction(per_minute), slow.level + number)
        else:
            passes = bucket.wait_s(number, now_s) == 0
            assert passes == slow.passes(number)
            if passes:
                bucket.take(number)
                slow.level -= number
    assert bucket.level == pytest.approx(float(slow.level), abs=1e-4)


@given(st.integers(1, 400), st.lists(st.tuples(st.integers(-100, 100), st.integers(1, 900)), max_size=60))
def test_no_more_passes_than_capacity_and_refill_and_one_large_request(
    per_minute: int, events: list[tuple[int, int]]
) -> None:
    """The stated bound, over the whole run, with a clock that also steps back."""
    bucket, now_s, latest_s, passed, largest = Bucket(per_minute, 0.0), 0, 0, 0, 0
    for step_s, amount in events:
        now_s += step_s
        latest_s = max(latest_s, now_s)
        if bucket.wait_s(amount, now_s) == 0:
            bucket.take(amount)
            passed, largest = passed + amount, max(largest, amount)
    assert passed <= per_minute + per_minute / MINUTE * latest_s + largest + 1e-3


@given(st.integers(1, 1000), st.integers(1, 3000), st.integers(1, 3000))
def test_the_time_to_wait_is_true(per_minute: int, first: int, second: int) -> None:
    """After it the request passes; shortly before it does not."""
    bucket = Bucket(per_minute, 0.0)
    assert bucket.wait_s(first, 0.0) == 0
    bucket.take(first)
    wait_s = bucket.wait_s(second, 0.0)
    if wait_s > 0.01:
        assert bucket.wait_s(second, wait_s * 0.99) > 0
    assert bucket.wait_s(second, wait_s) == 0


def test_a_bucket_that_is_divided_and_put_together_again_is_as_full_as_before() -> None:
    """Processes that come and go neither make tokens nor lose them."""
    bucket = Bucket(600, 0.0)
    bucket.take(200)
    bucket.resize(300)
    assert (bucket.level, bucket.capacity, bucket.rate_per_s) == (200, 300, 5)
    bucket.resize(600)
    assert bucket.level == 400


def test_a_budget_alone_is_exact() -> None:
    """With nobody to share with, all of it can be used, and not one token more."""
    budget = Budget(FOREVER, 100)
    budget.share(1, sole=True, offline=False)
    for _ in range(10):
        assert budget.fits(10)
        budget.reserved += 10
    assert not budget.fits(1)
    budget.settle(10, 3)
    assert budget.fits(7)
    assert not budget.fits(8)


def test_what_was_given_back_is_not_used() -> None:
    """From the moment it is offered to others, before the database knows."""
    budget = Budget(FOREVER, 1000)
    budget.share(2, sole=False, offline=False)
    budget.grant(granted=400, free=0, elsewhere=0)
    assert budget.shrink(idle=True) == 0
    assert not budget.fits(100)


def test_a_process_that_is_cut_off_goes_on_with_its_part_of_what_was_free() -> None:
    """An outage of the database stops nobody at once, and all parts together are no more than was free."""
    budget = Budget(FOREVER, 1000)
    budget.share(4, sole=False, offline=True)
    assert budget.credit == 250
    budget.share(4, sole=False, offline=False)
    assert budget.credit == 12


@given(st.integers(0, 3 * SECONDS_A_DAY), st.integers(0, 3 * SECONDS_A_DAY))
def test_a_clock_that_steps_back_over_midnight_does_not_reopen_a_day(first_s: int, second_s: int) -> None:
    """A day back is a clock being set right; more is a clock that had been wrong."""
    before = day(first_s)
    after = day(second_s, before)
    assert after == (before if before - second_s // SECONDS_A_DAY == 1 else second_s // SECONDS_A_DAY)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 10))
def test_no_grant_beyond_the_limit_but_for_what_is_claimed_or_kept(
    limit: int, claimed: int, kept: int, others: int, processes: int
) -> None:
    """What has been used cannot be taken back; nothing is added to it when nothing is left."""
    granted = grant_for(limit=limit, claimed=claimed, kept=kept, others=others, processes=processes)
    assert granted >= max(claimed, kept)
    assert granted <= max(claimed, kept, limit - others)
