"""Fakes of the models that RAG uses: an embedder that hashes words, a language model that says what it is told to."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest, TokenCounts
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.connection import Engine
from llm_deploy.rag.embedding import Role
from llm_deploy.rag.index import Entry, PassageIndex
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.words import terms

DIMENSIONS = 96


class WordEmbedder:
    """See `Embedder`: texts with the same words are near. A token is a word."""

    def __init__(self, name: str = "words", max_tokens: int = 256) -> None:
        self.name = name
        self.max_tokens = max_tokens
        self.embedded: list[str] = []
        self.closed = False

    async def start(self) -> None:
        """Nothing to load."""

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return DIMENSIONS

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:  # noqa: ARG002 - the Protocol's
        """See `Embedder.embed`."""
        self.embedded += texts
        return [_vector(text) for text in texts]

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Embedder.count_tokens`; two special ones, as BERT has."""
        return [len(text.split()) + 2 for text in texts]

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        self.closed = True


class SayingLlm:
    """See `AsyncInference`. Remembers what it was asked; `says` may look at the request."""

    def __init__(self, says: str | Callable[[GenerationRequest], str] = "Yes [1].") -> None:
        self._says = says
        self.requests: list[GenerationRequest] = []
        self.closed = False
        self.streams_closed = 0

    async def defaults(self) -> GenerationRequest:
        """See `AsyncInference.defaults`."""
        return GenerationRequest(top_p=0.9)

    async def generate(self, request: GenerationRequest) -> Generation:
        """See `AsyncInference.generate`."""
        self.requests.append(request)
        return Generation(self._text(request), "eos", TokenCounts(10, 3))

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `AsyncInference.stream`; a word a chunk."""
        self.requests.append(request)
        try:
            for word in self._text(request).split(" "):
                yield Chunk(f"{word} ")
            yield Chunk("", finish_reason="eos", counts=TokenCounts(10, 3))
        finally:
            self.streams_closed += 1

    async def aclose(self) -> None:
        """See `AsyncInference.aclose`."""
        self.closed = True

    def _text(self, request: GenerationRequest) -> str:
        return self._says if isinstance(self._says, str) else self._says(request)


def config(folder: Path, *, engine: Engine = "local", **fields: object) -> RagConfig:
    """A configuration whose index is embedded under a folder.

    The local mode is made in a few milliseconds; the engine `edge` syncs its files some dozen times first.
    """
    return RagConfig.model_validate({"store": {"path": folder / "index", "engine": engine}, **fields})


async def fill(index: PassageIndex, embedder: WordEmbedder, passages: Sequence[Passage]) -> None:
    """Write passages, each as a document of one passage."""
    await index.ensure()
    vectors = await embedder.embed([each.embedded for each in passages], "passage")
    for passage, vector in zip(passages, vectors, strict=True):
        await index.write([Entry(passage, vector)], digest="d", whole=1)


def _vector(text: str) -> list[float]:
    found = [1e-6] * DIMENSIONS
    for term in terms(text):
        found[int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "big") % DIMENSIONS] += 1.0
    length = math.sqrt(sum(number * number for number in found))
    return [number / length for number in found]
