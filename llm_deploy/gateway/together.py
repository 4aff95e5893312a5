"""The counters of several workers as one sum, whichever of them is asked.

Each worker leaves its own in a folder that all share, once a second. Those of a worker that has ended stay, so that
sums never fall; what it had in flight does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from llm_deploy.gateway.metrics import Metrics, histogram
from llm_deploy.tracing.counts import Counts

_COUNTERS: Final = ("requests", "refused", "tokens", "upstream_failures")
_HISTOGRAMS: Final = ("latency", "first_token")


@dataclass(frozen=True, slots=True)
class Together:
    """One worker's part.

    Attributes:
        folder: What the workers share, and nobody else reads.
    """

    folder: Path
    metrics: Metrics
    process: int = field(default_factory=os.getpid)

    async def share(self) -> None:
        """Leave the counters as they are now; where the disk is full, those of before stay."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._write, orjson.dumps(_document(self.metrics)))

    async def summed(self) -> Metrics:
        """This worker's counters as they are, and the others' as they were a second ago at most."""
        total, spans = Metrics(), dict[str, Counts]()
        others = await asyncio.to_thread(lambda: list(self._others()))
        for document, alive in (*others, (orjson.loads(orjson.dumps(_document(self.metrics))), True)):
            _add(total, spans, document, alive=alive)
        total.spans = lambda: spans
        return total

    def _write(self, data: bytes) -> None:
        path = self.folder / f"{self.process}.json"
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(path)

    def _others(self) -> Iterator[tuple[Mapping[str, Any], bool]]:
        for path in sorted(self.folder.glob("*.json")):
            if path.stem != str(self.process):
                yield orjson.loads(path.read_bytes()), _alive(int(path.stem))


def _document(metrics: Metrics) -> dict[str, Any]:
    spans = {} if metrics.spans is None else metrics.spans()
    return {
        **{name: list(getattr(metrics, name).items()) for name in _COUNTERS},
        **{
            name: [(key, each.counts, each.sum_s) for key, each in getattr(metrics, name).items()]
            for name in _HISTOGRAMS
        },
        "dropped": metrics.log_lines_dropped,
        "now": [metrics.in_flight, metrics.streams_open],
        "spans": {name: [each.exported, each.failed, each.dropped] for name, each in spans.items()},
    }


def _add(total: Metrics, spans: dict[str, Counts], document: Mapping[str, Any], *, alive: bool) -> None:
    for name in _COUNTERS:
        for key, number in document[name]:
            getattr(total, name)[tuple(key) if isinstance(key, list) else key] += number
    for name in _HISTOGRAMS:
        for key, counts, sum_s in document[name]:
            found = histogram(getattr(total, name), tuple(key))
            found.counts = [old + new for old, new in zip(found.counts, counts, strict=True)]
            found.sum_s += sum_s
    total.log_lines_dropped += document["dropped"]
    if alive:
        total.in_flight += document["now"][0]
        total.streams_open += document["now"][1]
    for name, numbers in document["spans"].items():
        spans[name] = spans.get(name, Counts()) + Counts(*numbers)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
