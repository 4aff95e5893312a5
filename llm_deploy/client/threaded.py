"""A transport that blocks, used from an event loop: its calls run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from llm_deploy.client.sagemaker_botocore import BotocoreTransport
from llm_deploy.client.transport import POOL_SIZE, AsyncOpenStream, OpenStream

T = TypeVar("T")


class ThreadedTransport:
    """An `AsyncTransport` over botocore's. A thread is busy while it waits for an answer, of `POOL_SIZE` at most.

    Cancelling `call` stops waiting for it; the thread and its connection end with the answer.
    """

    def __init__(self, transport: BotocoreTransport) -> None:
        self._transport = transport
        self._threads = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="llmdeploy-call")

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await self._in_thread(lambda: self._transport.call(body))

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        opening = asyncio.ensure_future(self._in_thread(lambda: self._transport.stream(body)))
        try:
            return ThreadedStream(await asyncio.shield(opening), self._threads)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_what_was_opened)
            raise

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`. The old threads end with the last stream that reads."""
        self._threads = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="llmdeploy-call")
        self._transport.close()

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)


class ThreadedStream:
    """See `AsyncOpenStream`."""

    def __init__(self, opened: OpenStream, threads: ThreadPoolExecutor) -> None:
        self._opened = opened
        self._threads = threads
        self._parts: Iterator[bytes] = iter(opened.parts)
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`; one part at a time."""
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._threads, next, self._parts, b"")
        reading = self._reading
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        self._opened.close()
        reading, self._reading = self._reading, None
        if reading is not None:
            await asyncio.wait([reading])
            reading.exception()  # it was cut off on purpose


def _close_what_was_opened(opening: asyncio.Future[OpenStream]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
