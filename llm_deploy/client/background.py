"""Work of an event loop for callers without one: a loop in a thread of its own, for as long as the work lasts."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from llm_deploy.client.batch import BatchItem, answered
from llm_deploy.client.target import Allowed, Target
from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.tracing import context


def batched(
    target: Target,
    allowed: Allowed,
    requests: Sequence[GenerationRequest],
    *,
    concurrency: int,
    on_done: Callable[[BatchItem], None] | None,
) -> list[BatchItem]:
    """As `batch.answered`, from a thread; `on_done` is called in it."""
    done: queue.SimpleQueue[BatchItem | None] = queue.SimpleQueue()

    async def work() -> list[BatchItem]:
        connection = await target.open_async(allowed)

        async def ask(request: GenerationRequest) -> Generation:
            return await (connection.prompts if request.messages is None else connection.chats).generate(request)

        try:
            return await answered(ask, requests, concurrency=concurrency, on_done=done.put)
        finally:
            await connection.aclose()

    with Background(work, finished=lambda: done.put(None)) as running:
        while (item := done.get()) is not None:
            if on_done is not None:
                on_done(item)
        return running.result()


class Background:
    """A coroutine that runs on a loop in a thread of its own; leaving the block early cancels it.

    Args:
        finished: Called at the end, whatever the end is.
    """

    def __init__(
        self, work: Callable[[], Coroutine[Any, Any, list[BatchItem]]], *, finished: Callable[[], None]
    ) -> None:
        self._work = work
        self._finished = finished
        self._begun = threading.Event()
        self._cancel: Callable[[], object] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="llm-deploy-batch")

    def __enter__(self) -> Self:
        self._result = self._pool.submit(context.carry(self._run))
        self._result.add_done_callback(lambda _: self._finished())
        self._begun.wait()
        return self

    def __exit__(self, *error: object) -> None:
        if self._cancel is not None and not self._result.done():
            with contextlib.suppress(RuntimeError):  # its loop has just been closed
                self._cancel()
        self._pool.shutdown()

    def result(self) -> list[BatchItem]:
        """What the coroutine returned or raised, once it is finished."""
        return self._result.result()

    def _run(self) -> list[BatchItem]:
        try:
            with asyncio.Runner(loop_factory=fastest_loop()) as runner:
                return runner.run(self._cancellable())
        finally:
            self._begun.set()

    async def _cancellable(self) -> list[BatchItem]:
        task = asyncio.ensure_future(self._work())
        loop = asyncio.get_running_loop()
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        self._begun.set()
        return await task


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """How to make an event loop: uvloop's where it is installed (extra `fast`), else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
