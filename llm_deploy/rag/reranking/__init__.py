"""What orders candidates anew: one Protocol, and a maker for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llm_deploy.rag.config import RerankConfig
from llm_deploy.rag.embedding import Embedder


class Reranker(Protocol):
    """Scores passages for a query; higher is better, and scores of two queries need not be comparable."""

    name: str

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """A score for each text.

        Raises:
            LlmDeployError: The model or its server failed.
        """

    async def aclose(self) -> None:
        """Let go of the model; harmless when called again. The embedder that it was given stays open."""


def make(config: RerankConfig, embedder: Embedder) -> Reranker:
    """The reranker of a configuration; nothing is loaded yet."""
    if config.kind == "late-interaction":
        from llm_deploy.rag.reranking.late import LateInteraction  # noqa: PLC0415 - one kind is used

        return LateInteraction(embedder)
    if config.kind == "cross-encoder":
        from llm_deploy.rag.reranking.cross import CrossEncoder  # noqa: PLC0415 - as above

        return CrossEncoder(config)
    from llm_deploy.rag.reranking.remote import RemoteReranker  # noqa: PLC0415 - as above

    return RemoteReranker(config)
