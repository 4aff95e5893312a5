"""Embeddings of this process: a known small model (`minilm`) over llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_deploy.errors import InferenceError
from llm_deploy.rag.config import EmbeddingConfig
from llm_deploy.rag.embedding import Role

if TYPE_CHECKING:
    from llm_deploy.serving.embedding import EmbeddingEngine

_COUNTED_AT_ONCE = 8


class LocalEmbedder:
    """See `Embedder`. The model is fetched with the first use, as `llmdeploy models pull` does."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.name = config.model
        self.max_tokens = 0
        self._config = config
        self._engine: EmbeddingEngine | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """See `Embedder.start`."""
        async with self._starting:
            if self._engine is None:
                self._engine = await asyncio.to_thread(_loaded, self._config.model)
                self.max_tokens = self._engine.max_tokens

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return self._started().dimensions

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
        """See `Embedder.embed`."""
        prefix = self._config.query_prefix if role == "query" else self._config.passage_prefix
        return await self._started().embed([prefix + text for text in texts], truncate=True)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Embedder.count_tokens`."""
        engine = self._started()
        counts: list[int] = []
        for start in range(0, len(texts), _COUNTED_AT_ONCE):
            batch = texts[start : start + _COUNTED_AT_ONCE]
            counts += await asyncio.gather(*(engine.count_tokens(text) for text in batch))
        return counts

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.close)

    def _started(self) -> EmbeddingEngine:
        if self._engine is None:
            raise InferenceError("the embedding model is not started, or was closed")
        return self._engine


def _loaded(model: str) -> EmbeddingEngine:
    from llm_deploy.serving import models  # noqa: PLC0415 - a remote embedder needs none of it
    from llm_deploy.serving.embedding import EmbeddingEngine  # noqa: PLC0415 - as above

    engine = EmbeddingEngine(models.pull(model))
    engine.load()
    return engine
