"""Texts as words for the search by words: BM25 weights as sparse vectors, without a vocabulary and without downloads.

A term's place in the vector is a hash of it. How rare a term is (IDF) is Qdrant's affair: it counts documents by
place, so the numbers are of the collection as it is now.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), for the weight.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

SATURATION = 1.2
"""k1: how fast the second, third ... mention of a term counts less."""
LENGTH_NORM = 0.75
"""b: how much a long passage is held against it."""
USUAL_TERMS = 120
"""Terms of a usual passage. Passages are cut to one size, so that a constant serves as the average length, and a
passage's weights do not depend on when it was ingested."""

_WORD = re.compile(r"[^\W_]+(?:[-._/][^\W_]+)*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST_TERM = 64
_SHORTEST_STEMMED = 4
_STOP_WORDS = """
a an and are as at be but by can do does for from has have how i if in into is it its no not of on or our so that the
their then there these they this to was we what when where which who why will with you your
"""
_STOP = frozenset(_STOP_WORDS.split())


class SparseVector(NamedTuple):
    """Places in ascending order, and their weights."""

    indices: list[int]
    values: list[float]


def terms(text: str) -> Iterator[str]:
    """Words in lower case without plurals; an identifier gives itself and its parts (`max_new_tokens`: 4 terms)."""
    for found in _WORD.finditer(text.replace("_", "-")):
        whole = found.group()
        parts = _PART.findall(whole)
        if len(parts) > 1 and len(whole) <= _LONGEST_TERM:
            yield whole.lower()
        for part in parts:
            word = part.lower()
            if word not in _STOP and len(word) <= _LONGEST_TERM:
                yield _stem(word)


def passage_vector(text: str) -> SparseVector:
    """BM25's weights of a passage, but for the terms' rarity."""
    counts = Counter(map(_place, terms(text)))
    norm = SATURATION * (1 - LENGTH_NORM + LENGTH_NORM * counts.total() / USUAL_TERMS)
    return _vector({place: n * (SATURATION + 1) / (n + norm) for place, n in counts.items()})


def query_vector(text: str) -> SparseVector:
    """Each term once; Qdrant multiplies its rarity in."""
    return _vector(dict.fromkeys(map(_place, terms(text)), 1.0))


def _vector(weights: dict[int, float]) -> SparseVector:
    places = sorted(weights)
    return SparseVector(places, [weights[place] for place in places])


def _place(term: str) -> int:
    return int.from_bytes(blake2b(term.encode("utf-8", "replace"), digest_size=4).digest(), "big")


def _stem(word: str) -> str:
    """A word without the commonest English endings; the same is done to queries, so that it need not be a word.

    Source: Harman, "How effective is suffixing?" (1991), for the S-stemmer, with -ing and -ed added.
    """
    if len(word) < _SHORTEST_STEMMED or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("us", "ss", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEMMED:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > _SHORTEST_STEMMED else word
