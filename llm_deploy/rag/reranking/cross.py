"""A cross-encoder of sentence-transformers, an extra: reads query and passage together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llm_deploy.rag.config import RerankConfig
from llm_deploy.rag.embedding.transformers import load

DEFAULT_MODEL = "cross-encoder/ms-marco-MiniLM-L-6-v2"


class CrossEncoder:
    """See `Reranker`. PyTorch works in a thread, one query after the other."""

    def __init__(self, config: RerankConfig) -> None:
        self.name = config.model or DEFAULT_MODEL
        self._model: Any = None
        self._one_at_a_time = asyncio.Lock()

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """See `Reranker.scores`."""
        async with self._one_at_a_time:
            if self._model is None:
                self._model = await asyncio.to_thread(load, "CrossEncoder", self.name)
            pairs = [(query, text) for text in texts]
            found = await asyncio.to_thread(self._model.predict, pairs, show_progress_bar=False)
        return [float(score) for score in found]

    async def aclose(self) -> None:
        """See `Reranker.aclose`."""
        self._model = None
