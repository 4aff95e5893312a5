"""AWS's binary event streams (`application/vnd.amazon.eventstream`), incrementally: bytes in, payloads out.

Every checksum is checked, and every length is bounded before anything is kept for it.

Source: "Event stream encoding", Amazon Transcribe developer guide; the Smithy specification of the format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

MAX_HEADERS_BYTES: Final = 128 * 1024
MAX_PAYLOAD_BYTES: Final = 24 * 1024 * 1024
"""The format's own limits."""

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_PRELUDE_BYTES = 12
_AROUND_BYTES = 16
_MAX_REMEMBERED_BYTES = 1024

_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type; the others, 6 (bytes) and 7 (text), have their length before them."""
_SIZED = {6, 7}
_TEXT = 7


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an event stream ends early.

    Attributes:
        code: What the service calls it (`ModelStreamError`); `None`: the bytes are damaged, and `message` says how.
        payload: The document that came with it.
    """

    code: str | None
    message: str = ""
    payload: bytes = b""


class EventStream:
    """The payloads of the events of one kind; other kinds are passed over.

    Attributes:
        fault: What ended the stream. Bytes after it are not read.
    """

    __slots__ = ("_held", "_held_bytes", "_kind", "_needed", "fault")

    def __init__(self, kind: str = "PayloadPart") -> None:
        self.fault: Fault | None = None
        self._kind = kind
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed = _PRELUDE_BYTES

    def close(self) -> None:
        """Say that no more bytes come: a message that is not whole is a fault."""
        if self._held_bytes and self.fault is None:
            self.fault = Fault(None, "the event stream ended in the middle of a message")

    def feed(self, data: bytes) -> bytes:
        """The payloads that these bytes complete, joined; look at `fault` afterwards."""
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed:
                return b""
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        if self.fault is not None:
            return b""
        return self._read(data)

    def _read(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        at, size = 0, len(data)
        usual: bytes | None = None  # the headers of the event before, if it was of the kind that is read
        kind: str | Fault = ""
        while size - at >= _PRELUDE_BYTES:
            prelude = read_prelude(data[at : at + _PRELUDE_BYTES])
            if prelude is None:
                self.fault = Fault(None, "a message of the event stream has a damaged head")
                return b"".join(parts)
            total, headers_bytes, checksum = prelude
            end = at + total
            if end > size:
                self._hold(data[at:], total)
                return b"".join(parts)
            if crc32(data[at + 8 : end - 4], checksum) != _CHECKSUM.unpack_from(data, end - 4)[0]:
                self.fault = Fault(None, "a message of the event stream is damaged: its checksum is wrong")
                return b"".join(parts)
            start = at + _PRELUDE_BYTES + headers_bytes
            block = data[at + _PRELUDE_BYTES : start]
            if block != usual:
                kind = event_kind(block) if headers_bytes <= _MAX_REMEMBERED_BYTES else _read_kind(block)
                usual = block if kind == self._kind else None
            if usual is not None:
                parts.append(data[start : end - 4])
            elif type(kind) is Fault:
                self.fault = Fault(kind.code, kind.message, data[start : end - 4])
                return b"".join(parts)
            at = end
        if at < size:
            self._hold(data[at:], _PRELUDE_BYTES)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, rest: bytes, needed: int) -> None:
        self._held.append(rest)
        self._held_bytes = len(rest)
        self._needed = needed


@lru_cache(maxsize=1024)
def read_prelude(block: bytes) -> tuple[int, int, int] | None:
    """A message's length, its headers', and the checksum of both; `None` where they are damaged or beyond the limits.

    Remembered by its bytes: the messages of a stream are of a few lengths.
    """
    total, headers_bytes, checksum = _PRELUDE.unpack(block)
    payload_bytes = total - headers_bytes - _AROUND_BYTES
    plausible = headers_bytes <= MAX_HEADERS_BYTES and 0 <= payload_bytes <= MAX_PAYLOAD_BYTES
    return (total, headers_bytes, checksum) if plausible and crc32(block[:8]) == checksum else None


def _read_kind(block: bytes) -> str | Fault:
    """The kind of event that a message's headers name, or the fault that they report."""
    try:
        headers = read_headers(block)
    except (IndexError, ValueError, struct.error):
        return Fault(None, "a message of the event stream has malformed headers")
    match headers.get(":message-type"):
        case "event":
            return headers.get(":event-type", "")
        case "exception":
            return Fault(headers.get(":exception-type", "unknown"))
        case "error":
            return Fault(headers.get(":error-code", "unknown"), headers.get(":error-message", ""))
        case other:
            return Fault(None, f"a message of the event stream is of no known type: {other!r}")


event_kind = lru_cache(maxsize=64)(_read_kind)
"""Remembered by the headers' bytes: a stream repeats the same few."""


def read_headers(block: bytes) -> dict[str, str]:
    """A message's text headers by name; those of other types are passed over.

    Raises:
        IndexError, ValueError, struct.error: The bytes are no headers.
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        name, kind = block[at + 1 : name_end].decode(), block[name_end]
        start = name_end + 1
        if kind in _SIZED:
            start += 2
            size: int = struct.unpack_from(">H", block, start - 2)[0]
        else:
            size = _size_of(kind)
        at = start + size
        if at > len(block) or not name:
            raise ValueError("a header is cut")
        if kind == _TEXT:
            found[name] = block[start:at].decode()
    return found


def _size_of(kind: int) -> int:
    if kind not in _FIXED_SIZES:
        raise ValueError("a header is of an unknown type")
    return _FIXED_SIZES[kind]
