"""Bytes into lines, incrementally: LF, CRLF and CR, cut anywhere, bounded."""

from __future__ import annotations

from llm_deploy.errors import WireFormatError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""No engine's event comes near it (the largest is TGI's last one with the details of every token, about 100 bytes a
token); it keeps a peer that never sends a newline from filling the memory."""

_MARK = b"\xef\xbb\xbf"


class LineSplitter:
    """Splits a stream of bytes into lines without their ends, all that are there at once.

    A line that ends in CR is handed out at once; an LF that follows it in the next bytes is swallowed. A byte order
    mark at the very start is dropped.

    Attributes:
        failure: A line is longer than the limit; nothing is handed out after those before it.
    """

    __slots__ = ("_after_cr", "_at_start", "_held", "_held_bytes", "_limit_bytes", "failure")

    def __init__(self, *, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self.failure: WireFormatError | None = None
        self._limit_bytes = limit_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete; look at `failure` afterwards."""
        if not data or self.failure is not None:
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_plain_ends(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._held:
                lines[0] = b"".join((*self._held, lines[0]))
                self._held.clear()
            if self._held_bytes + len(data) > self._limit_bytes:
                lines = self._within_limit(lines)
            self._held_bytes = 0
            if self._at_start:
                self._at_start = False
                lines[:1] = [line.removeprefix(_MARK) for line in lines[:1]]
        if rest:
            self._hold(rest)
        return lines

    def close(self) -> list[bytes]:
        """The rest that had no line end, if any."""
        if not self._held or self.failure is not None:
            return []
        rest = b"".join(self._held)
        self._held.clear()
        return [rest.removeprefix(_MARK) if self._at_start else rest]

    def _with_plain_ends(self, data: bytes) -> bytes:
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _within_limit(self, lines: list[bytes]) -> list[bytes]:
        for place, line in enumerate(lines):
            if len(line) > self._limit_bytes:
                self._fail()
                return lines[:place]
        return lines

    def _hold(self, rest: bytes) -> None:
        self._held.append(rest)
        self._held_bytes += len(rest)
        if self._held_bytes > self._limit_bytes:
            self._fail()

    def _fail(self) -> None:
        self._held.clear()
        self.failure = WireFormatError(f"a line of the answer is longer than {self._limit_bytes} bytes")
