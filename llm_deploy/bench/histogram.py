"""A histogram of latencies in bounded memory: exact below 256 µs, and within 0.8 % above.

Buckets are linear within each power of two, as in HDR histograms: 128 of them. A few hundred counters hold any number
of values between a microsecond and years, histograms add up without loss, and a percentile costs one pass.

Source: the idea is Gil Tene's HdrHistogram; percentiles are the highest value of their bucket, as there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_BITS = 7
_HALF = 1 << _BITS
_EXACT = 2 * _HALF
MICROSECONDS = 1_000_000


@dataclass(slots=True)
class Histogram:
    """Counts of latencies. Values go in and come out in seconds; below zero is zero."""

    counts: dict[int, int] = field(default_factory=dict)
    count: int = 0
    total_s: float = 0.0
    max_s: float = 0.0

    def record(self, value_s: float) -> None:
        """Count one value."""
        value = int(value_s * MICROSECONDS)
        index = bucket(value)
        self.counts[index] = self.counts.get(index, 0) + 1
        self.count += 1
        self.total_s += value_s
        self.max_s = max(self.max_s, value_s)

    def add(self, other: Histogram) -> None:
        """Count all that another has counted."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.count += other.count
        self.total_s += other.total_s
        self.max_s = max(self.max_s, other.max_s)

    @property
    def mean_s(self) -> float:
        """The mean; 0 without values."""
        return self.total_s / self.count if self.count else 0.0

    def percentile_s(self, percent: float) -> float:
        """The least bucket's highest value that so many percent of all values do not exceed; 0 without values."""
        wanted = max(1, -(-self.count * percent // 100))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return min(highest(index) / MICROSECONDS, self.max_s)
        return 0.0

    def shares(self) -> list[tuple[float, float]]:
        """The distribution: (seconds, share of all values up to there), one for each bucket that has any."""
        found, seen = [], 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            found.append((min(highest(index) / MICROSECONDS, self.max_s), seen / self.count))
        return found


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    whole = Histogram()
    for each in histograms:
        whole.add(each)
    return whole


def bucket(value: int) -> int:
    """The number of a value's bucket; it grows with the value."""
    if value < _EXACT:
        return max(0, value)
    shift = value.bit_length() - _BITS - 1
    return (shift << _BITS) + (value >> shift)


def highest(index: int) -> int:
    """The largest value of a bucket."""
    if index < _EXACT:
        return index
    shift = (index >> _BITS) - 1
    return ((index - (shift << _BITS) + 1) << shift) - 1
