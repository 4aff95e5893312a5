"""The stream decoder that every dialect uses: events in, chunks out, and a failure that knows the text so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from llm_deploy.dialects import documents, tool_calls
from llm_deploy.dialects.failures import error_for, failure_in
from llm_deploy.dialects.protocols import StreamDecoder
from llm_deploy.dialects.quick import quickest
from llm_deploy.dialects.sse import MESSAGE, Event, SseDecoder
from llm_deploy.dialects.types import Chunk, Generation, TokenCounts
from llm_deploy.errors import (
    InferenceError,
    InferenceRequestError,
    LlmDeployError,
    OverloadedError,
    StreamBrokenError,
    WireFormatError,
)

DONE = b"[DONE]"
"""OpenAI's last event. Source: OpenAI API reference, streaming."""

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)
"""What reading a document that is not of its shape raises; the readers themselves stay free of checks."""

EventReader = Callable[[Any], "list[Chunk] | None"]
"""The chunks of one event's document; `None`: not an event of this dialect."""

_NAMED_EVENTS = frozenset({"message", "generate", "error"})
"""Events read by name. Others (`ping`, ...) are no part of an answer. `generate` is what TGI's clients accept."""


class AnswerDecoder:
    """A `StreamDecoder` over server-sent events or JSON lines."""

    def __init__(self, read: EventReader, *, dialect: str) -> None:
        self._read_document = read
        self._read_quickly = quickest(dialect)
        self._dialect = dialect
        self._events = SseDecoder()
        self._texts: list[str] = []
        self._begun = False
        self._finished = False
        self._closed = False
        self._failure: LlmDeployError | None = None

    @property
    def partial_text(self) -> str:
        """All text decoded so far."""
        return "".join(self._texts)

    def feed(self, data: bytes) -> list[Chunk]:
        """See `StreamDecoder.feed`."""
        self.raise_failure()
        return self._drain(self._events.feed(data))

    def close(self, cause: InferenceError | None = None) -> list[Chunk]:
        """See `StreamDecoder.close`."""
        self.raise_failure()
        self._closed = True
        chunks = self._drain(self._events.close())
        if not self._finished and self._failure is None:
            self._failure = self._broken(cause)
            if not chunks:
                self.raise_failure()
        return chunks

    def raise_failure(self) -> None:
        """See `StreamDecoder.raise_failure`."""
        if self._failure is not None:
            raise self._failure

    def _drain(self, events: list[Event]) -> list[Chunk]:
        chunks: list[Chunk] = []
        quick, say, hand_out = self._read_quickly, self._texts.append, chunks.append
        try:
            for name, data in events:
                chunk = quick(data) if name is MESSAGE else None
                if chunk is None:
                    chunks += self._read(name, data)
                else:
                    hand_out(chunk)
                    say(chunk.text)
            if self._events.failure is not None:
                raise self._events.failure
        except LlmDeployError as error:
            self._fail(error)
            if not chunks:
                raise
        self._begun = self._begun or bool(chunks)
        return chunks

    def _read(self, name: str, data: bytes) -> Sequence[Chunk]:
        """The chunks of an event that is not one of the commonest."""
        chunks = self._chunks(name, data) if name in _NAMED_EVENTS else ()
        for chunk in chunks:
            self._texts.append(chunk.text)
            self._finished = self._finished or chunk.finish_reason is not None
        return chunks

    def _chunks(self, name: str, data: bytes) -> Sequence[Chunk]:
        if data.strip() == DONE:
            return self._done()
        try:
            document = documents.load(data)
        except (ValueError, RecursionError):
            self._refuse(name, data)
            return ()
        failure = failure_in(document)
        if failure is not None:
            raise self._reported(error_for(failure, where="the model server, in the middle of its answer,"))
        try:
            chunks = self._read_document(document)
        except MALFORMED as error:
            raise WireFormatError(f"an event is not of the {self._dialect} dialect: {quote(data)}") from error
        self._begun = self._begun or chunks is not None
        return chunks or ()

    def _fail(self, error: LlmDeployError) -> None:
        if isinstance(error, InferenceError):
            error.partial_text = self.partial_text
        self._failure = error

    def _done(self) -> Sequence[Chunk]:
        if not self._begun and not self._texts:
            raise StreamBrokenError(
                f"the model server ended its answer before any event of the {self._dialect} dialect",
                hint="The model server's log says why; another dialect may be the right one.",
            )
        return () if self._finished else (Chunk("", finish_reason="unknown"),)

    def _refuse(self, name: str, data: bytes) -> None:
        """Data that are no JSON: an error in plain words, or noise."""
        if name == "error":
            raise StreamBrokenError(f"the model server broke its answer off: {quote(data)}")
        if not self._closed:  # else it was cut in the middle of an event: `close` says so
            raise WireFormatError(f"an event is not JSON: {quote(data)}")

    def _reported(self, error: LlmDeployError) -> LlmDeployError:
        # A refusal keeps its class (and its promise that nothing was generated) only when there is no text yet.
        if not self.partial_text and isinstance(error, OverloadedError | InferenceRequestError):
            return error
        return StreamBrokenError(error.message, hint=error.hint)

    def _broken(self, cause: InferenceError | None) -> InferenceError:
        text = self.partial_text
        if cause is not None:
            cause.partial_text = text
            return cause
        return StreamBrokenError(
            f"the answer ended after {len(text)} characters, without the {self._dialect} dialect's last event",
            hint="What had arrived is kept; the model server's log says why it stopped.",
            partial_text=text,
        )


def decode_stream(parts: Iterable[bytes], decoder: StreamDecoder) -> Iterator[Chunk]:
    """The chunks of a streamed answer, each as soon as its bytes are there.

    Raises:
        InferenceError: From the dialect or from `parts`, after the last chunk, with the text so far. A failure of
            `parts` after the answer's last event is not an error: the answer is whole.
    """
    cause: InferenceError | None = None
    try:
        for part in parts:
            yield from decoder.feed(part)
            decoder.raise_failure()
    except InferenceError as error:
        cause = error
    yield from decoder.close(cause)  # a failure that the decoder itself found is raised again here
    decoder.raise_failure()


def collect(chunks: Iterable[Chunk]) -> Generation:
    """Fold the chunks of a whole answer into one `Generation`; reads them to the end."""
    texts, tokens = [], []
    calls: list[dict[str, Any]] = []
    last = Chunk("", finish_reason="unknown")
    counts = TokenCounts()
    for chunk in chunks:
        texts.append(chunk.text)
        tokens.extend([chunk.token] if chunk.token else [])
        calls.extend(chunk.tool_calls)
        counts = chunk.counts or counts
        last = chunk if chunk.finish_reason else last
    reason = last.finish_reason or "unknown"
    return Generation("".join(texts), reason, counts, last.timings, tuple(tokens), None, tool_calls.joined(calls))


def quote(data: bytes, limit: int = 200) -> str:
    """The beginning of bytes from the wire, for a message."""
    text = data.decode("utf-8", errors="replace")
    return repr(text if len(text) <= limit else text[:limit] + "...")
