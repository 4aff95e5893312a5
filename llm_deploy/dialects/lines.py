"""Bytes into lines, incrementally: LF, CRLF and CR, cut anywhere, bounded."""

from __future__ import annotations

from collections.abc import Iterator

from llm_deploy.errors import WireFormatError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""No engine's event comes near it (the largest is TGI's last one with the details of every token, about 100 bytes a
token); it keeps a peer that never sends a newline from filling the memory."""

_LINE_ENDS = (b"\n", b"\r")


class LineSplitter:
    """Splits a stream of bytes into decoded lines without their ends.

    A line that ends in CR is handed out at once; an LF that follows it in the next bytes is swallowed. Bytes that are
    not UTF-8 become U+FFFD, as the event-stream standard asks; a byte order mark at the very start is dropped.
    """

    def __init__(self, *, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that these bytes complete. Read the iterator to its end before the next call.

        Raises:
            WireFormatError: A line is longer than the limit; the lines before it are handed out first.
        """
        if not data:
            return
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        for piece in data.splitlines(keepends=True):
            content = piece.rstrip(b"\r\n")
            self._hold(content)
            if piece.endswith(_LINE_ENDS):
                yield self._release()

    def close(self) -> Iterator[str]:
        """The rest that had no line end, if any."""
        if self._held_bytes:
            yield self._release()

    def _hold(self, content: bytes) -> None:
        self._held_bytes += len(content)
        if self._held_bytes > self._limit_bytes:
            raise WireFormatError(f"a line of the answer is longer than {self._limit_bytes} bytes")
        self._held.append(content)

    def _release(self) -> str:
        line = b"".join(self._held).decode("utf-8", errors="replace")
        self._held.clear()
        self._held_bytes = 0
        if self._at_start:
            self._at_start = False
            return line.removeprefix("\ufeff")
        return line
