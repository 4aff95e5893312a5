"""As `queued`, on an event loop: each question to AWS in a thread, the waiting in between in none."""

from __future__ import annotations

import asyncio

from llm_deploy.client.queued import QueuedTransport, whole_only
from llm_deploy.client.transport import AsyncOpenStream


class AsyncQueuedTransport:
    """See `AsyncTransport`. A request that was queued is worked on even when its call is cancelled."""

    def __init__(self, queue: QueuedTransport) -> None:
        self.queue = queue

    async def call(self, body: bytes) -> bytes:
        """See `QueuedTransport.call`."""
        ticket = await asyncio.to_thread(self.queue.submit, body)
        for pause_s in self.queue.pauses():
            answer = await asyncio.to_thread(self.queue.look, ticket)
            if answer is not None:
                return answer
            await asyncio.sleep(pause_s)
        raise self.queue.timeout(ticket)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """Refused, as by `QueuedTransport.stream`."""
        raise whole_only(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        await asyncio.to_thread(self.queue.close)
