"""Files as documents: title, tags, and blocks of text with the section or page that they are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import PurePosixPath

_LONGEST_NOTE = 200
VERSION = 1
"""Changes when a loader reads the same bytes differently, so that they are ingested again."""


class UnreadableError(Exception):
    """A file that is not what its name says, or that no loader reads; the message is for the note."""


@dataclass(frozen=True, slots=True)
class Block:
    """Text that belongs together: a section of Markdown or HTML, a page, a function."""

    text: str
    section: str = ""
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What a loader reads from a file; see `Passage` for the fields. `note` says what of it was left out."""

    source: str
    kind: str
    blocks: tuple[Block, ...]
    title: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()
    modified: str = ""
    note: str = ""


DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError, ArithmeticError, MemoryError,
)  # fmt: skip
"""What parsers of other people's files let through beside their own errors."""

Loader = Callable[[str, bytes], Document]
"""From the source's name and its bytes; raises `UnreadableError`."""

KINDS = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
}


def load(source: str, data: bytes, *, modified: str = "") -> Document:
    """Read a file's bytes by the loader of its name; anything unknown is text if it is text at all.

    Raises:
        UnreadableError: It is binary, encrypted, damaged, or made to be expensive to read.
    """
    from llm_deploy.rag.loaders.code import LANGUAGES  # noqa: PLC0415 - loaders import this module

    suffix = PurePosixPath(source).suffix.lower()
    kind = KINDS.get(suffix) or ("code" if suffix in LANGUAGES else "text")
    loader: Loader = import_module(f"{__name__}.{kind}").load
    try:
        found = loader(source, data)
    except DAMAGED as error:
        raise UnreadableError(f"damaged: {error}"[:_LONGEST_NOTE]) from error
    kept = tuple(_readable(block) for block in found.blocks if block.text.strip())
    return replace(
        found,
        blocks=kept,
        title=_text(found.title) or PurePosixPath(source).name,
        language=_text(found.language),
        tags=tuple(map(_text, found.tags)),
        modified=modified,
    )


def _readable(block: Block) -> Block:
    return replace(block, text=_text(block.text), section=_text(block.section))


def _text(found: str) -> str:
    """Without halves of characters, which escapes and entities can bring and no other program takes."""
    return found.encode("utf-8", "replace").decode()
