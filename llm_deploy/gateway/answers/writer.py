"""What turns a streamed answer of an engine into the stream that a caller gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from llm_deploy.dialects.lines import MAX_LINE_BYTES
from llm_deploy.dialects.types import FinishReason
from llm_deploy.errors import InferenceError, WireFormatError

EVENT_END: Final = b"\n\n"


@dataclass(slots=True)
class Tally:
    """What is known of an answer so far.

    Attributes:
        prompt_tokens: As the engine counted; `None` while it has not.
        generated_tokens: As the engine counted; `None` while it has not.
        events: Events that carried an answer's piece: what was generated where the engine did not count.
        finish: Why the answer ended; `None` while it has not.
    """

    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    events: int = 0
    finish: FinishReason | None = None


class StreamWriter(Protocol):
    """Bytes of an engine's stream in, bytes of the caller's stream out; cut the bytes where you like."""

    @property
    def tally(self) -> Tally:
        """What is known of the answer so far."""
        ...

    def feed(self, data: bytes) -> bytes:
        """What these bytes come to; empty while an event is incomplete.

        Raises:
            LlmDeployError: The engine reported a failure, or the bytes are no answer; see `take_kept`.
        """
        ...

    def close(self, cause: InferenceError | None = None) -> bytes:
        """Say that no more bytes come, and get the end.

        Args:
            cause: Why the bytes ended, when that is known to be a failure. Ignored when the answer is whole.

        Raises:
            InferenceError: The answer is not whole.
        """
        ...

    def take_kept(self) -> bytes:
        """What was understood before the failure that `feed` or `close` raised, and not handed out."""
        ...


class Blocks:
    """Cuts a stream of bytes where events end: what is handed out is whole events, what is not yet whole is kept."""

    def __init__(self, *, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """All events that are whole now, as one block.

        Raises:
            WireFormatError: An event is longer than the limit.
        """
        if self._rest:
            data = self._rest + data
        if data.endswith(EVENT_END):
            self._rest = b""
            return data
        end = data.rfind(EVENT_END) + len(EVENT_END)
        if end < len(EVENT_END):
            end = 0
        self._rest = data[end:]
        if len(self._rest) > self._limit_bytes:
            raise WireFormatError(f"an event of the answer is longer than {self._limit_bytes} bytes")
        return data[:end]

    def rest(self) -> bytes:
        """What had arrived of the last event, whose end never came."""
        rest, self._rest = self._rest, b""
        return rest
