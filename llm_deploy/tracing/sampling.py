"""Which traces are kept: a share, decided when they begin, and those with an error or that took long, at their end.

A trace that was not chosen is recorded all the same and held in memory until its first span here has ended. Then it is
kept whole, or forgotten. What is held is bounded; the oldest is forgotten first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, StatusCode, TraceState

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

MOST_TRACES = 512
MOST_SPANS = 128
"""Of one held trace; later ones are forgotten."""
REMEMBERED = 2048
"""Traces whose fate is known, for spans that end after their root."""


def share(ratio: float) -> Sampler:
    """A caller's decision, else this share of traces."""
    return ParentBased(TraceIdRatioBased(ratio))


class Watched(Sampler):
    """Another sampler, but what it drops is recorded without being sampled."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The inner decision, at least RECORD_ONLY."""
        result = self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """In the SDK's manner."""
        return f"Watched{{{self._inner.get_description()}}}"


@dataclass(slots=True)
class _Held:
    spans: list[ReadableSpan] = field(default_factory=list)
    failed: bool = False


class Chooser(SpanProcessor):
    """Gives ended spans on: sampled ones at once, others when their trace turns out to be worth it.

    Args:
        give: Takes a span that is kept.
        keep_errors: Whether an error makes a trace worth it.
        slow_s: How long a first span must have taken to make its trace worth it; `None`: it never does.
    """

    def __init__(self, give: Callable[[ReadableSpan], None], *, keep_errors: bool, slow_s: float | None) -> None:
        self._give = give
        self._keep_errors = keep_errors
        self._slow_s = slow_s
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._known: OrderedDict[int, bool] = OrderedDict()
        self._lock = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK in the thread that ends the span."""
        context = span.get_span_context()
        if context is None:
            return
        if context.trace_flags.sampled:
            self._give(span)
            return
        with self._lock:
            kept = self._decided(context.trace_id, span)
        for one in kept:
            self._give(one)

    def _decided(self, trace_id: int, span: ReadableSpan) -> list[ReadableSpan]:
        """The spans that are now known to be kept."""
        if trace_id in self._known:
            return [span] if self._known[trace_id] else []
        held = self._held.setdefault(trace_id, _Held())
        held.failed = held.failed or (self._keep_errors and span.status.status_code is StatusCode.ERROR)
        is_first = span.parent is None or span.parent.is_remote
        if is_first or len(held.spans) < MOST_SPANS:
            held.spans.append(span)
        if not is_first:
            _forget_beyond(self._held, MOST_TRACES)
            return []
        del self._held[trace_id]
        self._known[trace_id] = held.failed or self._was_slow(span)
        _forget_beyond(self._known, REMEMBERED)
        return held.spans if self._known[trace_id] else []

    def _was_slow(self, span: ReadableSpan) -> bool:
        if self._slow_s is None or span.start_time is None or span.end_time is None:
            return False
        return (span.end_time - span.start_time) / 1e9 >= self._slow_s


def _forget_beyond(
    entries: OrderedDict[int, object] | OrderedDict[int, _Held] | OrderedDict[int, bool], most: int
) -> None:
    while len(entries) > most:
        entries.popitem(last=False)
