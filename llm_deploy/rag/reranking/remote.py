"""A rerank server: TEI's `/rerank`, over HTTP or on a SageMaker endpoint.

Source: Text Embeddings Inference's OpenAPI document.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from llm_deploy.client.transport import AsyncTransport
from llm_deploy.errors import WireFormatError
from llm_deploy.rag.config import RerankConfig
from llm_deploy.rag.embedding.remote import transport_of


class RemoteReranker:
    """See `Reranker`.

    Args:
        transport: Made from the configuration if it is not given.
    """

    def __init__(self, config: RerankConfig, transport: AsyncTransport | None = None) -> None:
        self.name = config.model or config.kind
        self._config = config
        self._transport = transport

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """See `Reranker.scores`."""
        if self._transport is None:
            self._transport = transport_of(self._config)
        body = json.dumps({"query": query, "texts": list(texts), "truncate": True}).encode()
        return _scores(await self._transport.call(body), len(texts))

    async def aclose(self) -> None:
        """See `Reranker.aclose`."""
        if self._transport is not None:
            await self._transport.aclose()


def _scores(answer: bytes, expected: int) -> list[float]:
    try:
        found = {int(each["index"]): float(each["score"]) for each in json.loads(answer)}
        return [found[number] for number in range(expected)]
    except (ValueError, KeyError, TypeError) as error:
        raise WireFormatError("the rerank server did not answer with a score for each text") from error
