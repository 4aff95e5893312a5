"""Dropping passages that say the same as a better one.

With some dozens of candidates the shingles of all of them are compared as they are; MinHash estimates the same number
and pays with thousands only.

Source: Broder, "On the resemblance and containment of documents" (1997).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llm_deploy.rag.passages import Hit
from llm_deploy.rag.words import terms

SHINGLE = 4
"""Terms in a row."""
SAME_FROM = 0.7
"""Containment from which the shorter of two passages says nothing new."""


def without_duplicates(hits: Iterable[Hit], *, most: int | None = None, same_from: float = SAME_FROM) -> list[Hit]:
    """The first hits in their order, each only if none before it contains most of it, nor it most of that one."""
    kept: list[Hit] = []
    seen: list[set[tuple[str, ...]]] = []
    for hit in hits:
        if len(kept) == most:
            break
        found = shingles(hit.passage.text)
        if all(containment(found, other) < same_from for other in seen):
            kept.append(hit)
            seen.append(found)
    return kept


def shingles(text: str) -> set[tuple[str, ...]]:
    """All runs of four terms; of a shorter text its terms as one run."""
    words: Sequence[str] = tuple(terms(text))
    if len(words) <= SHINGLE:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


def containment(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    """How much of the smaller set is in the other, 0 to 1."""
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else float(left == right)
