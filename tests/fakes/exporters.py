"""Exporters that do as they are told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class ToldExporter(SpanExporter):
    """Keeps names of spans; holds each batch while `open` is not set; raises or refuses when told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.batches: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.raises: Exception | None = None
        self.refuses = False
        self.shut_down = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take a batch, in the manner that was asked for."""
        self.entered.set()
        self.open.wait(30)
        if self.raises is not None:
            raise self.raises
        if self.refuses:
            return SpanExportResult.FAILURE
        self.batches.append(len(spans))
        self.names.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Count it."""
        self.shut_down += 1
