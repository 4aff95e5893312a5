"""Which rate to try next."""

from __future__ import annotations

from hypothesis import given, strategies as st

from llm_deploy.bench.search import Found, Verdict, found, search

RATES = st.floats(0.01, 1000)


def driven(first: float, limit: float, saturation: float, most: int = 60) -> tuple[Found, list[float]]:
    """Search a model that keeps the SLO up to a limit and keeps up to another."""
    trying, tried = search(first, precision=0.1, most_trials=most), []
    rate = next(trying)
    while True:
        tried.append(rate)
        try:
            rate = trying.send(Verdict(good=rate <= limit, saturated=rate > saturation))
        except StopIteration as end:
            return end.value, tried


@given(RATES, RATES, st.floats(1, 20))
def test_it_finds_the_limit(first: float, limit: float, beyond: float) -> None:
    """Within a tenth below it, and a rate that saturates, at most twice what is needed."""
    seen, _ = driven(first, limit, limit * beyond)
    assert seen.best_per_s is not None
    assert seen.too_much_per_s is not None
    assert seen.best_per_s <= limit < seen.too_much_per_s <= seen.best_per_s * 1.1
    assert seen.saturated_per_s is not None
    assert limit * beyond < seen.saturated_per_s


@given(RATES, RATES, st.integers(1, 12))
def test_it_ends_within_its_trials(first: float, limit: float, most: int) -> None:
    """However far away the limit is, and no rate is tried twice."""
    _, tried = driven(first, limit, limit, most)
    assert len(tried) == len(set(tried)) <= most


@given(st.lists(st.booleans(), min_size=12, max_size=12), RATES)
def test_noise_never_raises_the_answer(verdicts: list[bool], first: float) -> None:
    """Whatever is said, the answer lies below every rate that was bad, and was good itself."""
    trying, tried = search(first, most_trials=12), {}
    rate = next(trying)
    for good in verdicts:
        tried[rate] = Verdict(good=good, saturated=False)
        try:
            rate = trying.send(tried[rate])
        except StopIteration:
            break
    seen = found(tried)
    if seen.best_per_s is not None:
        assert tried[seen.best_per_s].good
        assert all(verdict.good for tried_rate, verdict in tried.items() if tried_rate <= seen.best_per_s)


def test_a_model_that_never_keeps_the_slo_ends_the_search() -> None:
    """There is then no best rate; the rates go down until they mean nothing."""
    seen, tried = driven(0.01, 0.0, 1.0, most=50)
    assert seen.best_per_s is None
    assert seen.too_much_per_s is not None
    assert seen.too_much_per_s >= 0.001
    assert len(tried) < 6
