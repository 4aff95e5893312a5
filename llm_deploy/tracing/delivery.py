"""A bounded queue and a thread for each exporter: who ends a span never waits; a full queue drops and counts."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from llm_deploy.tracing.counts import Counts

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

BATCH = 256
BATCH_BYTES = 4 * 1024 * 1024
EVERY_S = 0.5
"""A span waits no longer than this for others to go with."""
SAY_EVERY_S = 60.0
SPAN_BYTES = 700
"""What a span takes beside its texts, about."""
FAILURES = (OSError, ValueError, TypeError, LookupError, RuntimeError, sqlite3.Error)
"""What an exporter may raise on data or a machine that nobody foresaw; the thread outlives it."""

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where ended spans are offered."""

    def offer(self, span: ReadableSpan) -> None:
        """Take it or drop it, at once."""


class Delivery:
    """One exporter with its queue and thread.

    Args:
        name: The exporter's, in log lines.
        scrub: Applied to each span in the thread, before the exporter sees it.
        most_spans: Most that wait.
        most_bytes: Most that they take, by estimate.
        clock: Monotonic seconds, for how often it is said that something fails.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        name: str,
        scrub: Callable[[ReadableSpan], ReadableSpan],
        most_spans: int,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._exporter = exporter
        self._scrub = scrub
        self._most_spans, self._most_bytes = most_spans, most_bytes
        self._clock = clock
        self._waiting: deque[tuple[ReadableSpan, int]] = deque()
        self._bytes = self._exported = self._dropped = self._failed = 0
        self._said_at: float | None = None
        self._failing = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"llmdeploy-traces-{name}", daemon=True)
        self._thread.start()

    def offer(self, span: ReadableSpan) -> None:
        """Queue an ended span, or drop it when the queue is full or the service stops."""
        size = size_of(span)
        with self._lock:
            full = len(self._waiting) >= self._most_spans or self._bytes + size > self._most_bytes
            if full or self._stopping:
                self._dropped += 1
                return
            self._waiting.append((span, size))
            self._bytes += size
            enough = len(self._waiting) >= BATCH
        if enough:
            self._wake.set()

    def counts(self) -> Counts:
        """What has happened to spans so far."""
        with self._lock:
            return Counts(exported=self._exported, failed=self._failed, dropped=self._dropped)

    def close(self, timeout_s: float) -> None:
        """Deliver what waits, for so long at most; the rest is dropped and counted. Idempotent."""
        with self._lock:
            self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)
        with self._lock:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._bytes = 0
        self._exporter.shutdown()
        self._say()

    def _run(self) -> None:
        # Else an instrumented HTTP library would trace the export of traces.
        otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while True:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            stopping = self._stopping
            while batch := self._batch():
                self._deliver(batch)
            if stopping:
                return

    def _batch(self) -> list[ReadableSpan]:
        """The next spans, taken off the queue; fewer where they are large."""
        with self._lock:
            count, size = 0, 0
            for _, one in islice(self._waiting, BATCH):
                if count and size + one > BATCH_BYTES:
                    break
                count, size = count + 1, size + one
            self._bytes -= size
            return [self._waiting.popleft()[0] for _ in range(count)]

    def _deliver(self, batch: Sequence[ReadableSpan]) -> None:
        try:
            result = self._exporter.export([self._scrub(span) for span in batch])
        except FAILURES as error:
            logger.debug("exporter %s: %s", self.name, type(error).__name__)
            result = SpanExportResult.FAILURE
        accepted = result is SpanExportResult.SUCCESS
        with self._lock:
            self._exported += len(batch) if accepted else 0
            self._failed += 0 if accepted else len(batch)
        if accepted == self._failing:
            self._failing = not accepted
            self._said_at = None
        self._say()

    def _say(self) -> None:
        """One line when it begins to fail or to drop, and one a minute while it does."""
        now, counts = self._clock(), self.counts()
        if not (counts.failed or counts.dropped) or (self._said_at is not None and now - self._said_at < SAY_EVERY_S):
            return
        self._said_at = now
        state = "does not take spans" if self._failing else "takes spans"
        logger.warning(
            "traces: exporter %s %s; so far %d exported, %d given up, %d dropped",
            self.name, state, counts.exported, counts.failed, counts.dropped,
        )  # fmt: skip


def size_of(span: ReadableSpan) -> int:
    """What a span takes in memory, by estimate."""
    size = SPAN_BYTES
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        for value in (attributes or {}).values():
            size += 100 + (len(value) if isinstance(value, str) else 0)
    return size
