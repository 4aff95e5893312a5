"""One answer of HTTP/1.1, incrementally: its bytes in, its head and its body's bytes out. Strict, and bounded.

What is ambiguous is refused, since two readers of one connection could disagree about where the answer ends: both
lengths, a length twice, bare line feeds, folded lines, blanks before a colon, chunk sizes that are no plain number.

Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from llm_deploy.errors import WireFormatError

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 128
MAX_INTERIM_ANSWERS: Final = 8
MAX_CHUNK_LINE_BYTES: Final = 1024

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\r\n\0]*+\r\n)*+"
)
_DECISIVE = re.compile(rb"\r\n(content-length|transfer-encoding|content-encoding|connection):[ \t]*([^\r\n]*)")
"""The headers that say where an answer ends and what follows it, in a head in lower case."""
_FIELD = re.compile(rb"(?m)^([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r\n)*")
_MAX_KNOWN_SIZES = 4096
_INTERIM = 1
_SWITCHING = 101
_BEGINNING = b"HTTP/1."
_ONCE = frozenset({b"content-length", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({204, 304})


class Response:
    """One answer to a POST.

    Attributes:
        status: 0 until the head has arrived.
        ended: The answer is whole.
        reusable: It is, and another request may be sent on its connection.
    """

    __slots__ = (
        "_feed",
        "_head",
        "_held",
        "_interim",
        "_keep",
        "_known_sizes",
        "_left",
        "_searched",
        "ended",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self._head = b""
        self.ended = False
        self._keep = False
        self._held = bytearray()
        self._searched = 0
        self._left = 0
        self._interim = 0
        self._known_sizes: dict[bytes, int] = {}
        self._feed: Callable[[bytes], bytes] = self._feed_head

    @property
    def reusable(self) -> bool:
        """See the class."""
        return self.ended and self._keep

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """By lower-case name; of a name that stands twice, the values joined by a comma. Made when asked for."""
        return _by_name(_FIELD.findall(self._head, self._head.find(b"\n") + 1))

    def feed(self, data: bytes) -> bytes:
        """The body's bytes that these bytes bring, in one piece; they may be none.

        Raises:
            WireFormatError: The bytes are no answer of HTTP/1.1, or one that is not safe to read.
        """
        return self._feed(data)

    def close(self) -> bool:
        """Say that the connection has ended; tell whether the answer was whole."""
        if self._feed == self._feed_rest:
            self.ended = True
        return self.ended

    def _feed_head(self, data: bytes) -> bytes:
        if self._held:
            self._held += data
            end = self._held.find(b"\r\n\r\n", self._searched, MAX_HEAD_BYTES)
            data = bytes(self._held) if end >= 0 else data
        else:
            end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            self._hold_head(data)
            return b""
        self._held = bytearray()
        self._read_head(data[: end + 2])
        rest = data[end + 4 :]
        return self._feed(rest) if rest else b""

    def _hold_head(self, data: bytes) -> None:
        self._held = self._held or bytearray(data)
        self._searched = max(len(self._held) - 3, 0)
        if len(self._held) >= MAX_HEAD_BYTES:
            raise WireFormatError(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
        if not self._held.startswith(_BEGINNING[: len(self._held)]):
            raise WireFormatError(f"this is no answer of HTTP/1.1: {bytes(self._held[:40])!r}")

    def _read_head(self, head: bytes) -> None:
        found = _HEAD.fullmatch(head)
        if found is None or head.count(b"\n") > MAX_HEADERS + 1:
            raise WireFormatError(f"this is no answer of HTTP/1.1: {head[:40]!r}, or one with malformed headers")
        status = int(found[2])
        if status // 100 == _INTERIM:
            self._pass_over(status)
        else:
            self.status = status
            self._head = head
            self._choose_body(head.lower(), modern=found[1] == b"1")

    def _pass_over(self, status: int) -> None:
        self._interim += 1
        if status == _SWITCHING or self._interim > MAX_INTERIM_ANSWERS:
            raise WireFormatError(f"the server sent an answer that nobody asked for (HTTP {status})")

    def _choose_body(self, head: bytes, *, modern: bool) -> None:
        """By the head in lower case; most of its headers are never looked at."""
        coding, length, closes = _decisive(head)
        self._keep = modern and not closes
        if self.status in _WITHOUT_BODY:  # whatever its headers say: bytes that follow are nobody's
            self._keep = self._keep and coding is None and length in {None, b"0"}
            self._end()
        elif coding is not None:
            if length is not None or not modern or coding != b"chunked":
                raise WireFormatError("the answer's length is ambiguous")
            self._feed = self._feed_chunks
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise WireFormatError("the answer's length is no number")
            self._left = int(length)
            self._feed = self._feed_length
            if self._left == 0:
                self._end()
        else:
            self._keep = False
            self._feed = self._feed_rest

    def _feed_length(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        body = data[: self._left]
        surplus = len(data) > self._left
        self._left = 0
        self._end(surplus=surplus)
        return body

    def _feed_rest(self, data: bytes) -> bytes:
        return data

    def _feed_chunks(self, data: bytes) -> bytes:
        """Chunks, from where a size is expected."""
        if self._held:
            data = bytes(self._held) + data
            self._held = bytearray()
        known, parts, at, size = self._known_sizes, [], 0, len(data)
        while True:
            eol = data.find(b"\r\n", at, at + MAX_CHUNK_LINE_BYTES)
            if eol < 0:
                self._hold_chunk_line(data[at:])
                break
            line = data[at:eol]
            length = known.get(line)
            if length is None:
                length = self._read_size(line)
            start = eol + 2
            end = start + length
            if length == 0:
                self._searched = 0
                self._feed = self._feed_trailers
                self._feed_trailers(data[start:])
                break
            if end + 2 > size:
                parts.append(data[start:end])
                self._left = end - size
                self._feed = self._feed_within_chunk if end > size else self._feed_chunk_end
                if end <= size:
                    self._hold_chunk_end(data[end:])
                break
            if data[end : end + 2] != b"\r\n":
                raise WireFormatError("a chunk of the answer does not end where it said")
            parts.append(data[start:end])
            at = end + 2
            if at == size:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _feed_within_chunk(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        part, rest = data[: self._left], data[self._left :]
        self._left = 0
        self._feed = self._feed_chunk_end
        return part + self._feed_chunk_end(rest)

    def _feed_chunk_end(self, data: bytes) -> bytes:
        data = bytes(self._held) + data
        self._held = bytearray()
        if len(data) < len(b"\r\n"):
            self._hold_chunk_end(data)
            return b""
        if data[:2] != b"\r\n":
            raise WireFormatError("a chunk of the answer does not end where it said")
        self._feed = self._feed_chunks
        return self._feed_chunks(data[2:]) if len(data) > len(b"\r\n") else b""

    def _hold_chunk_end(self, data: bytes) -> None:
        if data not in {b"", b"\r"}:
            raise WireFormatError("a chunk of the answer does not end where it said")
        self._held = bytearray(data)

    def _hold_chunk_line(self, data: bytes) -> None:
        if len(data) >= MAX_CHUNK_LINE_BYTES or (data and not _CHUNK.fullmatch(data.removesuffix(b"\r"))):
            raise WireFormatError(f"the size of a chunk is no number: {data[:40]!r}")
        self._held = bytearray(data)

    def _read_size(self, line: bytes) -> int:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise WireFormatError(f"the size of a chunk is no number: {line[:40]!r}")
        if len(self._known_sizes) > _MAX_KNOWN_SIZES:
            self._known_sizes.clear()
        length = self._known_sizes[line] = int(found[1], 16)
        return length

    def _feed_trailers(self, data: bytes) -> bytes:
        """Header lines, which are checked and dropped, and the blank line at the end."""
        held = self._held
        held += data
        blank = 0 if held.startswith(b"\r\n") else held.find(b"\r\n\r\n", self._searched, MAX_HEAD_BYTES) + 2
        if blank == 1:
            self._searched = max(len(held) - 3, 0)
            if len(held) >= MAX_HEAD_BYTES:
                raise WireFormatError(f"the end of the answer is longer than {MAX_HEAD_BYTES} bytes")
            return b""
        if not _TRAILERS.fullmatch(held, 0, blank):
            raise WireFormatError("the answer has a malformed line after its last chunk")
        self._end(surplus=len(held) > blank + 2)
        return b""

    def _end(self, *, surplus: bool = False) -> None:
        self.ended = True
        self._held = bytearray()
        self._keep = self._keep and not surplus
        self._feed = self._feed_surplus

    def _feed_surplus(self, data: bytes) -> bytes:
        """Bytes after the answer's end belong to nobody: they are dropped, and the connection with them."""
        self._keep = self._keep and not data
        return b""


def _decisive(head: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The transfer coding, the length, and whether the connection ends with the answer."""
    found: dict[bytes, bytes] = {}
    for name, padded in _DECISIVE.findall(head):
        value = padded.rstrip(b" \t")
        if name == b"content-encoding" and value != b"identity":
            raise WireFormatError("the answer is compressed, which it was not asked to be")
        if name in found and name in _ONCE:
            raise WireFormatError("the answer's length is ambiguous")
        found[name] = found[name] + b"," + value if name in found else value
    return found.get(b"transfer-encoding"), found.get(b"content-length"), b"close" in found.get(b"connection", b"")


def _by_name(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    named: dict[bytes, bytes] = {}
    for name, padded in fields:
        key, value = name.lower(), padded.rstrip(b" \t")
        named[key] = named[key] + b", " + value if key in named else value
    return named
