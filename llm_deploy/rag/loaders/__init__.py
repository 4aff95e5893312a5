"""Files as documents: title, tags, and blocks of text with the section or page that they are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import PurePosixPath

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
    """What a loader reads from a file; see `Passage` for the fields."""

    source: str
    kind: str
    blocks: tuple[Block, ...]
    title: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()
    modified: str = ""


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
        UnreadableError: It is binary, encrypted or damaged.
    """
    from llm_deploy.rag.loaders.code import LANGUAGES  # noqa: PLC0415 - loaders import this module

    suffix = PurePosixPath(source).suffix.lower()
    kind = KINDS.get(suffix) or ("code" if suffix in LANGUAGES else "text")
    loader: Loader = import_module(f"{__name__}.{kind}").load
    found = loader(source, data)
    kept = tuple(block for block in found.blocks if block.text.strip())
    return replace(found, blocks=kept, title=found.title or PurePosixPath(source).name, modified=modified)
