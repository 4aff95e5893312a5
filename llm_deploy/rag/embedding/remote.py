"""Embeddings of a server: TEI's `/embed`, OpenAI's `/v1/embeddings`, or a SageMaker endpoint that runs TEI.

Source: Text Embeddings Inference's OpenAPI document; OpenAI API reference (embeddings).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from llm_deploy.client.transport import AsyncTransport
from llm_deploy.errors import InferenceError, WireFormatError
from llm_deploy.rag.config import EmbeddingConfig, RerankConfig
from llm_deploy.rag.embedding import Role

USUAL_MAX_TOKENS = 256
"""Of sentence encoders, where the configuration does not say it."""
_PIECE = re.compile(r"[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]")
"""What a tokenizer makes a token of, roughly: rather more than it does, so that passages come out shorter."""
_SPECIAL_TOKENS = 2


class RemoteEmbedder:
    """See `Embedder`. Its vectors' length is found out by embedding one word.

    Args:
        transport: Made from the configuration if it is not given.
    """

    def __init__(self, config: EmbeddingConfig, transport: AsyncTransport | None = None) -> None:
        self.name = config.model
        self.max_tokens = config.max_tokens or USUAL_MAX_TOKENS
        self._config = config
        self._given = transport
        self._dimensions = 0

    async def start(self) -> None:
        """See `Embedder.start`."""
        if not self._dimensions:
            self._dimensions = len((await self.embed(["dimensions"], "query"))[0])

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        if not self._dimensions:
            raise InferenceError("the embedder is not started")
        return self._dimensions

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
        """See `Embedder.embed`."""
        prefix = self._config.query_prefix if role == "query" else self._config.passage_prefix
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._config.batch):
            batch = [prefix + text for text in texts[start : start + self._config.batch]]
            vectors += _vectors(await self._transport().call(self._body(batch)), len(batch))
        return vectors

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Embedder.count_tokens`: an estimate."""
        return [len(_PIECE.findall(text)) + _SPECIAL_TOKENS for text in texts]

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        if self._given is not None:
            await self._given.aclose()

    def _body(self, batch: list[str]) -> bytes:
        if self._config.kind == "openai":
            return json.dumps({"input": batch, "model": self._config.model, "encoding_format": "float"}).encode()
        return json.dumps({"inputs": batch, "truncate": True}).encode()

    def _transport(self) -> AsyncTransport:
        if self._given is None:
            self._given = transport_of(self._config)
        return self._given


def transport_of(config: EmbeddingConfig | RerankConfig) -> AsyncTransport:
    """The way to the server that a configuration names; nothing is sent."""
    if config.kind == "sagemaker":
        from llm_deploy.client.environment import session_from_environment  # noqa: PLC0415 - boto3 comes with it
        from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport  # noqa: PLC0415 - as above

        session = session_from_environment(None)
        return AsyncSagemakerTransport(config.endpoint_name or "", session=session, answer_timeout_s=config.timeout_s)
    from llm_deploy.client.http_async import AsyncHttpTransport  # noqa: PLC0415 - one of the two is used

    headers = {"Authorization": f"Bearer {key}"} if (key := config.key()) else None
    return AsyncHttpTransport(config.url or "", headers=headers, answer_timeout_s=config.timeout_s)


def _of_length_1(vector: list[float]) -> list[float]:
    """Cosines are taken as products; not every server that speaks OpenAI's API sends unit vectors."""
    length = math.hypot(*vector)
    if not math.isfinite(length):
        raise ValueError("a vector is not finite")
    return [number / length for number in vector] if length else vector


def _vectors(answer: bytes, expected: int) -> list[list[float]]:
    try:
        document: Any = json.loads(answer)
        if isinstance(document, dict):  # OpenAI's; the order is said by the index
            document = [each["embedding"] for each in sorted(document["data"], key=lambda each: each["index"])]
        vectors = [_of_length_1([float(number) for number in vector]) for vector in document]
    except (ValueError, KeyError, TypeError) as error:
        raise WireFormatError("the embedding server did not answer with vectors") from error
    if len(vectors) != expected or len({len(vector) for vector in vectors}) != 1:
        raise WireFormatError(
            f"the embedding server gave {len(vectors)} vectors for {expected} texts, or of two lengths"
        )
    return vectors
