"""Documents as passages of about one size: whole sentences (or lines of code), some of them in two passages.

A passage never crosses a section's or a page's end. Sizes are in tokens of the embedding model, heading included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from llm_deploy.rag.config import ChunkConfig
from llm_deploy.rag.loaders import Block, Document
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.sentences import Span, lines, spans

Count = Callable[[Sequence[str]], Awaitable[list[int]]]

MOST_PASSAGES = 20_000
"""Of one document; what comes after is left out, and ingesting notes it."""
_SPECIAL_TOKENS = 2
_LEAST_SHARE = 3
"""A heading takes a third of a passage at most; a longer one is left for the payload."""


@dataclass(frozen=True, slots=True)
class _Unit:
    start: int
    end: int
    tokens: int


async def passages(document: Document, config: ChunkConfig, count: Count, *, most_tokens: int) -> list[Passage]:
    """The passages of a document, in order.

    Args:
        document: As a loader gave it.
        config: The wanted size and overlap.
        count: Tokens of texts, special ones included.
        most_tokens: What the embedding model reads; the wanted size is cut down to it.
    """
    limit = min(config.tokens, most_tokens)
    found: list[Passage] = []
    for each in document.blocks:
        heading = " > ".join(part for part in (document.title, each.section) if part)
        taken = (await count([heading]))[0] if heading else _SPECIAL_TOKENS
        room = limit - (taken if taken * _LEAST_SHARE <= limit else _SPECIAL_TOKENS)
        places = lines(each.text) if document.kind == "code" else spans(each.text)
        units = await _units(each, places, room, count)
        for start, end in _packed(units, room, min(config.overlap, room // 2)):
            if len(found) >= MOST_PASSAGES:
                return found
            found.append(_passage(document, each, each.text[start:end], len(found)))
    return found


async def _units(block: Block, places: Sequence[Span], room: int, count: Count) -> list[_Unit]:
    """The places with their sizes; what is too long for a passage is cut, and cut again until it fits."""
    sizes = await count([block.text[start:end] for start, end in places])
    found: list[_Unit] = []
    for (start, end), size in zip(places, sizes, strict=True):
        own = max(1, size - _SPECIAL_TOKENS)
        if own <= room or end - start == 1:
            found.append(_Unit(start, end, own))
        else:
            found += await _units(block, list(_pieces(block.text, start, end, room / own)), room, count)
    return found


def _pieces(text: str, start: int, end: int, share: float) -> Iterator[Span]:
    """Pieces of this share of a text's length, a tenth less; cut at a line's end or between words if it has any."""
    step = max(1, int((end - start) * share * 0.9))
    while start < end:
        stop = min(end, start + step)
        if stop < end:
            half = start + step // 2
            stop = max(text.rfind("\n", half, stop), text.rfind(" ", half, stop)) + 1 or stop
        yield start, stop
        start = stop


def _packed(units: Sequence[_Unit], room: int, overlap: int) -> Iterator[Span]:
    """As many units as fit, then again from so far back that at most `overlap` tokens repeat."""
    first = 0
    while first < len(units):
        last, size = first, units[first].tokens
        while last + 1 < len(units) and size + units[last + 1].tokens <= room:
            last += 1
            size += units[last].tokens
        yield units[first].start, units[last].end
        if last + 1 == len(units):
            return
        first = _again_from(units, first, last, overlap)


def _again_from(units: Sequence[_Unit], first: int, last: int, overlap: int) -> int:
    begin, size = last + 1, 0
    while begin - 1 > first and size + units[begin - 1].tokens <= overlap:
        begin -= 1
        size += units[begin].tokens
    return begin


def _passage(document: Document, block: Block, text: str, ordinal: int) -> Passage:
    return Passage(
        text=text,
        source=document.source,
        title=document.title,
        section=block.section,
        page=block.page,
        ordinal=ordinal,
        modified=document.modified,
        kind=document.kind,
        language=document.language,
        tags=document.tags,
    )
