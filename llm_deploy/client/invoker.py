"""One dialect over one transport: typed requests in, typed answers with timings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

from llm_deploy.client.question import NOBODY, Asked, Clock, Label, Reading, chunk_of, timed
from llm_deploy.client.transport import OpenStream, Transport
from llm_deploy.dialects.protocols import Dialect
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import InferenceError, InferenceRequestError
from llm_deploy.tracing import spans

T = TypeVar("T")


class Invoker:
    """Asks a model in its dialect; where the dialect is unknown, finds it with the first prompt and remembers it.

    Args:
        asked: In which dialect; objects over several addresses of one model may share what was found.
        label: Whom the spans say was asked.
        clock: Monotonic seconds.
        streams: Whether answers can be had while they are made; if not, a stream is the whole answer in one piece.
    """

    __slots__ = ("_asked", "_clock", "_label", "_streams", "_transport")

    def __init__(
        self,
        transport: Transport,
        asked: Asked,
        label: Label = NOBODY,
        clock: Clock = time.monotonic,
        *,
        streams: bool = True,
    ) -> None:
        self._transport = transport
        self._asked = asked
        self._label = label
        self._clock = clock
        self._streams = streams

    def generate(self, request: GenerationRequest) -> Generation:
        """One whole answer. See `StreamingInference.generate`."""
        if spans.enabled():
            return self._traced(request)
        return self._generate(request)

    def stream(self, request: GenerationRequest) -> Generator[Chunk]:
        """The answer while it is made. See `StreamingInference.stream`."""
        if spans.enabled():
            return self._traced_stream(request)
        return self._chunks(request)

    def _chunks(self, request: GenerationRequest) -> Generator[Chunk]:
        return self._stream(request) if self._streams else self._at_once(request)

    def _at_once(self, request: GenerationRequest) -> Generator[Chunk]:
        yield chunk_of(self._generate(request))

    def _generate(self, request: GenerationRequest) -> Generation:
        started_s = self._clock()
        dialect = self._asked.known(request)
        if dialect is not None:
            body = self._transport.call(dialect.encode(request, stream=False))
        else:
            dialect, body = self._ask(request, stream=False, send=self._transport.call)
        return timed(dialect.decode(body), self._clock() - started_s)

    def _stream(self, request: GenerationRequest) -> Generator[Chunk]:
        started_s = self._clock()
        dialect, opened = self._open(request)
        reading = Reading(dialect.stream_decoder(), self._clock, started_s)
        cause: InferenceError | None = None
        try:
            try:
                for part in opened.parts:
                    yield from reading.feed(part)
                    reading.raise_failure()
            except InferenceError as error:
                cause = error
            yield from reading.close(cause)  # a failure that the decoder itself found is raised again here
            reading.raise_failure()
        finally:
            opened.close()

    def _open(self, request: GenerationRequest) -> tuple[Dialect, OpenStream]:
        dialect = self._asked.known(request)
        if dialect is not None:
            return dialect, self._transport.stream(dialect.encode(request, stream=True))
        return self._ask(request, stream=True, send=self._transport.stream)

    def _ask(self, request: GenerationRequest, *, stream: bool, send: Callable[[bytes], T]) -> tuple[Dialect, T]:
        tries = self._asked.tries(request, stream=stream)
        body = next(tries)
        while True:
            try:
                answer = send(body)
            except InferenceRequestError as error:
                body = tries.throw(error)
                continue
            try:
                next(tries)
            except StopIteration as found:
                return found.value, answer

    def _traced(self, request: GenerationRequest) -> Generation:
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        with traced.begin(request, self._label, stream=False) as span:
            answer = self._generate(request)
            traced.note_answer(span, answer)
            return answer

    def _traced_stream(self, request: GenerationRequest) -> Generator[Chunk]:
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        span, seen = traced.begin(request, self._label, stream=True), traced.Seen()
        chunks = self._chunks(request)
        try:
            for chunk in chunks:
                seen.take(chunk)
                yield chunk
        except Exception as error:
            seen.failed = True
            span.fail(error)
            raise
        finally:
            chunks.close()
            traced.note_stream(span, seen)
            span.end()
