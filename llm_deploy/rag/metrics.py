"""How good a ranking and an answer are.

Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002), for nDCG.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from llm_deploy.rag.words import terms

SUPPORTED_COSINE = 0.6
SUPPORTED_SHARE = 0.6
"""A sentence counts as supported from this cosine with a sentence of a passage, or from this share of its terms in one
passage. Both were set by reading some dozens of pairs of MiniLM's; they compare configurations, and prove nothing about
one sentence: a wrong number in a sentence otherwise copied is not noticed."""


def recall(found: Sequence[str], wanted: Collection[str]) -> float:
    """The share of wanted sources that are among the found ones; 1 where nothing is wanted."""
    return len(set(found) & set(wanted)) / len(set(wanted)) if wanted else 1.0


def reciprocal_rank(found: Sequence[str], wanted: Collection[str]) -> float:
    """One over the place of the first wanted source; 0 where there is none."""
    return next((1 / place for place, source in enumerate(found, 1) if source in wanted), 0.0)


def ndcg(found: Sequence[str], wanted: Collection[str], k: int | None = None) -> float:
    """Discounted gain over the best possible one; a source counts where it is found first.

    Args:
        found: Best first.
        wanted: Each counts the same.
        k: How many places there were, whether or not all were filled; as many as it takes if it is not said.
    """
    left = set(wanted)
    gain = 0.0
    for place, source in enumerate(found, 1):
        if source in left:
            left.remove(source)
            gain += 1 / math.log2(place + 1)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(len(set(wanted)), k or len(wanted)) + 1))
    return gain / best if best else float(not wanted)


def share_of_terms(sentence: str, passage: str) -> float:
    """How many of a sentence's distinct terms are in a passage, 0 to 1; 1 for a sentence without terms."""
    wanted = set(terms(sentence))
    return len(wanted & set(terms(passage))) / len(wanted) if wanted else 1.0


def supported(
    sentences: Sequence[str],
    vectors: Sequence[Sequence[float]],
    passages: Sequence[str],
    passage_vectors: Sequence[Sequence[float]],
) -> float:
    """The share of an answer's sentences that a passage supports, by vectors or by words; 0 for no sentences.

    Args:
        sentences: Of the answer.
        vectors: Of the answer's sentences.
        passages: What was cited.
        passage_vectors: Of all sentences of all passages.
    """
    kept = 0
    for sentence, vector in zip(sentences, vectors, strict=True):
        near = max((_dot(vector, other) for other in passage_vectors), default=0.0)
        shared = max((share_of_terms(sentence, passage) for passage in passages), default=0.0)
        kept += near >= SUPPORTED_COSINE or shared >= SUPPORTED_SHARE
    return kept / len(sentences) if sentences else 0.0


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
