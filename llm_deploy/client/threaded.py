"""A transport that blocks, used from an event loop: its calls run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from llm_deploy.client.transport import AsyncOpenStream, OpenStream, Transport


class ThreadedTransport:
    """An `AsyncTransport` over a `Transport`. A thread is busy while it waits for an answer.

    Cancelling `call` stops waiting for it; the thread and its connection end with the answer.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await asyncio.to_thread(self._transport.call, body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._transport.stream, body))
        try:
            return ThreadedStream(await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_what_was_opened)
            raise

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""


class ThreadedStream:
    """See `AsyncOpenStream`."""

    def __init__(self, opened: OpenStream) -> None:
        self._opened = opened
        self._parts: Iterator[bytes] = iter(opened.parts)
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`; one part at a time."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(next, self._parts, b""))
        part = await asyncio.shield(self._reading)
        self._reading = None
        return part

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        self._opened.close()
        if self._reading is not None:
            await asyncio.wait([self._reading])
            self._reading.exception()  # it was cut off on purpose


def _close_what_was_opened(opening: asyncio.Future[OpenStream]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
