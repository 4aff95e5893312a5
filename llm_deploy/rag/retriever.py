"""The seed's own calls, which block: `ContextRetriever.search` and `call_llm_service`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from llm_deploy.client.executor import InferenceExecutor
from llm_deploy.client.inference import AsyncInference, Inference
from llm_deploy.rag.config import RagConfig, StepsConfig
from llm_deploy.rag.filters import Filters
from llm_deploy.rag.passages import Hit
from llm_deploy.rag.retrieval import AsyncContextRetriever, Retrieval

T = TypeVar("T")


class ContextRetriever:
    """Searches one collection, from any number of threads; on an event loop use `AsyncContextRetriever`.

    Its work runs on an event loop in a thread of its own, from the first search until `close`.

    Args:
        config: The default one if it is not given: the collection `docs` of the embedded index.
        llm: For query expansion and self-query, where they are on.
    """

    def __init__(self, config: RagConfig | None = None, llm: AsyncInference | None = None) -> None:
        self._loop = LoopThread()
        self._retriever = AsyncContextRetriever(config or RagConfig(), llm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def search(
        self, query: str, k: int = 3, *, filters: Filters | None = None, steps: StepsConfig | None = None
    ) -> list[Hit]:
        """See `AsyncContextRetriever.search`."""
        return list(self.retrieve(query, k, filters=filters, steps=steps).hits)

    def retrieve(
        self, query: str, k: int | None = None, *, filters: Filters | None = None, steps: StepsConfig | None = None
    ) -> Retrieval:
        """As `search`, with the wordings, the filters and the times of the steps."""
        return self._loop.run(self._retriever.search(query, k, filters=filters, steps=steps))

    def close(self) -> None:
        """Let go of models and index; harmless when called again."""
        self._loop.close(self._retriever.aclose())


class LoopThread:
    """An event loop in a daemon thread, started with the first coroutine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives, or raises; an interrupted wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Coroutine[Any, Any, object]) -> None:
        """Run this, and end the thread; nothing at all if there never was one."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            last.close()
            return
        try:
            asyncio.run_coroutine_threadsafe(last, loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="rag", daemon=True).start()
            return self._loop


def call_llm_service(query: str, context: str | None, llm: Inference) -> str:
    """The model's answer to a query with a context, as `to_context` makes it; the seed's name for it."""
    return InferenceExecutor(llm, query, context).execute()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
