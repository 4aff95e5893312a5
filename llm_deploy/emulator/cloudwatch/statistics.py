"""One number from a bucket, by the name of a statistic: `Sum`, `p99`, `tm99`."""

from __future__ import annotations

import re

from llm_deploy.emulator.cloudwatch.series import Bucket

PLAIN = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_RANKED = re.compile(r"(p|tm)(\d{1,2}(?:\.\d{1,10})?|100)")


def is_statistic(name: str) -> bool:
    """Whether the local cloud can compute it. Trimmed means over ranges, `PR`, `TC`, `TS`, `WM` are not there."""
    return name in PLAIN or _RANKED.fullmatch(name) is not None


def statistic(bucket: Bucket, name: str) -> float | None:
    """The statistic of a bucket with at least one observation; `None` for a percentile without single values.

    Raises:
        LookupError: No such statistic.
    """
    if name in PLAIN:
        return _plain(bucket, name)
    found = _RANKED.fullmatch(name)
    if found is None:
        raise LookupError(name)
    if not bucket.samples:
        return None
    ordered = sorted(bucket.samples)
    share = float(found[2]) / 100
    return _percentile(ordered, share) if found[1] == "p" else _trimmed_mean(ordered, share)


def _plain(bucket: Bucket, name: str) -> float:
    values = {
        "SampleCount": bucket.count,
        "Average": bucket.total / bucket.count if bucket.count else 0.0,
        "Sum": bucket.total,
        "Minimum": bucket.low,
        "Maximum": bucket.high,
    }
    return values[name]


def _percentile(ordered: list[float], share: float) -> float:
    """Linear interpolation between the closest ranks."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _trimmed_mean(ordered: list[float], share: float) -> float:
    kept = ordered[: max(1, round(share * len(ordered)))]
    return sum(kept) / len(kept)
