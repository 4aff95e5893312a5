"""Spans as OpenTelemetry's SDK makes them, behind the facade. Importing this module imports OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Token
from typing import TYPE_CHECKING, Self

from opentelemetry import context as otel_context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llm_deploy.tracing import conventions
from llm_deploy.tracing.messages import input_messages
from llm_deploy.tracing.spans import Kind, Value
from llm_deploy.tracing.values import Plain, plain

if TYPE_CHECKING:
    from opentelemetry.context import Context

KINDS = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
LONGEST_NAME = 200
LONGEST_MESSAGE = 500
MARGIN = 256
"""Characters kept beyond the limit until redaction: a secret that the limit cuts in two must still be seen whole."""

LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""What leaves a block because nobody waits for its result any more."""


class OpenTelemetryRecorder:
    """Makes spans with a tracer; see `spans.Recorder`.

    Args:
        limit: Longest text of an attribute, in characters.
        redact: Applied to each text at once, for exporters that are not ours; ours redact in their own thread.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        *,
        captures_content: bool,
        limit: int,
        redact: Callable[[Plain], Plain] | None = None,
    ) -> None:
        self.captures_content = captures_content
        self._tracer = tracer
        self._limit = limit + MARGIN
        self._redact = redact
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, kind: Kind, attributes: dict[str, Value]) -> RecordedSpan:
        """A started span, child of the current one."""
        span = self._tracer.start_span(
            name[:LONGEST_NAME],
            kind=KINDS[kind],
            attributes=self.prepared(attributes),
            record_exception=False,
            set_status_on_exception=False,
        )
        return RecordedSpan(span, self)

    def extract(self, headers: dict[str, str]) -> Attached:
        """The caller's span as the current one, from headers in lower case."""
        return Attached(self._propagator.extract(headers))

    def inject(self, headers: dict[str, str]) -> None:
        """Headers that name the current span."""
        self._propagator.inject(headers)

    def prepared(self, attributes: dict[str, Value]) -> dict[str, Plain]:
        """Attributes as OpenTelemetry takes them, without content unless it is captured."""
        found: dict[str, Plain] = {}
        for name, value in attributes.items():
            if value is None or (not self.captures_content and conventions.is_content(name)):
                continue
            if name == conventions.INPUT_MESSAGES and isinstance(value, list | tuple):
                value = input_messages(value)  # noqa: PLW2901 - whoever sets it, it has the conventions' shape
            kept = plain(value, self._limit)
            found[name] = self._redact(kept) if self._redact is not None else kept
        return found

    def message(self, error: BaseException | str) -> str | None:
        """What an error says; it may quote a prompt, so that it is content."""
        if not self.captures_content or isinstance(error, str):
            return None
        text = str(error)[:LONGEST_MESSAGE]
        return str(self._redact(text)) if self._redact is not None else text


class Attached:
    """A block in which a context is the current one. Leaving it elsewhere than where it was entered is no error."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        self._token = otel_context.attach(self._context)
        return self

    def __exit__(self, *error: object) -> None:
        # ValueError: another task leaves than entered, as when a generator is closed by the event loop. That task's
        # own context ends with it.
        if self._token is not None:
            with contextlib.suppress(ValueError, RuntimeError):
                self._token.var.reset(self._token)
            self._token = None


class RecordedSpan:
    """One span; see `spans.Span`."""

    __slots__ = ("_attached", "_ended", "_recorder", "_span")

    def __init__(self, span: trace.Span, recorder: OpenTelemetryRecorder) -> None:
        self._span = span
        self._recorder = recorder
        self._attached: Attached | None = None
        self._ended = False

    @property
    def recording(self) -> bool:
        """Whether anybody will see it."""
        return not self._ended and self._span.is_recording()

    def set(self, **attributes: Value) -> None:
        """Add attributes."""
        if self.recording:
            self._span.set_attributes(self._recorder.prepared(attributes))

    def event(self, name: str, **attributes: Value) -> None:
        """Note that something happened now."""
        if self.recording:
            self._span.add_event(name[:LONGEST_NAME], self._recorder.prepared(attributes))

    def fail(self, error: BaseException | str) -> None:
        """Mark it as failed, or as left early."""
        if not self.recording:
            return
        if isinstance(error, LEFT):
            self._span.set_attribute(conventions.CANCELLED, True)
            return
        self._span.set_attribute(conventions.ERROR_TYPE, error if isinstance(error, str) else _class_name(error))
        self._span.set_status(Status(StatusCode.ERROR, self._recorder.message(error)))

    def end(self) -> None:
        """Its work is over."""
        if not self._ended:
            self._ended = True
            self._span.end()

    def active(self) -> Attached:
        """Spans made in the block are children of this one."""
        return Attached(trace.set_span_in_context(self._span))

    def __enter__(self) -> Self:
        self._attached = self.active()
        self._attached.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.fail(error)
        if self._attached is not None:
            self._attached.__exit__()
        self.end()


def _class_name(error: BaseException) -> str:
    kind = type(error)
    ours = kind.__module__.startswith(("llm_deploy.", "builtins"))
    return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
