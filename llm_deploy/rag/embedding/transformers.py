"""Embeddings of sentence-transformers, an extra: any bi-encoder of the hub, on a GPU if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llm_deploy.errors import InferenceError, MissingExtraError, ModelFileError
from llm_deploy.rag.config import EmbeddingConfig
from llm_deploy.rag.embedding import Role


class TransformersEmbedder:
    """See `Embedder`. PyTorch works in a thread of its own, one batch after the other."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.name = config.model
        self.max_tokens = 0
        self._config = config
        self._model: Any = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """See `Embedder.start`."""
        async with self._one_at_a_time:
            if self._model is None:
                self._model = await asyncio.to_thread(load, "SentenceTransformer", self.name)
                self.max_tokens = int(self._config.max_tokens or self._model.max_seq_length)

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return int(self._started().get_sentence_embedding_dimension())

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
        """See `Embedder.embed`."""
        prefix = self._config.query_prefix if role == "query" else self._config.passage_prefix
        given = [prefix + text for text in texts]
        async with self._one_at_a_time:
            found = await asyncio.to_thread(
                self._started().encode,
                given,
                batch_size=self._config.batch,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return [[float(number) for number in vector] for vector in found]

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Embedder.count_tokens`."""
        tokenizer = self._started().tokenizer
        return [len(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        self._model = None

    def _started(self) -> Any:  # noqa: ANN401 - sentence-transformers ships no types
        if self._model is None:
            raise InferenceError("the embedding model is not started, or was closed")
        return self._model


def load(kind: str, name: str) -> Any:  # noqa: ANN401 - as above
    """A `SentenceTransformer` or a `CrossEncoder`; blocks while it loads.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        ModelFileError: There is no such model, or no way to it.
    """
    try:
        import sentence_transformers  # noqa: PLC0415 - PyTorch: seconds, and an extra
    except ImportError as error:
        raise MissingExtraError(
            "this model needs sentence-transformers, not installed here",
            hint='Run: pip install "llm-deploy[sentence-transformers]"',
        ) from error
    try:
        return getattr(sentence_transformers, kind)(name)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"sentence-transformers cannot load {name!r}: {error}") from error
