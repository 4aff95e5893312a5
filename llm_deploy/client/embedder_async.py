"""As `embedder`, on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llm_deploy.client.embedder import Shapes, batches
from llm_deploy.client.question import Label
from llm_deploy.client.transport import AsyncTransport
from llm_deploy.dialects import embeddings
from llm_deploy.dialects.types import Embeddings
from llm_deploy.errors import InferenceRequestError
from llm_deploy.tracing import spans

_AT_ONCE = 4
"""Requests for one list of texts that are under way at once."""


class AsyncEmbedder:
    """As `Embedder`; parts of a long list are asked for at the same time."""

    __slots__ = ("_label", "_shapes", "_transport")

    def __init__(self, transport: AsyncTransport, shapes: Shapes, label: Label) -> None:
        self._transport = transport
        self._shapes = shapes
        self._label = label

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        parts = list(batches(texts))
        if len(parts) <= 1:
            return embeddings.joined([await self._traced(part) for part in parts])
        first = await self._traced(parts[0])  # which shape it is must be known before several ask at once
        free = asyncio.Semaphore(_AT_ONCE)

        async def asked(part: Sequence[str]) -> Embeddings:
            async with free:
                return await self._traced(part)

        tasks = [asyncio.ensure_future(asked(part)) for part in parts[1:]]
        try:
            return embeddings.joined([first, *await asyncio.gather(*tasks)])
        finally:  # a task group would say what failed in a group of exceptions, which no caller expects
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _traced(self, texts: Sequence[str]) -> Embeddings:
        if not spans.enabled():
            return await self._embed(texts)
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        with traced.begin_embedding(self._label) as span:
            found = await self._embed(texts)
            traced.note_embeddings(span, found)
            return found

    async def _embed(self, texts: Sequence[str]) -> Embeddings:
        tries = self._shapes.tries(texts)
        body = next(tries)
        while True:
            try:
                answer = await self._transport.call(body)
            except InferenceRequestError as error:
                body = tries.throw(error)
                continue
            try:
                tries.send(answer)
            except StopIteration as done:
                found: Embeddings = done.value
                return found
