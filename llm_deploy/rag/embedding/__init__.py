"""What turns texts into vectors: one Protocol, and a maker for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from llm_deploy.errors import SpecError
from llm_deploy.rag.config import EmbeddingConfig

Role = Literal["query", "passage"]


class Embedder(Protocol):
    """An embedding model. Its coroutines may run many at once, and block the event loop never.

    Attributes:
        name: What a collection remembers; another name means vectors that cannot be compared.
        max_tokens: Longest text that it reads whole.
    """

    name: str
    max_tokens: int

    async def start(self) -> None:
        """Get ready (load a model, ask a server); harmless when called again."""

    @property
    def dimensions(self) -> int:
        """Length of a vector; known after `start`."""

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
        """A vector for each text; a text that is too long is cut.

        Raises:
            LlmDeployError: The model or its server failed.
        """

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; an estimate where the model is elsewhere."""

    async def aclose(self) -> None:
        """Let go of the model; harmless when called again."""


def make(config: EmbeddingConfig) -> Embedder:
    """The embedder of a configuration; nothing is loaded yet."""
    if config.kind == "in-process":
        from llm_deploy.rag.embedding.local import LocalEmbedder  # noqa: PLC0415 - one kind is used, the rest stays out

        return LocalEmbedder(config)
    if config.kind == "sentence-transformers":
        from llm_deploy.rag.embedding.transformers import TransformersEmbedder  # noqa: PLC0415 - as above

        return TransformersEmbedder(config)
    if config.kind in {"tei", "openai", "sagemaker"}:
        from llm_deploy.rag.embedding.remote import RemoteEmbedder  # noqa: PLC0415 - as above

        return RemoteEmbedder(config)
    raise SpecError(f"embedding.kind: {config.kind!r} is unknown")
