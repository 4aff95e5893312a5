"""Texts as sentences, with nothing but punctuation to go by."""

from __future__ import annotations

import re

_END = re.compile(
    r"(?<=[.!?\u3002\uff01\uff1f])[\"')\]»”]*\s+(?=[\"'(\[«“]?[A-Z0-9\u00c0-\u00de\u0400-\u042f\u3041-\u9fff`*_-])|(?<=[\u3002\uff01\uff1f])(?=\S)|\n{2,}|\n(?=\s*[-*+•|#]|\s*\d+[.)]\s)"
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Fig|Eq|Sec|al)|\b[A-Z])\.$")
_SHORTEST = 3


def sentences(text: str) -> list[str]:
    """The sentences, list items and table rows of a text, without space around them; none is empty."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        piece = text[start : end.start()].rstrip()
        if _ABBREVIATION.search(piece[-8:]) and "\n\n" not in end.group():
            continue
        if len(piece.strip()) >= _SHORTEST:
            found.append(piece.strip())
            start = end.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found
