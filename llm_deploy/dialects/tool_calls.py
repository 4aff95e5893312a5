"""Calls of tools in answers: whole ones, and ones that come in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from llm_deploy.dialects.types import ToolCall


def read(calls: Any) -> tuple[ToolCall, ...]:  # noqa: ANN401 - of a JSON document
    """`message.tool_calls` of a whole answer.

    Raises:
        TypeError, KeyError, AttributeError: It is of another shape.
    """
    return tuple(_call(each) for each in calls or ())


def pieces(delta: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """`delta.tool_calls` of one event; older TGI sends an object instead of a list."""
    found = delta.get("tool_calls")
    if not found:
        return ()
    listed = [found] if isinstance(found, dict) else found
    if not all(isinstance(each, dict) and _well_formed(each) for each in listed):
        raise TypeError("a piece of a tool call is of another shape")
    return tuple(listed)


def joined(deltas: Iterable[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls that these pieces make up, by their index, in the order of their first pieces.

    The first piece of a call has its id and name; arguments are appended to one another. Source: OpenAI API reference,
    streaming of function calls.
    """
    calls: dict[Any, list[str]] = {}
    for delta in deltas:
        function = delta.get("function") or {}
        call = calls.setdefault(delta.get("index", 0), ["", "", ""])
        call[0] = call[0] or str(delta.get("id") or "")
        call[1] += str(function.get("name") or "")
        call[2] += _text(function.get("arguments"))
    return tuple(ToolCall(*call) for call in calls.values())


def _call(document: Mapping[str, Any]) -> ToolCall:
    function = document["function"]
    return ToolCall(str(document.get("id") or ""), str(function["name"]), _text(function.get("arguments")))


def _well_formed(piece: Mapping[str, Any]) -> bool:
    return isinstance(piece.get("function"), dict | None) and isinstance(piece.get("index"), int | None)


def _text(arguments: Any) -> str:  # noqa: ANN401 - of a JSON document
    """Arguments are JSON text; TGI before 3.0 sends them as a document."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
