"""PDF: a block for each page that holds text. Scanned pages hold none; nothing here reads pictures."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm_deploy.rag.loaders import DAMAGED, Block, Document, UnreadableError

if TYPE_CHECKING:
    from pypdf import PdfReader

MOST_PAGES = 5000
MOST_CHARACTERS = 5_000_000
"""Of text. A file of some kilobytes can unpack to gigabytes; a thousand dense pages have four million."""


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
        left_out = len(reader.pages) - len(blocks)
        note = f"the last {left_out} of {len(reader.pages)} pages are left out: too much text" if left_out else ""
        return Document(source, "pdf", blocks, title=_title(reader), note=note)
    except (PyPdfError, *DAMAGED) as error:
        raise UnreadableError(f"damaged PDF: {error}"[:200]) from error


def _pages(reader: PdfReader) -> Iterator[Block]:
    left = MOST_CHARACTERS
    for number, page in enumerate(reader.pages, 1):
        if number > MOST_PAGES or left <= 0:
            return
        text = page.extract_text() or ""
        left -= len(text)
        yield Block(_joined(text), page=number)


def _title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return " ".join(str(title).split())[:200] if title else ""


def _joined(text: str) -> str:
    """Words that a line's end cut are put together; lines of one paragraph are one line."""
    whole = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text.replace("\0", ""))
    return re.sub(r"(?<![.!?:\n])\n(?=[a-z(])", " ", whole)
