"""Late interaction over sentences: a passage is as good as the sentence in it that answers best (MaxSim).

ColBERT does this with tokens; MiniLM's token vectors are not trained for it, its sentence vectors are.

Source: Khattab and Zaharia, "ColBERT" (2020), for MaxSim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from llm_deploy.rag.embedding import Embedder
from llm_deploy.rag.sentences import sentences

REMEMBERED = 20_000
"""Sentence vectors that are kept: about 12 MB a thousand as Python floats of 384 numbers, so a passage that is found
again costs nothing."""
MOST_SENTENCES = 40


class LateInteraction:
    """See `Reranker`. A sentence is embedded once and remembered, the oldest forgotten first."""

    name = "late-interaction"

    def __init__(self, embedder: Embedder, *, remembered: int = REMEMBERED) -> None:
        self._embedder = embedder
        self._remembered = remembered
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """See `Reranker.scores`: the mean over the query's sentences of the best cosine in the passage."""
        asked = await self._embedder.embed(_parts(query), "query")
        parts = [_parts(text) for text in texts]
        vectors = await self._of({sentence for each in parts for sentence in each})
        return [
            sum(max(_dot(vector, vectors[sentence]) for sentence in each) for vector in asked) / len(asked)
            for each in parts
        ]

    async def aclose(self) -> None:
        """See `Reranker.aclose`."""
        self._vectors.clear()

    async def _of(self, wanted: set[str]) -> dict[str, Sequence[float]]:
        missing = sorted(wanted - self._vectors.keys())
        fresh: dict[str, Sequence[float]] = {}
        if missing:
            fresh = dict(zip(missing, await self._embedder.embed(missing, "passage"), strict=True))
        found = {sentence: fresh.get(sentence) or self._vectors[sentence] for sentence in wanted}
        self._vectors.update(fresh)
        for sentence in wanted:
            self._vectors.move_to_end(sentence)
        while len(self._vectors) > self._remembered:
            self._vectors.popitem(last=False)
        return found


def _parts(text: str) -> list[str]:
    return sentences(text)[:MOST_SENTENCES] or [text or " "]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
