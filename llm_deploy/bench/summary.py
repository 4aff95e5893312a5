"""From what a run saw to the documents of the report. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_deploy.bench import steady
from llm_deploy.bench.document import Capacity, Cost, Generator, Moment, Percentiles, Phase
from llm_deploy.bench.histogram import Histogram
from llm_deploy.bench.load import Outcome
from llm_deploy.bench.search import Found
from llm_deploy.bench.slo import Slo
from llm_deploy.bench.windows import Window, total

MOST_LOST = 0.05
"""A larger share of requests that failed, or were held back, means that the model does not keep up."""
MOST_LAG_MS = 10.0
MOST_CPU_SHARE = 0.9
MOST_POINTS = 80
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Load:
    """What was offered in a phase, in words and numbers."""

    words: str
    offered_per_s: float | None = None
    users: int | None = None


def phase(load: Load, outcome: Outcome, slo: Slo, warm_up_s: float | None) -> Phase:
    """Summarize a run; without `warm_up_s` the warm-up is found."""
    cut_s, verdict = _steady_from(outcome, warm_up_s)
    end_s = outcome.sent_until_s
    seen = total(outcome.windows.between(cut_s, max(end_s, cut_s + outcome.windows.width_s)))
    measured_s = max(end_s - cut_s, 1e-9)
    failed = sum(seen.failed.values())
    share = seen.good / seen.due if seen.due else 0.0
    lost = max(failed, seen.held_back) > MOST_LOST * seen.due
    return Phase(
        load=load.words,
        offered_per_s=load.offered_per_s,
        users=load.users,
        warm_up_s=cut_s,
        measured_s=measured_s,
        verdict=verdict,
        saturated=load.users is None and (verdict == "growing" or lost),
        requests=seen.due,
        failed=failed,
        errors=dict(seen.failed),
        held_back=seen.held_back,
        good=seen.good,
        good_share=share,
        meets_slo=seen.due > 0 and share >= slo.share,
        requests_per_s=seen.ended_well / measured_s,
        goodput_per_s=seen.good / measured_s,
        tokens_per_s=seen.tokens / measured_s,
        prompt_tokens_per_s=seen.prompt_tokens / measured_s,
        concurrency=seen.busy_s / measured_s,
        ttft=percentiles(seen.ttft),
        tpot=percentiles(seen.tpot),
        gap=percentiles(seen.gap),
        total=percentiles(seen.total),
        lag=percentiles(seen.lag),
        cpu_share=outcome.cpu_s / max(end_s, 1e-9),
        ttft_shares=_shares(seen.ttft),
        total_shares=_shares(seen.total),
        series=[_moment(window, index, outcome.windows.width_s) for index, window in enumerate(outcome.windows)],
    )


def _steady_from(outcome: Outcome, warm_up_s: float | None) -> tuple[float, steady.Verdict]:
    """Where the measured stretch begins, and what it is like: by the mean latency of each window's requests."""
    width_s = outcome.windows.width_s
    row = [
        (index * width_s, window.total.mean_s)
        for index, window in enumerate(outcome.windows)
        if window.total.count and index * width_s < outcome.sent_until_s
    ]
    if warm_up_s is None:
        cut = steady.warm_up([mean for _, mean in row])
        warm_up_s = row[cut][0] if cut else 0.0
    warm_up_s = min(warm_up_s, max(0.0, outcome.sent_until_s - width_s))
    return warm_up_s, steady.verdict([mean for at_s, mean in row if at_s >= warm_up_s])


def percentiles(histogram: Histogram) -> Percentiles:
    """A histogram's figures in milliseconds."""
    at = {name: 1000 * histogram.percentile_s(percent) for name, percent in _PERCENTS.items()}
    return Percentiles(count=histogram.count, mean=1000 * histogram.mean_s, max=1000 * histogram.max_s, **at)


_PERCENTS = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


def _shares(histogram: Histogram) -> list[tuple[float, float]]:
    """At most so many points of a distribution, its last one always."""
    points = histogram.shares()
    step = -(-len(points) // MOST_POINTS) or 1
    kept = points[::step] + ([points[-1]] if points and (len(points) - 1) % step else [])
    return [(1000 * value_s, share) for value_s, share in kept]


def _moment(window: Window, index: int, width_s: float) -> Moment:
    return Moment(
        at_s=index * width_s,
        due_per_s=window.due / width_s,
        ended_per_s=window.ended_well / width_s,
        tokens_per_s=window.tokens / width_s,
        under_way=window.busy_s / width_s,
        ttft_p50=1000 * window.ttft.percentile_s(50),
        total_p50=1000 * window.total.percentile_s(50),
        total_p99=1000 * window.total.percentile_s(99),
    )


def capacity(phases: Sequence[Phase], found: Found, copies: int | None) -> Capacity:
    """What all phases together say of the deployment."""
    best = next((each for each in phases if found.best_per_s and each.offered_per_s == found.best_per_s), None)
    per_copy = None if best is None or not copies or found.best_per_s is None else found.best_per_s / copies
    return Capacity(
        best_per_s=found.best_per_s,
        too_much_per_s=found.too_much_per_s,
        saturated_per_s=found.saturated_per_s,
        throughput_per_s=max((each.requests_per_s for each in phases), default=0.0),
        throughput_tokens_per_s=max((each.tokens_per_s for each in phases), default=0.0),
        best_concurrency=best and best.concurrency,
        best_tokens_per_s=best and best.tokens_per_s,
        copies=copies,
        best_per_s_per_copy=per_copy,
        invocations_per_copy_per_minute=None if per_copy is None else 60 * per_copy,
        concurrency_per_copy=best.concurrency / copies if best and copies else None,
    )


def cost(usd_per_hour: float | None, found: Capacity) -> Cost | None:
    """Dollars per million generated tokens; `None` where no price is known."""
    if usd_per_hour is None:
        return None

    def per_million(tokens_per_s: float | None) -> float | None:
        return usd_per_hour / 3600 / tokens_per_s * MILLION if tokens_per_s else None

    return Cost(
        usd_per_hour=usd_per_hour,
        usd_per_million_tokens=per_million(found.best_tokens_per_s),
        usd_per_million_tokens_saturated=per_million(found.throughput_tokens_per_s),
    )


def generator(phases: Sequence[Phase]) -> Generator:
    """What generating the load cost, and whether it was too much."""
    share = max((each.cpu_share for each in phases), default=0.0)
    lag = max((each.lag.p99 for each in phases), default=0.0)
    return Generator(cpu_share=share, lag_p99=lag, trusted=all(map(trusted, phases)))


def trusted(phase: Phase) -> bool:
    """Whether the generator was neither too busy nor too late for its figures to be the model's."""
    return phase.cpu_share <= MOST_CPU_SHARE and phase.lag.p99 <= MOST_LAG_MS
