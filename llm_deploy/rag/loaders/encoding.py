"""Bytes as text, whoever wrote them."""

from __future__ import annotations

import codecs
import unicodedata

from llm_deploy.rag.loaders import UnreadableError

_LOOKED_AT_BYTES = 8192
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_CONTROLS = 0.05
_SPACE = 0x20
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\x1b")


def text_of(data: bytes, *, said: str | None = None) -> str:
    """Text in NFC, with line feeds at line ends.

    Its byte-order mark decides; then UTF-8; then what the document says of itself; then Windows-1252, in which almost
    every byte is a character.

    Raises:
        UnreadableError: It is binary.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _clean(data.decode(encoding, "replace"))
    if _is_binary(data[:_LOOKED_AT_BYTES]):
        raise UnreadableError("binary")
    for known in ("utf-8", said or "utf-8"):
        try:
            return _clean(data.decode(known))
        except (UnicodeError, LookupError):
            continue
    return _clean(data.decode("cp1252", "replace"))


def _is_binary(head: bytes) -> bool:
    if b"\0" in head:
        return True
    controls = sum(byte < _SPACE and byte not in _TEXT_CONTROLS for byte in head)
    return controls > len(head) * _MOST_CONTROLS


def _clean(text: str) -> str:
    lined = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return unicodedata.normalize("NFC", lined)
