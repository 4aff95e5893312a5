"""Datapoints of metrics, in buckets of ten seconds, bounded in every direction.

A bucket keeps count, sum, minimum, maximum and up to `MAX_SAMPLES` single values, from which percentiles are read.
Recording is a dictionary look-up and a few additions, so it may be done for every invocation; what changed is written
to the store in a batch, bucket by bucket.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llm_deploy.emulator.store import Document, Store

KIND = "cloudwatch:bucket"
BUCKET_S = 10
RETENTION_S = 3 * 3600
"""Ledger: `cloudwatch.retention`."""

MAX_SERIES = 2_000
MAX_SAMPLES = 128

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Namespace, metric name, dimensions sorted by name."""


@dataclass(slots=True)
class Bucket:
    """What was observed in ten seconds."""

    count: float = 0.0
    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    samples: list[float] = field(default_factory=list)

    def add(self, value: float, times: float, chance: random.Random) -> None:
        """One value, observed so many times; beyond `MAX_SAMPLES` a random choice is kept (reservoir)."""
        self.count += times
        self.total += value * times
        self.low, self.high = min(self.low, value), max(self.high, value)
        for _ in range(min(int(times), MAX_SAMPLES)):
            if len(self.samples) < MAX_SAMPLES:
                self.samples.append(value)
            elif (place := chance.randrange(int(self.count) or 1)) < MAX_SAMPLES:
                self.samples[place] = value

    def merge(self, other: Bucket) -> None:
        """Take in another bucket."""
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.samples.extend(other.samples)


@dataclass(slots=True)
class Series:
    """The buckets of one metric by start time, and its unit."""

    unit: str = "None"
    buckets: dict[int, Bucket] = field(default_factory=dict)


class Metrics:
    """All series of the account, least recently written first."""

    def __init__(self, chance: random.Random) -> None:
        self._series: OrderedDict[Key, Series] = OrderedDict()
        self._unsaved: set[tuple[Key, int]] = set()
        self._chance = chance

    def record(self, key: Key, value: float, moment: float, *, unit: str = "None", times: float = 1.0) -> None:
        """Add an observation."""
        self._bucket(key, moment, unit).add(value, times, self._chance)

    def record_set(self, key: Key, statistics: Bucket, moment: float, *, unit: str = "None") -> None:
        """Add what somebody else has summed up."""
        self._bucket(key, moment, unit).merge(statistics)

    def keys(self) -> Iterable[Key]:
        """The metrics that there are."""
        return tuple(self._series)

    def unit(self, key: Key) -> str:
        """The unit that was given last."""
        series = self._series.get(key)
        return series.unit if series else "None"

    def periods(self, key: Key, start: float, end: float, period_s: int) -> dict[int, Bucket]:
        """Buckets merged into periods that begin at multiples of `period_s`, for `start <= time < end`."""
        first = start - start % min(period_s, BUCKET_S)
        merged: dict[int, Bucket] = {}
        series = self._series.get(key)
        for moment, bucket in series.buckets.items() if series else ():
            if first <= moment < end:
                merged.setdefault(moment - moment % period_s, Bucket()).merge(bucket)
        return merged

    def save(self, store: Store) -> None:
        """Write the buckets that have changed since the last save."""
        unsaved, self._unsaved = self._unsaved, set()
        with store.transaction():
            for key, start in unsaved:
                series = self._series.get(key)
                if series is not None and start in series.buckets:
                    store.put(KIND, _row_name(key, start), _row(key, start, series))

    def load(self, store: Store) -> None:
        """Read what was saved."""
        for row in store.all(KIND):
            key = metric_key(row["namespace"], row["name"], dict(row["dimensions"]))
            series = self._series.setdefault(key, Series())
            series.unit = row["unit"]
            series.buckets[row["start"]] = Bucket(*row["values"])

    def forget_before(self, moment: float, store: Store) -> None:
        """Drop what is older, and the series that were written longest ago when there are too many."""
        surplus = len(self._series) - MAX_SERIES
        with store.transaction():
            for index, (key, series) in enumerate(tuple(self._series.items())):
                doomed = [start for start in series.buckets if start < moment or index < surplus]
                for start in doomed:
                    del series.buckets[start]
                    store.delete(KIND, _row_name(key, start))
                if not series.buckets:
                    del self._series[key]

    def _bucket(self, key: Key, moment: float, unit: str) -> Bucket:
        series = self._series.setdefault(key, Series())
        self._series.move_to_end(key)
        if unit != "None":
            series.unit = unit
        start = int(moment) - int(moment) % BUCKET_S
        self._unsaved.add((key, start))
        return series.buckets.setdefault(start, Bucket())


def metric_key(namespace: str, name: str, dimensions: Mapping[str, str]) -> Key:
    """The key of a metric; the order of the dimensions does not matter."""
    return namespace, name, tuple(sorted(dimensions.items()))


def _row_name(key: Key, start: int) -> str:
    return f"{key!r}@{start}"


def _row(key: Key, start: int, series: Series) -> Document:
    namespace, name, dimensions = key
    bucket = series.buckets[start]
    values = [bucket.count, bucket.total, bucket.low, bucket.high, bucket.samples]
    return {
        "namespace": namespace,
        "name": name,
        "dimensions": dimensions,
        "unit": series.unit,
        "start": start,
        "values": values,
    }
