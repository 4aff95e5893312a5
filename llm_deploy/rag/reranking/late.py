"""Late interaction over sentences: a passage is as good as the sentence in it that answers best (MaxSim).

ColBERT does this with tokens; MiniLM's token vectors are not trained for it, its sentence vectors are.

Source: Khattab and Zaharia, "ColBERT" (2020), for MaxSim.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from llm_deploy.rag.embedding import Embedder
from llm_deploy.rag.sentences import sentences

REMEMBERED = 20_000
"""Sentence vectors that are kept, so that a passage that is found again costs nothing: 30 MB of 384 numbers each."""
MOST_SENTENCES = 40
_TINY = 1e-12


class LateInteraction:
    """See `Reranker`. A sentence is embedded once and remembered, the oldest forgotten first."""

    name = "late-interaction"

    def __init__(self, embedder: Embedder, *, remembered: int = REMEMBERED) -> None:
        self._embedder = embedder
        self._remembered = remembered
        self._vectors: OrderedDict[str, array[float]] = OrderedDict()

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """See `Reranker.scores`: the mean over the query's sentences of the best cosine in the passage."""
        asked = await self._embedder.embed(_parts(query), "query")
        parts = [_parts(text) for text in texts]
        vectors = await self._of({sentence for each in parts for sentence in each})
        return await asyncio.to_thread(_best_means, asked, [[vectors[sentence] for sentence in each] for each in parts])

    async def aclose(self) -> None:
        """See `Reranker.aclose`."""
        self._vectors.clear()

    async def _of(self, wanted: set[str]) -> dict[str, array[float]]:
        found = {sentence: self._vectors[sentence] for sentence in wanted if sentence in self._vectors}
        if missing := sorted(wanted - found.keys()):
            vectors = await self._embedder.embed(missing, "passage")  # others may drop what was found, meanwhile
            found |= {sentence: array("f", vector) for sentence, vector in zip(missing, vectors, strict=True)}
        self._vectors.update(found)
        for sentence in wanted:
            self._vectors.move_to_end(sentence)
        while len(self._vectors) > self._remembered:
            self._vectors.popitem(last=False)
        return found


def _parts(text: str) -> list[str]:
    return sentences(text)[:MOST_SENTENCES] or [text or " "]


def _best_means(asked: Sequence[Sequence[float]], texts: Sequence[Sequence[array[float]]]) -> list[float]:
    """For each text the mean, over the query's vectors, of the best cosine in it. Hundreds of texts take a while."""
    import numpy  # noqa: ICN001, PLC0415 - comes with qdrant-client, and only reranking needs it here

    queries = _of_length_1(numpy.asarray(asked, dtype=numpy.float32))
    found = (queries @ _of_length_1(numpy.asarray(each, dtype=numpy.float32)).T for each in texts)
    return [float(cosines.max(axis=1).mean()) for cosines in found]


def _of_length_1(vectors: Any) -> Any:  # noqa: ANN401 - arrays of numpy, which is loaded late
    import numpy  # noqa: ICN001, PLC0415 - as above

    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
