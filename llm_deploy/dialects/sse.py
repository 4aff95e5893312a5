"""Server-sent events and JSON lines, incrementally: one decoder, since engines mix them.

TGI, vLLM and SGLang stream server-sent events; LMI streams JSON lines, or events when it is configured to; and more
than one server breaks an event stream off with a bare JSON error. No field of an event can begin with `{` or `[`, so
a line that does is a payload of its own.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (parsing); the deviation from it, besides the
above, is that an event whose blank line never came is handed out at the end: engines forget the final newline.
"""

from __future__ import annotations

from llm_deploy.dialects.lines import MAX_LINE_BYTES, LineSplitter
from llm_deploy.errors import WireFormatError

Event = tuple[str, bytes]
"""One event: its name (`message` when it has none) and its data lines joined by newlines."""

MESSAGE = "message"

_OPENINGS = (b"{", b"[")


class SseDecoder:
    """Bytes in, events out, all that are there at once. Comments (keep-alives), `id`, `retry` and the like are dropped.

    Attributes:
        failure: A line or an event is longer than the limit; nothing is handed out after those before it.
    """

    __slots__ = ("_data", "_data_bytes", "_limit_bytes", "_lines", "_name", "failure")

    def __init__(self, *, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self.failure: WireFormatError | None = None
        self._lines = LineSplitter(limit_bytes=limit_bytes)
        self._limit_bytes = limit_bytes
        self._name = MESSAGE
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete; look at `failure` afterwards."""
        if self.failure is not None:
            return []
        events: list[Event] = []
        self._take(self._lines.feed(data), events)
        self.failure = self.failure or self._lines.failure
        return events

    def close(self) -> list[Event]:
        """What had arrived of the last event."""
        if self.failure is not None:
            return []
        events: list[Event] = []
        self._take([*self._lines.close(), b""], events)
        return events

    def _take(self, lines: list[bytes], events: list[Event]) -> None:
        held = self._data
        for line in lines:
            if not line:
                if held:
                    events.append((self._name, held[0] if len(held) == 1 else b"\n".join(held)))
                    held.clear()
                    self._data_bytes = 0
                self._name = MESSAGE
            elif line.startswith(b"data:"):
                held.append(line[6:] if line.startswith(b"data: ") else line[5:])
                if len(held) > 1 and self._is_too_long():
                    return
            elif line.startswith(_OPENINGS):
                self._take([b""], events)
                events.append((MESSAGE, line))
            else:
                self._take_field(line)

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", errors="replace") or MESSAGE
        elif field == b"data":
            self._data.append(b"")

    def _is_too_long(self) -> bool:
        if len(self._data) == 2:  # noqa: PLR2004 - the first has a line's own limit
            self._data_bytes = len(self._data[0])
        self._data_bytes += len(self._data[-1])
        if self._data_bytes <= self._limit_bytes:
            return False
        self.failure = WireFormatError(f"an event of the answer is longer than {self._limit_bytes} bytes")
        return True
