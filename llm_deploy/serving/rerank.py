"""Sort texts by how well they answer a query, with sentence embeddings and late interaction.

Each sentence of the query looks for the sentence of the text that is most like it; a text's score is the mean of these
likenesses (cosines). So one sentence that answers is enough, however much else a text says, where one vector for the
whole text would blur it. It is no cross-encoder: it compares meanings and does not read query and text together.

Source: the MaxSim operator of O. Khattab, M. Zaharia, "ColBERT" (SIGIR 2020), applied to sentences instead of tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

from llm_deploy.errors import InferenceRequestError
from llm_deploy.serving.embedding import EmbeddingEngine, Side
from llm_deploy.serving.sentences import sentences

MAX_SENTENCES = 2048
"""Of all texts of a request together: some twenty seconds of one core."""

Vectors = Sequence[Sequence[float]]


async def likenesses(
    engine: EmbeddingEngine, query: str, texts: Sequence[str], *, cut: Side | None = None
) -> tuple[list[float], int]:
    """Return each text's likeness to the query, from -1 to 1, and the tokens that were read.

    Args:
        engine: Loaded.
        query: Not empty.
        texts: Not empty ones; any number of sentences each.
        cut: The side at which a sentence that is too long is cut; `None` refuses it.

    Raises:
        InferenceRequestError: A sentence is too long, or there are more than `MAX_SENTENCES`.
        InferenceError: The engine failed.
    """
    split = [sentences(each) for each in (query, *texts)]
    every = list(chain.from_iterable(split))
    if len(every) > MAX_SENTENCES:
        raise InferenceRequestError(f"The texts have {len(every)} sentences; {MAX_SENTENCES} can be compared at once.")
    embedded = await engine.run(every, cut=cut)
    groups = _grouped(embedded.vectors, [len(each) for each in split])
    # On a thread, which gives the event loop its turn: thousands of sentences are a second of arithmetic.
    return await asyncio.to_thread(_each, groups[0], groups[1:]), embedded.tokens


def late_interaction(query: Vectors, text: Vectors) -> float:
    """The mean, over the query's vectors, of the best cosine with a vector of the text; all vectors of length 1."""
    return sum(max(_cosine(each, other) for other in text) for each in query) / len(query)


def score(likeness: float) -> float:
    """A likeness as a score from 0 (nothing in common) to 1 (says the same)."""
    return min(max(likeness, 0.0), 1.0)


def _each(query: Vectors, texts: Sequence[Vectors]) -> list[float]:
    return [late_interaction(query, text) for text in texts]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum([a * b for a, b in zip(one, other, strict=True)])


def _grouped(vectors: Vectors, sizes: Sequence[int]) -> list[Vectors]:
    groups, start = [], 0
    for size in sizes:
        groups.append(vectors[start : start + size])
        start += size
    return groups
