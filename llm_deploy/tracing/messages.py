"""Chats in OpenAI's shape as the conventions' messages: `{"role", "parts": [{"type": "text", "content"}]}`. Pure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Message = dict[str, Any]

FINISH_REASONS = {"eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "tool_calls": "tool_call"}
"""Engines' words → the conventions'; others stay as they are."""


def input_messages(messages: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Every message, in order; what is no message is left out, for a refused request is recorded too. Idempotent."""
    return [_message(one) for one in messages if isinstance(one, Mapping)]


def output_message(text: str, finish_reason: str, tool_calls: Iterable[Mapping[str, Any]] = ()) -> Message:
    """The model's one answer."""
    parts: list[Message] = [{"type": "text", "content": text}] if text else []
    parts.extend(_tool_call(call) for call in tool_calls)
    reason = FINISH_REASONS.get(finish_reason, finish_reason)
    return {"role": "assistant", "parts": parts, "finish_reason": reason}


def _message(message: Mapping[str, Any]) -> Message:
    if isinstance(message.get("parts"), list):
        return dict(message)
    role, content = str(message.get("role", "user")), message.get("content")
    if role == "tool":
        response = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return {"role": role, "parts": [response]}
    parts = list(_parts(content))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts.extend(_tool_call(call.get("function", {}) | {"id": call.get("id")}) for call in calls if _is_call(call))
    return {"role": role, "parts": parts}


def _is_call(call: object) -> bool:
    return isinstance(call, dict) and isinstance(call.get("function", {}), dict)


def _parts(content: object) -> Iterator[Message]:
    if isinstance(content, str):
        yield {"type": "text", "content": content}
    elif isinstance(content, list):
        for part in content:
            yield _part(part) if isinstance(part, Mapping) else {"type": "text", "content": str(part)}
    elif content is not None:
        yield {"type": "text", "content": str(content)}


def _part(part: Mapping[str, Any]) -> Message:
    kind = str(part.get("type", "text"))
    if kind == "text":
        return {"type": "text", "content": str(part.get("text", ""))}
    if kind == "image_url":
        link = part.get("image_url")
        uri = str(link.get("url", "") if isinstance(link, Mapping) else link)
        # A data URI is the picture itself, which nobody wants in a trace.
        return {"type": "uri", "modality": "image", "uri": uri.partition(",")[0] if uri.startswith("data:") else uri}
    return {"type": kind}


def _tool_call(call: Mapping[str, Any]) -> Message:
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):
            arguments = json.loads(arguments)
    return {"type": "tool_call", "id": call.get("id"), "name": str(call.get("name", "")), "arguments": arguments}
