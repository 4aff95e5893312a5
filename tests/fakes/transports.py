"""A model behind an `AsyncTransport` that says what a test wants, in its pieces, and counts who still listens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm_deploy.errors import LlmDeployError


@dataclass
class FakeTransport:
    """Answers every call with `answer` and every stream with `parts`.

    Attributes:
        failure: Raised instead of an answer, before anything is sent.
        breaks_with: Raised after the parts, in the middle of a stream.
        hangs: Never answers, and never ends a stream.
        bodies: What was asked.
        open: Streams and calls that nobody has closed yet.
    """

    answer: bytes = b"{}"
    parts: Sequence[bytes] = ()
    failure: LlmDeployError | None = None
    breaks_with: LlmDeployError | None = None
    hangs: bool = False
    bodies: list[bytes] = field(default_factory=list)
    open: int = 0
    closed: bool = False

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        self.bodies.append(body)
        if self.failure is not None:
            raise self.failure
        if self.hangs:
            await self._hang()
        return self.answer

    async def stream(self, body: bytes) -> FakeStream:
        """See `AsyncTransport.stream`."""
        self.bodies.append(body)
        if self.failure is not None:
            raise self.failure
        self.open += 1
        return FakeStream(self, list(self.parts))

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        self.closed = True

    async def _hang(self) -> None:
        self.open += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.open -= 1


@dataclass
class FakeStream:
    """One open stream of it."""

    transport: FakeTransport
    parts: list[bytes]
    closed: bool = False

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`."""
        await asyncio.sleep(0)
        if self.parts:
            return self.parts.pop(0)
        if self.transport.hangs:
            await asyncio.Event().wait()
        if self.transport.breaks_with is not None:
            raise self.transport.breaks_with
        return b""

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        if not self.closed:
            self.closed = True
            self.transport.open -= 1
