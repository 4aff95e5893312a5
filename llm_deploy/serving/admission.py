"""Who may generate now, who waits, and who is sent away.

llama.cpp has a queue of its own, but it is unbounded, and a request in it is not dropped when its client goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from llm_deploy.errors import OverloadedError


class Admission:
    """A bounded queue before a number of slots; first come, first served.

    Args:
        parallel: Generations at the same time.
        capacity: Requests inside, running and waiting together.
    """

    def __init__(self, *, parallel: int, capacity: int) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._capacity = capacity
        self._inside = 0
        self._running = 0

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests inside without a slot."""
        return self._inside - self._running

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Be inside.

        Raises:
            OverloadedError: Full.
        """
        if self._inside >= self._capacity:
            raise OverloadedError("Model is overloaded")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        async with self._slots:
            self._running += 1
            try:
                yield
            finally:
                self._running -= 1
