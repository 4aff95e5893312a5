"""What a process holds, read from the kernel, and whether it grows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

WARM_UP = 0.25
"""Share of the samples at the beginning that is not judged: pools, caches and the allocator fill up."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """One sample of a process; `at_s` is seconds since the beginning."""

    at_s: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int = 0


def read(pid: int, at_s: float, tasks: int = 0) -> Vitals:
    """A sample now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Vitals(
        at_s=at_s,
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        tasks=tasks,
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """How a series develops after the warm-up.

    Attributes:
        total: From the median of the first third to the median of the last.
        slope_total: The median slope of all pairs (Theil and Sen) times the span: one outlier moves neither.
    """

    total: float
    slope_total: float

    def above(self, allowed: float) -> bool:
        """Whether both say that it grows by more than this: a leak does, a late cache or a burst does not."""
        return min(self.total, self.slope_total) > allowed


def growth(times_s: Sequence[float], values: Sequence[float]) -> Growth:
    """Of at least twelve samples."""
    begin = int(len(values) * WARM_UP)
    times_s, values = times_s[begin:], values[begin:]
    third = len(values) // 3
    total = statistics.median(values[-third:]) - statistics.median(values[:third])
    points = list(zip(times_s, values, strict=True))
    slope = statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)
    return Growth(total, slope * (times_s[-1] - times_s[0]))
