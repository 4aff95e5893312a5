"""Texts as sentences, with nothing but punctuation and line breaks to go by."""

from __future__ import annotations

import re

_OPENS = r"[\"'(\[\u00ab\u201c]?[A-Z0-9\u00c0-\u00de\u0400-\u042f\u3041-\u9fff`*_-]"
_END = re.compile(
    r"(?<=[.!?])[\"')\]\u00bb\u201d]*\s+(?=" + _OPENS + r")"  # a full stop, and what may open a sentence
    r"|(?<=[\u3002\uff01\uff1f])\s*(?=\S)"  # the full stops of Chinese and Japanese need no space
    r"|\n\s*\n\s*"  # a paragraph's end
    r"|\n(?=\s*(?:[-*+\u2022|#>]|\d+[.)]\s|```))"  # the next line is a list item, a table's row, a fence
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Fig|Eq|Sec|al)|\b[A-Z]|^\s*\d+)\.$")
_SHOWN_BEFORE = 10

Span = tuple[int, int]


def spans(text: str) -> list[Span]:
    """Where each sentence, list item or table row begins and ends, without space around it; none is empty."""
    found: list[Span] = []
    start = 0
    for end in _END.finditer(text):
        stop = _ends_at(text, start, end)
        if stop is not None:
            _add(found, text, start, stop)
            start = end.end()
    _add(found, text, start, len(text))
    return found


def sentences(text: str) -> list[str]:
    """The texts of `spans`."""
    return [text[start:end] for start, end in spans(text)]


def lines(text: str) -> list[Span]:
    """The same of each line that is not empty; its indentation belongs to it."""
    found = []
    for line in re.finditer(r"[^\n]+", text):
        body = line.group().rstrip()
        if body:
            found.append((line.start(), line.start() + len(body)))
    return found


def _ends_at(text: str, start: int, end: re.Match[str]) -> int | None:
    """Where the sentence before this break stops, closing quotes included; `None` where it only looked like a break."""
    before = text[max(start, end.start() - _SHOWN_BEFORE) : end.start()]
    if "\n" not in end.group() and _ABBREVIATION.search(before):
        return None
    return end.start() + len(end.group().rstrip())


def _add(found: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    if piece.strip():
        found.append((start + left, start + len(piece.rstrip())))
