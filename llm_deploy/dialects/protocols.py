"""What the client needs of a dialect; the modules beside this one implement it."""

from __future__ import annotations

from typing import Protocol

from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import InferenceError


class StreamDecoder(Protocol):
    """Bytes of one streamed answer in, chunks out; cut the bytes where you like, the chunks are the same."""

    @property
    def partial_text(self) -> str:
        """All text decoded so far."""

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that these bytes complete.

        Raises:
            InferenceError: The model server reported a failure, or the bytes are no answer. A failure that follows
                chunks in the same bytes is kept back for `raise_failure`, so that no text is lost.
        """

    def close(self, cause: InferenceError | None = None) -> list[Chunk]:
        """Say that no more bytes come, and get what was still held (an event without its final newline).

        Args:
            cause: Why the bytes ended, when that is known to be a failure. Ignored when the answer is whole.

        Raises:
            InferenceError: The answer is not whole: `cause`, or a `StreamBrokenError`; kept back as in `feed`.
        """

    def raise_failure(self) -> None:
        """Raise the failure that `feed` or `close` kept back, if there is one."""


class Dialect(Protocol):
    """How one family of engines wants to be asked on `/invocations`, and how it answers."""

    @property
    def name(self) -> str:
        """The name under which the registry has it."""

    def encode(self, request: GenerationRequest, *, stream: bool) -> bytes:
        """The request's JSON body.

        Raises:
            InferenceRequestError: The request cannot be said in this dialect.
        """

    def decode(self, body: bytes) -> Generation:
        """A whole answer; its `raw` is the document as it came.

        Raises:
            InferenceError: The body is an error in disguise (LMI answers some with HTTP 200).
            WireFormatError: The body is no answer of this dialect.
        """

    def stream_decoder(self) -> StreamDecoder:
        """A fresh decoder for one streamed answer."""
