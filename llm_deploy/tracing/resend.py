"""Stored spans as OpenTelemetry's again, to send them to a back end later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from llm_deploy.errors import UnavailableError
from llm_deploy.tracing.reading import StoredSpan

BATCH = 256
SCOPE = InstrumentationScope("llm_deploy")


def send(spans: Iterable[StoredSpan], exporter: SpanExporter) -> int:
    """Send all of them, in batches. Returns how many.

    Raises:
        UnavailableError: The back end did not take a batch within the exporter's time.
    """
    waiting, sent = iter(spans), 0
    while batch := list(islice(waiting, BATCH)):
        if exporter.export([restored(span) for span in batch]) is not SpanExportResult.SUCCESS:
            raise UnavailableError(f"the back end did not take the spans; {sent} had been sent before")
        sent += len(batch)
    return sent


def restored(span: StoredSpan) -> ReadableSpan:
    """The span as it was exported to the store."""
    own = _context(span.trace_id, span.span_id, remote=False)
    failed = span.error_type is not None
    return ReadableSpan(
        name=span.name,
        context=own,
        parent=_context(span.trace_id, span.parent_id, remote=span.is_first) if span.parent_id else None,
        resource=Resource({SERVICE_NAME: span.service}),
        attributes=span.attributes,
        events=[Event(str(e["name"]), _attributes(e["attributes"]), e["time_ns"]) for e in span.events],
        kind=SpanKind[span.kind.upper()],
        instrumentation_scope=SCOPE,
        status=Status(StatusCode.ERROR, span.message) if failed else Status(),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )


def _attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(document)


def _context(trace_id: str, span_id: str, *, remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
