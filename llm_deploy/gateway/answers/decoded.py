"""The writer for every engine: each event is decoded and written again. Slow, and right for all shapes.

The fast writers beside it are held to what this one writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Chunk, TokenCounts
from llm_deploy.errors import InferenceError, LlmDeployError
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.writer import Tally


class Words(Protocol):
    """How chunks are written on a route."""

    def chunk(self, chunk: Chunk) -> bytes:
        """A piece that is not the last."""
        ...

    def ending(self, last: Chunk, counts: TokenCounts | None) -> bytes:
        """The last piece, with its reason, and what ends a stream."""
        ...


class DecodedWriter:
    """A `StreamWriter` over a dialect's decoder.

    The finishing chunk waits for the engine's counts, which follow it in OpenAI's streams.
    """

    def __init__(self, words: Words, *, dialect_name: str = "auto") -> None:
        self.tally = Tally()
        self._words = words
        self._decoder = dialect(dialect_name).stream_decoder()
        self._last: Chunk | None = None
        self._counts: TokenCounts | None = None
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        return self._written(lambda: self._decoder.feed(data))

    def close(self, cause: InferenceError | None = None) -> bytes:
        """See `StreamWriter.close`."""
        out = self._written(lambda: self._decoder.close(cause))
        return out + (self._words.ending(self._last, self._counts) if self._last else b"")

    def take_kept(self) -> bytes:
        """See `StreamWriter.take_kept`."""
        kept, self._kept = self._kept, b""
        return kept

    def _written(self, decode: Callable[[], Iterable[Chunk]]) -> bytes:
        out = b"".join([self._write(chunk) for chunk in decode()])
        try:
            self._decoder.raise_failure()
        except LlmDeployError:
            self._kept = out
            raise
        return out

    def _write(self, chunk: Chunk) -> bytes:
        if chunk.counts is not None:
            self._counts = chunk.counts
            self.tally.prompt_tokens, self.tally.generated_tokens = chunk.counts.prompt, chunk.counts.generated
        if self._last is not None:
            return b""
        if chunk.finish_reason is not None:
            self.tally.finish = chunk.finish_reason
            self._last = chunk
            return b""
        self.tally.events += 1
        return self._words.chunk(chunk)


class OpenAiWords:
    """Chunks of OpenAI's streams."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._begun = False

    def chunk(self, chunk: Chunk) -> bytes:
        """A role before the first, then text or tool calls; nothing for a chunk that has neither."""
        if not chunk.text and not chunk.tool_calls:
            return b""
        out = self.opening()
        if chunk.text:
            out += self._frame.text(chunk.text)
        return out + (self._frame.tool_calls(chunk.tool_calls) if chunk.tool_calls else b"")

    def ending(self, last: Chunk, counts: TokenCounts | None) -> bytes:
        """The last text, reason, usage, `[DONE]`."""
        return self.chunk(last) + self.opening() + self._frame.ending(last.finish_reason or "unknown", counts)

    def opening(self) -> bytes:
        """What a stream begins with; nothing when asked again."""
        begun, self._begun = self._begun, True
        return b"" if begun else self._frame.opening()


class TgiWords:
    """Events of TGI's streams: one token each, and the whole text with the last."""

    _REASONS = {"length": "length", "eos": "eos_token", "stop": "stop_sequence"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._index = 0

    def chunk(self, chunk: Chunk) -> bytes:
        """One event."""
        if not chunk.text:
            return b""
        return self._event(chunk, None, None)

    def ending(self, last: Chunk, counts: TokenCounts | None) -> bytes:
        """The last event with text and details."""
        details = {
            "finish_reason": self._REASONS.get(last.finish_reason or "", "eos_token"),
            "generated_tokens": counts.generated if counts and counts.generated is not None else self._index,
            "input_length": counts.prompt if counts and counts.prompt is not None else 0,
            "seed": None,
        }
        return self._event(last, "".join(self._texts) + last.text, details)

    def _event(self, chunk: Chunk, text: str | None, details: dict[str, Any] | None) -> bytes:
        self._index += 1
        self._texts.append(chunk.text)
        token = {
            "id": chunk.token.id if chunk.token and chunk.token.id is not None else 0,
            "text": chunk.text,
            "logprob": chunk.token.logprob if chunk.token and chunk.token.logprob is not None else 0.0,
            "special": not chunk.text,
        }
        document = {"index": self._index, "token": token, "generated_text": text, "details": details}
        return b"data:%s\n\n" % json.dumps(document, separators=(",", ":")).encode()
