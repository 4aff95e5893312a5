"""What a run has seen so far, in bounded memory: a row of equal windows, whose width doubles when the row is full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llm_deploy.bench.histogram import Histogram

MOST_WINDOWS = 240
FIRST_WIDTH_S = 0.25


@dataclass(slots=True)
class Window:
    """A stretch of time.

    The first half belongs to the requests that were due here, whenever they ended; the second to what happened here.

    Attributes:
        lag: How late the generator itself sent a request that had a free slot.
        held_back: Requests that waited for a slot, because so many were under way.
        busy_s: Seconds of requests under way, added up: over the width it is the mean concurrency.
    """

    due: int = 0
    good: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    held_back: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    tpot: Histogram = field(default_factory=Histogram)
    gap: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    ended: int = 0
    ended_well: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    busy_s: float = 0.0

    def add(self, other: Window) -> None:
        """Take in what another has seen."""
        for name in ("due", "good", "held_back", "ended", "ended_well", "prompt_tokens", "tokens", "busy_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failed.update(other.failed)
        for name in ("ttft", "tpot", "gap", "total", "lag"):
            getattr(self, name).add(getattr(other, name))


class Windows:
    """The row. Times are seconds since the run began."""

    def __init__(self, width_s: float = FIRST_WIDTH_S, most: int = MOST_WINDOWS) -> None:
        self.width_s = width_s
        self._most = most
        self._row: list[Window] = []

    def at(self, time_s: float) -> Window:
        """The window of a time; widths double until it fits."""
        index = max(0, int(time_s / self.width_s))
        while index >= self._most:
            self._double()
            index = int(time_s / self.width_s)
        while len(self._row) <= index:
            self._row.append(Window())
        return self._row[index]

    def busy(self, start_s: float, end_s: float, under_way: int) -> None:
        """Say that so many requests were under way between two times."""
        self.at(end_s)  # settles the width
        while start_s < end_s:
            until_s = min(end_s, (int(start_s / self.width_s) + 1) * self.width_s)
            if until_s <= start_s:  # a step below the resolution of floats
                return
            self.at(start_s).busy_s += under_way * (until_s - start_s)
            start_s = until_s

    def between(self, start_s: float, end_s: float) -> list[Window]:
        """The windows that begin in a stretch of time."""
        return [window for index, window in enumerate(self._row) if start_s <= index * self.width_s < end_s]

    def __iter__(self) -> Iterator[Window]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def _double(self) -> None:
        for index in range(0, len(self._row), 2):
            if index + 1 < len(self._row):
                self._row[index].add(self._row[index + 1])
        self._row = self._row[::2]
        self.width_s *= 2


def total(windows: Iterable[Window]) -> Window:
    """All of them as one."""
    whole = Window()
    for window in windows:
        whole.add(window)
    return whole
