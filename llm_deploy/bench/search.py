"""Which rate to try next: doubling until a rate is too much, then halving the gap. Pure; the caller does the trying."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a tried rate turned out to be: whether the SLO was kept, and whether the model kept up at all."""

    good: bool
    saturated: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the trying found; `None` where no tried rate was such.

    Attributes:
        best_per_s: The largest rate that was good, below every rate that was not.
        too_much_per_s: The least rate that was not good.
        saturated_per_s: The least rate at which the model did not keep up.
    """

    best_per_s: float | None
    too_much_per_s: float | None
    saturated_per_s: float | None


def search(
    first_per_s: float, *, precision: float = 0.1, most_trials: int = 12, least_per_s: float = 0.001
) -> Generator[float, Verdict, Found]:
    """Yields rates to try and is sent their verdicts; at most so many.

    It ends when the largest good and the least bad rate are within `precision` of each other and a rate has been met
    that saturates the model. A rate counts as good only while no lower rate was bad: noise never raises the answer.
    """
    trials: dict[float, Verdict] = {}
    rate: float | None = first_per_s
    while rate is not None and len(trials) < most_trials:
        trials[rate] = yield rate
        rate = _next(trials, precision, least_per_s)
    return found(trials)


def found(trials: dict[float, Verdict]) -> Found:
    """What a set of tried rates says."""
    bad = min((rate for rate, verdict in trials.items() if not verdict.good), default=None)
    good = [rate for rate, verdict in trials.items() if verdict.good and (bad is None or rate < bad)]
    saturated = min((rate for rate, verdict in trials.items() if verdict.saturated), default=None)
    return Found(max(good, default=None), bad, saturated)


def _next(trials: dict[float, Verdict], precision: float, least_per_s: float) -> float | None:
    seen = found(trials)
    if seen.too_much_per_s is None:
        return max(trials) * 2
    if seen.best_per_s is None:
        half = seen.too_much_per_s / 2
        return half if half >= least_per_s else None
    if seen.too_much_per_s / seen.best_per_s > 1 + precision:
        return math.sqrt(seen.too_much_per_s * seen.best_per_s)
    return max(trials) * 2 if seen.saturated_per_s is None else None
