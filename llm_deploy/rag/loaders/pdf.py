"""PDF: a block for each page that holds text. Scanned pages hold none; nothing here reads pictures."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm_deploy.rag.loaders import Block, Document, UnreadableError

if TYPE_CHECKING:
    from pypdf import PdfReader

MOST_PAGES = 5000
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, AssertionError, OverflowError)
"""What pypdf lets through for files that break the rules, beside its own errors."""


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    from pypdf import PdfReader  # noqa: PLC0415 - part of an extra
    from pypdf.errors import PyPdfError  # noqa: PLC0415 - as above

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # a warning for every crooked object
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("encrypted")
        blocks = tuple(_pages(reader))
        return Document(source, "pdf", blocks, title=_title(reader))
    except (PyPdfError, *_DAMAGED) as error:
        raise UnreadableError(f"damaged PDF: {error}"[:200]) from error


def _pages(reader: PdfReader) -> Iterator[Block]:
    for number, page in enumerate(reader.pages, 1):
        if number > MOST_PAGES:
            return
        yield Block(_joined(page.extract_text() or ""), page=number)


def _title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return " ".join(str(title).split())[:200] if title else ""


def _joined(text: str) -> str:
    """Words that a line's end cut are put together; lines of one paragraph are one line."""
    whole = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text.replace("\0", ""))
    return re.sub(r"(?<![.!?:\n])\n(?=[a-z(])", " ", whole)
