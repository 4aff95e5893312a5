"""A span as it may leave the process: redacted, texts cut to their limit, and writable as UTF-8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from llm_deploy.tracing.conventions import SERVER_ADDRESS
from llm_deploy.tracing.redaction import Redactor
from llm_deploy.tracing.values import Plain, texts_changed

CUT = "… [cut]"
AS_IT_IS = frozenset({SERVER_ADDRESS, "service.name", "gen_ai.operation.name", "gen_ai.provider.name"})
"""Set by programs, never by people; an address is what the rule `ip` would take out."""


class Scrubber:
    """Redactor and limit in one; runs in the exporters' threads."""

    def __init__(self, redactor: Redactor, limit: int) -> None:
        self._redactor = redactor
        self._limit = limit

    def __call__(self, span: ReadableSpan) -> ReadableSpan:
        """A copy; the span itself is not changed."""
        return ReadableSpan(
            name=self._text(span.name),
            context=span.get_span_context(),
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[Event(self._text(e.name), self._attributes(e.attributes), e.timestamp) for e in span.events],
            links=span.links,
            kind=span.kind,
            instrumentation_scope=span.instrumentation_scope,
            status=self._status(span.status),
            start_time=span.start_time,
            end_time=span.end_time,
        )

    def _status(self, status: Status) -> Status:
        return Status(status.status_code, self._text(status.description)) if status.description else status

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: self._attribute(name, value) for name, value in (attributes or {}).items()}

    def _attribute(self, name: str, value: Plain) -> Plain:
        return value if name in AS_IT_IS else texts_changed(value, self._text)

    def _text(self, text: str) -> str:
        text = self._redactor.text(text)
        # Half of a surrogate pair, as JSON may hold it, is no text that OTLP or SQLite could take.
        text = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        return text if len(text) <= self._limit else text[: self._limit] + CUT
