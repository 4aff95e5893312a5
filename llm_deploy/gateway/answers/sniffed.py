"""The writer that looks at an engine's first event before it decides how to write: engines are not what they say."""

from __future__ import annotations

from llm_deploy.errors import InferenceError
from llm_deploy.gateway.answers.decoded import DecodedWriter, OpenAiWords, TgiWords
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.relay import ReframedWriter, openai_relay, tgi_relay
from llm_deploy.gateway.answers.tgi_tokens import TgiTokenWriter
from llm_deploy.gateway.answers.writer import EVENT_END, StreamWriter, Tally

_LONGEST_UNDECIDED_BYTES = 64 * 1024


class SniffedWriter:
    """A `StreamWriter` that becomes the right one with the first event.

    Args:
        frame: Of an OpenAI answer; `None` writes TGI's events.
    """

    def __init__(self, frame: Frame | None) -> None:
        self._frame = frame
        self._held = b""
        self._undecided = Tally()
        self._writer: StreamWriter | None = None

    @property
    def tally(self) -> Tally:
        """See `StreamWriter.tally`."""
        return self._undecided if self._writer is None else self._writer.tally

    def feed(self, data: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        if self._writer is not None:
            return self._writer.feed(data)
        self._held += data
        self._writer = self._decided(self._held)
        if self._writer is None:
            return b""
        data, self._held = self._held, b""
        return self._writer.feed(data)

    def close(self, cause: InferenceError | None = None) -> bytes:
        """See `StreamWriter.close`."""
        if self._writer is not None:
            return self._writer.close(cause)
        self._writer = self._slow()
        return self._writer.feed(self._held) + self._writer.close(cause)

    def take_kept(self) -> bytes:
        """See `StreamWriter.take_kept`."""
        return b"" if self._writer is None else self._writer.take_kept()

    def _decided(self, held: bytes) -> StreamWriter | None:
        start = held.lstrip()
        while start.startswith(b":") and EVENT_END in start:  # comments, which keep a connection open
            start = start.partition(EVENT_END)[2]
        first, end, _ = start.partition(EVENT_END)
        if end and first.startswith(b"data:") and b"\r" not in first:
            return self._by_shape(first, framed=True)
        lines = start[:1] in {b"{", b"["} or b"\r\n\r\n" in start
        if lines and b"\n" in start:
            return self._by_shape(start, framed=False)
        return self._slow() if end or len(held) > _LONGEST_UNDECIDED_BYTES else None

    def _by_shape(self, first: bytes, *, framed: bool) -> StreamWriter:
        frame = self._frame
        if frame is None:
            return tgi_relay() if framed and b'"token":' in first else self._slow()
        if b'"choices":' in first:
            relay = openai_relay(first, frame.model, keeps_usage=frame.wants_usage)
            return relay if framed else ReframedWriter(relay)
        return TgiTokenWriter(frame) if framed and b'"token":' in first else self._slow()

    def _slow(self) -> StreamWriter:
        return DecodedWriter(TgiWords() if self._frame is None else OpenAiWords(self._frame))
