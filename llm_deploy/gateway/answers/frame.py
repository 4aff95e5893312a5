"""What every OpenAI answer says around its text: id, time, model, finish reason, usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from llm_deploy.dialects.types import FinishReason, Generation, TokenCounts

OpenAiKind = Literal["chat", "completion"]

DONE: Final = b"data: [DONE]\n\n"

_OBJECTS: Mapping[OpenAiKind, tuple[str, str, str]] = {
    "chat": ("chat.completion", "chat.completion.chunk", "chatcmpl-"),
    "completion": ("text_completion", "text_completion", "cmpl-"),
}
_FINISH: Mapping[FinishReason, str] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}
"""Every other end is OpenAI's `stop`."""


class Frame:
    """The fixed parts of one answer, as bytes that a token's text is put between.

    Args:
        model: The public name.
        created_s: Unix time.
        wants_usage: A stream ends with a chunk of token counts.
    """

    __slots__ = ("after", "before", "created_s", "head", "id", "kind", "model", "tail", "wants_usage")

    def __init__(
        self,
        kind: OpenAiKind,
        *,
        request_id: str,
        model: str,
        created_s: int,
        wants_usage: bool = False,
    ) -> None:
        _, chunk, prefix = _OBJECTS[kind]
        self.kind = kind
        self.model = model
        self.id = f"{prefix}{request_id}"
        self.created_s = created_s
        self.wants_usage = wants_usage
        name = json.dumps(model)
        self.head = (
            f'data: {{"id":"{self.id}","object":"{chunk}","created":{created_s},"model":{name},"choices":['
        ).encode()
        self.tail = b'],"usage":null}\n\n' if wants_usage else b"]}\n\n"
        opening = b'{"index":0,"delta":{"content":"' if kind == "chat" else b'{"index":0,"text":"'
        closing = b'"},' if kind == "chat" else b'",'
        self.before = self.head + opening
        self.after = closing + b'"logprobs":null,"finish_reason":null}' + self.tail

    def opening(self) -> bytes:
        """What a stream begins with: a chat's role."""
        if self.kind == "completion":
            return b""
        choice = b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return self.head + choice + self.tail

    def text(self, text: str) -> bytes:
        """A chunk of text."""
        return self.before + json.dumps(text)[1:-1].encode() + self.after

    def tool_calls(self, deltas: tuple[dict[str, Any], ...]) -> bytes:
        """A chunk of a chat's tool calls, as the engine cut them."""
        choice = {"index": 0, "delta": {"tool_calls": list(deltas)}, "logprobs": None, "finish_reason": None}
        return self.head + json.dumps(choice, separators=(",", ":")).encode() + self.tail

    def ending(self, reason: FinishReason, counts: TokenCounts | None) -> bytes:
        """The last chunks: the reason, the usage where it was asked for, and `[DONE]`."""
        said = b'"delta":{}' if self.kind == "chat" else b'"text":""'
        word = finish_word(reason).encode()
        last = self.head + b'{"index":0,' + said + b',"logprobs":null,"finish_reason":"' + word + b'"}' + self.tail
        return last + (self._usage(counts) if self.wants_usage else b"") + DONE

    def whole(self, answer: Generation) -> dict[str, Any]:
        """The document of an answer that is not streamed."""
        return {
            "id": self.id,
            "object": _OBJECTS[self.kind][0],
            "created": self.created_s,
            "model": self.model,
            "choices": [self._choice(answer)],
            "usage": usage(answer.counts),
        }

    def _choice(self, answer: Generation) -> dict[str, Any]:
        reason = {"logprobs": None, "finish_reason": finish_word(answer.finish_reason)}
        if self.kind == "completion":
            return {"index": 0, "text": answer.text, **reason}
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tool_calls:
            message["content"] = answer.text or None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in answer.tool_calls
            ]
        return {"index": 0, "message": message, **reason}

    def _usage(self, counts: TokenCounts | None) -> bytes:
        told = json.dumps(usage(counts), separators=(",", ":")).encode()
        return self.head + b'],"usage":' + told + b"}\n\n"


def usage(counts: TokenCounts | None) -> dict[str, int]:
    """OpenAI's usage; what an engine did not count is 0."""
    prompt = (counts.prompt if counts else None) or 0
    generated = (counts.generated if counts else None) or 0
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


def finish_word(reason: FinishReason) -> str:
    """A reason in OpenAI's words."""
    return _FINISH.get(reason, "stop")
