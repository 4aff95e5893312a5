"""Where a run's warm-up ends, and whether what follows is steady. Pure.

The cut is MSER's: the one that makes the standard error of the mean of the rest least. What follows is steady unless
it grows: Kendall's test sees a trend and the trend is more than a quarter of the mean.

Source: White 1997, "An effective truncation heuristic for bias reduction in simulation output"; Mann 1945.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["steady", "growing", "short"]
LEAST_WINDOWS = 8
"""Fewer say nothing about a trend."""
_SURE_Z = 2.6
_TREND_SHARE = 0.25


def warm_up(values: Sequence[float]) -> int:
    """How many of the first values to leave out; at most half, and none of a row too short to tell."""
    count = len(values)
    if count < LEAST_WINDOWS:
        return 0
    return min(range(count // 2 + 1), key=lambda cut: _standard_error(values[cut:]))


def verdict(values: Sequence[float]) -> Verdict:
    """Whether the values stay, or grow."""
    if len(values) < LEAST_WINDOWS:
        return "short"
    grown = _growth(values)
    mean = sum(values) / len(values)
    return "growing" if _kendall_z(values) > _SURE_Z and grown > _TREND_SHARE * mean else "steady"


def _standard_error(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values) ** 2


def _growth(values: Sequence[float]) -> float:
    """How much the line through the values rises from first to last (least squares)."""
    count = len(values)
    middle, mean = (count - 1) / 2, math.fsum(values) / count
    slope = math.fsum((index - middle) * (value - mean) for index, value in enumerate(values))
    return slope / (count * (count * count - 1) / 12) * (count - 1)


def _kendall_z(values: Sequence[float]) -> float:
    count = len(values)
    score = sum(
        (values[later] > values[earlier]) - (values[later] < values[earlier])
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
    return score / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
