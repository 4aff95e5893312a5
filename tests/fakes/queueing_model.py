"""A model with so many slots that serves in the order of arrival: what queueing theory is about, on any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from llm_deploy.dialects.types import Chunk, GenerationRequest, TokenCounts
from llm_deploy.errors import RateLimitedError


@dataclass
class QueueingModel:
    """Takes `first_s` to the first token and `gap_s` for each other one, once it has a slot.

    Attributes:
        most_waiting: More than so many waiting requests are refused; `None`: they wait.
        stalled: From when to when, on the loop's clock, nothing happens at all.
        running: How many are being answered now; `peak`: at most so far.
    """

    slots: int = 1
    tokens: int = 10
    first_s: float = 0.1
    gap_s: float = 0.01
    most_waiting: int | None = None
    stalled: tuple[float, float] = (0.0, 0.0)
    running: int = 0
    peak: int = 0
    waiting: int = 0
    given_up: int = 0
    gate: asyncio.Semaphore | None = field(default=None)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """One answer."""
        self.gate = self.gate or asyncio.Semaphore(self.slots)
        if self.most_waiting is not None and self.waiting >= self.most_waiting:
            raise RateLimitedError("the queue is full")
        self.waiting += 1
        try:
            await self.gate.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            async for chunk in self._answer(request):
                yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up += 1
            raise
        finally:
            self.running -= 1
            self.gate.release()

    async def _answer(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        now: Callable[[], float] = asyncio.get_running_loop().time
        tokens = min(self.tokens, request.max_new_tokens or self.tokens)
        for number in range(tokens):
            await asyncio.sleep(self.gap_s if number else self.first_s)
            if self.stalled[0] <= now() < self.stalled[1]:
                await asyncio.sleep(self.stalled[1] - now())
            yield Chunk(" token")
        yield Chunk("", finish_reason="length", counts=TokenCounts(5, tokens))

    @property
    def capacity_per_s(self) -> float:
        """Answers per second with every slot busy."""
        return self.slots / (self.first_s + (self.tokens - 1) * self.gap_s)
