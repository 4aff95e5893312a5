"""No step of a search blocks the event loop: watched over a real embedded index of 20,000 passages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.rag_retrieval import DIMENSIONS, Texts, watched
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.embedding import Role
from llm_deploy.rag.index import Entry
from llm_deploy.rag.retrieval import AsyncContextRetriever

PASSAGES, BATCH = 20_000, 500
LONGEST_STALL_S = 0.25
"""A rule, not a speed: a search that ran on the loop would take longer with this many candidates."""
STEPS = (
    {"sparse": True, "deduplicate": True, "rerank": False},
    {"sparse": True, "deduplicate": True, "rerank": True},
)


class RandomEmbedder:
    """See `Embedder`: a random direction for each text, at once, so that the rest of a search is what is watched."""

    name = "random"
    max_tokens = 256
    dimensions = DIMENSIONS

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    async def start(self) -> None:
        """See `Embedder.start`."""

    async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:  # noqa: ARG002 - the Protocol's
        """See `Embedder.embed`; in a thread, as all embedders of this process do it."""
        return await asyncio.to_thread(self._texts.vectors, len(texts))

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Embedder.count_tokens`."""
        return [len(text.split()) for text in texts]

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""


@pytest.mark.slow
@pytest.mark.row("T7")
def test_no_step_of_a_search_blocks_the_event_loop(tmp_path: Path) -> None:
    """Searches one by one and beside each other, with hundreds of candidates to compare and to order anew."""
    settings = RagConfig.model_validate(
        {"store": {"path": tmp_path}, "candidates": 300, "rerank": {"candidates": 100}, "k": 20}
    )

    async def main() -> float:
        texts, longest = Texts(1), [0.0]
        async with AsyncContextRetriever(settings, embedder=RandomEmbedder(texts)) as retriever:
            await _fill(retriever, texts)
            await retriever.search("warms up: modules are loaded with the first search")
            async with watched(longest):
                for steps in STEPS:
                    chosen = settings.steps.model_copy(update=steps)
                    searches = [retriever.search(texts.query() * 3, steps=chosen) for _ in range(8)]
                    for each in searches[:4]:
                        assert len((await each).hits) == settings.k
                    await asyncio.gather(*searches[4:])
        return longest[0]

    assert asyncio.run(main()) < LONGEST_STALL_S


async def _fill(retriever: AsyncContextRetriever, texts: Texts) -> None:
    index = await retriever.index()
    await index.ensure()
    for start in range(0, PASSAGES, BATCH):
        passages = [texts.passage(number) for number in range(start, start + BATCH)]
        entries = [Entry(*pair) for pair in zip(passages, texts.vectors(BATCH), strict=True)]
        await index.write(entries, digest=f"digest{start}", whole=BATCH)
    assert await index.count() == PASSAGES
