"""What every model object does, on an event loop. `model` is its twin: what a method means stands there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from llm_deploy.client.batch import BatchItem, answered
from llm_deploy.client.chat import asked_of, chat_request, requests_of
from llm_deploy.client.model import MOST_TIMEOUTS
from llm_deploy.client.patience import Patience
from llm_deploy.client.payload import Inputs, PayloadSlot, with_inputs, with_parameters
from llm_deploy.client.target import Allowed, AsyncConnection, Target
from llm_deploy.dialects.types import Chunk, Embeddings, Generation, GenerationRequest


class AsyncModel:
    """A language model on one event loop. One object serves any number of tasks.

    A call that is cancelled closes its connection, at which the model stops; so does a stream that is closed
    (`contextlib.aclosing`).
    """

    def __init__(self, target: Target, *, answer_timeout_s: float | None, patience: Patience) -> None:
        self._target = target
        self._allowed = Allowed(answer_timeout_s, patience)
        self._payload = PayloadSlot()
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._connection: AsyncConnection | None = None
        self._others: dict[float, AsyncConnection] = {}

    async def set_payload(self, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> None:
        """See `Inference.set_payload`; it holds for the task at hand."""
        self._payload.set(with_parameters(with_inputs(await self.defaults(), inputs), parameters or {}))

    async def inference(self) -> Generation:
        """See `Model.inference`."""
        return await self.generate(self._payload.get(await self.defaults()))

    async def defaults(self) -> GenerationRequest:
        """See `StreamingInference.defaults`."""
        known = self._target.known_defaults()
        return known if known is not None else await asyncio.to_thread(self._target.defaults)

    async def request(self, inputs: Inputs, **parameters: Any) -> GenerationRequest:  # noqa: ANN401 - of any engine
        """See `Model.request`."""
        return asked_of(await self.defaults(), inputs, parameters)

    async def generate(self, request: GenerationRequest, *, timeout_s: float | None = None) -> Generation:
        """See `Model.generate`."""
        connection = self._connection
        if connection is None or timeout_s is not None:
            connection = await self._connected(timeout_s)
        return await (connection.prompts if request.messages is None else connection.chats).generate(request)

    def stream(self, request: GenerationRequest, *, timeout_s: float | None = None) -> AsyncGenerator[Chunk]:
        """See `Model.stream`."""
        connection = self._connection
        if connection is None or timeout_s is not None:
            return self._connect_and_stream(request, timeout_s)
        return (connection.prompts if request.messages is None else connection.chats).stream(request)

    async def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        json_schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - as above
    ) -> Generation:
        """See `Model.chat`."""
        request = chat_request(
            await self.defaults(),
            messages,
            system=system,
            tools=tools,
            tool_choice=tool_choice,
            json_schema=json_schema,
            regex=regex,
            parameters=parameters,
        )
        return await self.generate(request, timeout_s=timeout_s)

    async def stream_chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        json_schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - as above
    ) -> AsyncGenerator[Chunk]:
        """See `Model.stream_chat`."""
        request = chat_request(
            await self.defaults(),
            messages,
            system=system,
            tools=tools,
            tool_choice=tool_choice,
            json_schema=json_schema,
            regex=regex,
            parameters=parameters,
        )
        async with aclosing(self.stream(request, timeout_s=timeout_s)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def batch(
        self,
        asked: Sequence[Inputs | GenerationRequest],
        *,
        concurrency: int = 16,
        on_done: Callable[[BatchItem], None] | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - as above
    ) -> list[BatchItem]:
        """See `Model.batch`."""
        requests = requests_of(await self.defaults(), asked, parameters)

        async def ask(request: GenerationRequest) -> Generation:
            return await self.generate(request, timeout_s=timeout_s)

        return await answered(ask, requests, concurrency=concurrency, on_done=on_done)

    async def embed(self, texts: Sequence[str], *, timeout_s: float | None = None) -> Embeddings:
        """See `Model.embed`."""
        connection = await self._connected(timeout_s)
        return await connection.embedder.embed(texts)

    async def aclose(self) -> None:
        """See `Model.close`."""
        closing = [*self._others.values(), *([self._connection] if self._connection else [])]
        self._connection, self._others = None, {}
        for connection in closing:
            await connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _connect_and_stream(self, request: GenerationRequest, timeout_s: float | None) -> AsyncGenerator[Chunk]:
        connection = await self._connected(timeout_s)
        way = connection.prompts if request.messages is None else connection.chats
        async with aclosing(way.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _connected(self, timeout_s: float | None) -> AsyncConnection:
        async with self._lock_of_this_loop():
            if timeout_s is None or timeout_s == self._allowed.answer_timeout_s:
                if self._connection is None:
                    self._connection = await self._target.open_async(self._allowed)
                return self._connection
            return await self._connected_for(timeout_s)

    def _lock_of_this_loop(self) -> asyncio.Lock:
        """A lock is bound to the loop on which somebody first waited for it; programs run one loop after another."""
        loop, lock = asyncio.get_running_loop(), self._lock
        if lock is None or lock[0] is not loop:
            lock = self._lock = (loop, asyncio.Lock())
        return lock[1]

    async def _connected_for(self, timeout_s: float) -> AsyncConnection:
        connection = self._others.pop(timeout_s, None)
        if connection is None:
            connection = await self._target.open_async(Allowed(timeout_s, self._allowed.patience))
        self._others[timeout_s] = connection
        if len(self._others) > MOST_TIMEOUTS:
            await self._others.pop(next(iter(self._others))).aclose()  # of idle ones; calls under way keep theirs
        return connection
