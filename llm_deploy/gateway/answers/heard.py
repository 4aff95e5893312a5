"""What a model said, for the trace of a request: gathered beside the answer, and only where content is captured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from llm_deploy.dialects import tool_calls
from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Chunk
from llm_deploy.errors import LlmDeployError

LONGEST: Final = 64 * 1024
"""Characters of text and pieces of tool calls that are kept of one answer; traces cut texts further."""


class Heard:
    """An engine's answer, read a second time. It fails nothing: what cannot be read is not heard."""

    def __init__(self) -> None:
        self._decoder = dialect("auto").stream_decoder()
        self._texts: list[str] = []
        self._deltas: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """A part of a stream."""
        if self._size >= LONGEST:
            return
        try:
            self._take(self._decoder.feed(data))
        except LlmDeployError:
            self._size = LONGEST

    def close(self) -> None:
        """The stream has ended."""
        try:
            self._take(self._decoder.close())
        except LlmDeployError:
            return

    def whole(self, body: bytes) -> None:
        """An answer that is not streamed."""
        try:
            answer = dialect("auto").decode(body)
        except LlmDeployError:
            return
        self._texts.append(answer.text[:LONGEST])
        self._calls = [asdict(call) for call in answer.tool_calls]

    @property
    def text(self) -> str:
        """The text so far, cut."""
        return "".join(self._texts)[:LONGEST]

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls of tools."""
        return self._calls or [asdict(call) for call in tool_calls.joined(self._deltas)]

    def _take(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self._texts.append(chunk.text)
            self._deltas.extend(chunk.tool_calls)
            self._size += len(chunk.text) + len(chunk.tool_calls)
