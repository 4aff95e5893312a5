"""Server-sent events and JSON lines, incrementally: one decoder, since engines mix them.

TGI, vLLM and SGLang stream server-sent events; LMI streams JSON lines, or events when it is configured to; and more
than one server breaks an event stream off with a bare JSON error. No field of an event can begin with `{` or `[`, so
a line that does is a payload of its own.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (parsing); the deviation from it, besides the
above, is that an event whose blank line never came is handed out at the end: engines forget the final newline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llm_deploy.dialects.lines import MAX_LINE_BYTES, LineSplitter
from llm_deploy.errors import WireFormatError


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (`message` when it has none) and its data lines joined by newlines."""

    name: str
    data: str


class SseDecoder:
    """Bytes in, events out. Comments (keep-alives), `id`, `retry` and unknown fields are dropped."""

    def __init__(self, *, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._lines = LineSplitter(limit_bytes=limit_bytes)
        self._limit_chars = limit_bytes
        self._name = ""
        self._data: list[str] = []
        self._data_chars = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Read the iterator to its end before the next call.

        Raises:
            WireFormatError: A line or an event is longer than the limit.
        """
        for line in self._lines.feed(data):
            yield from self._take(line)

    def close(self) -> Iterator[Event]:
        """What had arrived of the last event."""
        for line in self._lines.close():
            yield from self._take(line)
        yield from self._dispatch()

    def _take(self, line: str) -> Iterator[Event]:
        if not line:
            yield from self._dispatch()
        elif line[0] in "{[":
            yield from self._dispatch()
            yield Event("message", line)
        else:
            self._take_field(line)

    def _take_field(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data_chars += len(value)
            if self._data_chars > self._limit_chars:
                raise WireFormatError(f"an event of the answer is longer than {self._limit_chars} characters")
            self._data.append(value)

    def _dispatch(self) -> Iterator[Event]:
        name, data = self._name, self._data
        self._name, self._data, self._data_chars = "", [], 0
        if data:
            yield Event(name or "message", "\n".join(data))
