"""Recorders whose spans stay in the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_deploy.tracing import spans
from llm_deploy.tracing.recorder import OpenTelemetryRecorder


@dataclass
class Recorded:
    """What has ended so far."""

    exporter: InMemorySpanExporter

    def all(self) -> list[ReadableSpan]:
        """Every span, in the order in which they ended."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def parent_of(self, name: str) -> str | None:
        """The name of a span's parent."""
        parent = self.named(name).parent
        names = {one.context.span_id: one.name for one in self.all()}
        return names.get(parent.span_id) if parent else None


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the machine's environment, and nobody who goes on listening."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "LLMDEPLOY_TRACING_"))]:
        monkeypatch.delenv(name)
    yield
    spans.listen(None)


@pytest.fixture
def listening() -> Callable[..., Recorded]:
    """Listen with a recorder of our own; content is captured unless said otherwise."""

    def listen(*, captures_content: bool = True, limit: int = 1000) -> Recorded:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        spans.listen(OpenTelemetryRecorder(provider.get_tracer("test"), captures_content=captures_content, limit=limit))
        return Recorded(exporter)

    return listen
