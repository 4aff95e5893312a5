"""As `invoker`, on an event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from llm_deploy.client.question import NOBODY, Asked, Clock, Label, Reading, chunk_of, timed
from llm_deploy.client.transport import AsyncOpenStream, AsyncTransport
from llm_deploy.dialects.protocols import Dialect
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import InferenceError, InferenceRequestError
from llm_deploy.tracing import spans

T = TypeVar("T")


class AsyncInvoker:
    """As `Invoker`. A cancelled call or a stream that is closed closes its connection."""

    __slots__ = ("_asked", "_clock", "_label", "_streams", "_transport")

    def __init__(
        self,
        transport: AsyncTransport,
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

    def generate(self, request: GenerationRequest) -> Coroutine[Any, Any, Generation]:
        """See `Invoker.generate`."""
        return self._traced(request) if spans.enabled() else self._generate(request)

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `Invoker.stream`."""
        if spans.enabled():
            return self._traced_stream(request)
        return self._chunks(request)

    def _chunks(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        return self._stream(request) if self._streams else self._at_once(request)

    async def _at_once(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        yield chunk_of(await self._generate(request))

    async def _generate(self, request: GenerationRequest) -> Generation:
        started_s = self._clock()
        dialect = self._asked.known(request)
        if dialect is not None:
            body = await self._transport.call(dialect.encode(request, stream=False))
        else:
            dialect, body = await self._ask(request, stream=False, send=self._transport.call)
        return timed(dialect.decode(body), self._clock() - started_s)

    async def _stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        started_s = self._clock()
        dialect, opened = await self._open(request)
        reading = Reading(dialect.stream_decoder(), self._clock, started_s)
        cause: InferenceError | None = None
        try:
            try:
                while part := await opened.read():
                    for chunk in reading.feed(part):
                        yield chunk
                    reading.raise_failure()
            except InferenceError as error:
                cause = error
            for chunk in reading.close(cause):
                yield chunk
            reading.raise_failure()
        finally:
            await opened.aclose()

    async def _open(self, request: GenerationRequest) -> tuple[Dialect, AsyncOpenStream]:
        dialect = self._asked.known(request)
        if dialect is not None:
            return dialect, await self._transport.stream(dialect.encode(request, stream=True))
        return await self._ask(request, stream=True, send=self._transport.stream)

    async def _ask(
        self, request: GenerationRequest, *, stream: bool, send: Callable[[bytes], Awaitable[T]]
    ) -> tuple[Dialect, T]:
        tries = self._asked.tries(request, stream=stream)
        body = next(tries)
        while True:
            try:
                answer = await send(body)
            except InferenceRequestError as error:
                body = tries.throw(error)
                continue
            try:
                next(tries)
            except StopIteration as found:
                return found.value, answer

    async def _traced(self, request: GenerationRequest) -> Generation:
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        with traced.begin(request, self._label, stream=False) as span:
            answer = await self._generate(request)
            traced.note_answer(span, answer)
            return answer

    async def _traced_stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        span, seen = traced.begin(request, self._label, stream=True), traced.Seen()
        try:
            async with aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    seen.take(chunk)
                    yield chunk
        except Exception as error:
            seen.failed = True
            span.fail(error)
            raise
        finally:
            traced.note_stream(span, seen)
            span.end()
