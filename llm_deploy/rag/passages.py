"""What is indexed and found: passages of documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that fits into the embedding model.

    Attributes:
        source: Path of the document, relative to what was ingested, with forward slashes.
        title: Of the document; its file's name where it has none.
        section: Headings above it (`Install > From source`), or the name of the function or class.
        page: In a PDF, from 1.
        ordinal: Its place in the document, from 0.
        modified: When the file was changed last, as an ISO date and time in UTC.
        kind: `text`, `markdown`, `html`, `pdf` or `code`.
        language: Of the code, or as front matter or HTML says it; empty where unknown.
    """

    text: str
    source: str
    title: str = ""
    section: str = ""
    page: int | None = None
    ordinal: int = 0
    modified: str = ""
    kind: str = "text"
    language: str = ""
    tags: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """Title and section in one line; what is embedded and searched with the text."""
        return " > ".join(part for part in (self.title, self.section) if part)

    @property
    def embedded(self) -> str:
        """The text with its heading above it: a passage in the middle of a page says little without."""
        return f"{self.heading}\n\n{self.text}" if self.heading else self.text


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found. `score` is of the last step that ordered the hits; scores of two steps differ in scale.

    Attributes:
        scores: Of each step that gave one, by its name.
    """

    passage: Passage
    score: float
    scores: Mapping[str, float]


def to_payload(passage: Passage) -> dict[str, Any]:
    """The passage as Qdrant keeps it."""
    return {
        "text": passage.text,
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "page": passage.page,
        "ordinal": passage.ordinal,
        "modified": passage.modified or None,
        "kind": passage.kind,
        "language": passage.language,
        "tags": list(passage.tags),
    }


def from_payload(payload: Mapping[str, Any] | None) -> Passage:
    """The passage of a payload; what is missing, because another program wrote it, is left at its default."""
    found = payload or {}
    return Passage(
        text=str(found.get("text") or ""),
        source=str(found.get("source") or ""),
        title=str(found.get("title") or ""),
        section=str(found.get("section") or ""),
        page=found.get("page"),
        ordinal=int(found.get("ordinal") or 0),
        modified=str(found.get("modified") or ""),
        kind=str(found.get("kind") or "text"),
        language=str(found.get("language") or ""),
        tags=tuple(found.get("tags") or ()),
    )
