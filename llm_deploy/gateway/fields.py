"""The fields of request bodies: one table that checks them and describes them in the OpenAPI document.

Only what the gateway itself reads, or what every engine agrees on, is checked; engines have more fields, which pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llm_deploy.errors import InferenceRequestError

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_LARGEST_INTEGER: Final = 2**63 - 1
_MAX_ITEMS: Final = 2048


@dataclass(frozen=True, slots=True)
class Rule:
    """One field: who passes, in what words it is refused, and its JSON schema."""

    passes: Callable[[Any], bool]
    expected: str
    schema: Mapping[str, Any]
    required: bool = False


Fields = Mapping[str, Rule]


def check(document: object, fields: Fields) -> dict[str, Any]:
    """The document, when it is an object whose known fields are right.

    Raises:
        InferenceRequestError: What is wrong, in one line.
    """
    if not isinstance(document, dict):
        raise InferenceRequestError("the body must be a JSON object")
    for name, value in document.items():
        rule = fields.get(name)
        if rule is not None and not (value is None and not rule.required) and not rule.passes(value):
            raise InferenceRequestError(f"{name} must be {rule.expected}")
    for name, rule in fields.items():
        if rule.required and name not in document:
            raise InferenceRequestError(f"{name} is missing; it must be {rule.expected}")
    return document


def schema(fields: Fields) -> dict[str, Any]:
    """The JSON schema of an object of these fields."""
    return {
        "type": "object",
        "properties": {name: dict(_nullable(rule)) for name, rule in fields.items()},
        "required": [name for name, rule in fields.items() if rule.required],
    }


def _nullable(rule: Rule) -> Mapping[str, Any]:
    return rule.schema if rule.required else {"anyOf": [rule.schema, {"type": "null"}]}


def _integer(low: int, high: int = _LARGEST_INTEGER) -> Rule:
    words = f"a whole number from {low} to {high}" if high != _LARGEST_INTEGER else f"a whole number, at least {low}"
    return Rule(lambda value: _whole(value) and low <= value <= high, words, _bounded("integer", low, high))


def _whole(value: object) -> bool:
    # JSON knows one kind of number, and 1.0 is an integer in JSON schema's eyes.
    return type(value) is int or (type(value) is float and value.is_integer())


def _number(low: float, high: float, *, above: bool = False) -> Rule:
    def passes(value: object) -> bool:
        return type(value) in {int, float} and (low < value if above else low <= value) and value <= high  # type: ignore[operator]

    bounds = _bounded("number", low, high)
    if above:
        bounds["exclusiveMinimum"] = bounds.pop("minimum")
    return Rule(passes, f"a number {'above' if above else 'from'} {low:g} {'up ' if above else ''}to {high:g}", bounds)


def _bounded(kind: str, low: float, high: float) -> dict[str, Any]:
    return {"type": kind, "minimum": low, "maximum": high}


def _boolean() -> Rule:
    return Rule(lambda value: isinstance(value, bool), "true or false", {"type": "boolean"})


def _text(*, required: bool = False, filled: bool = False) -> Rule:
    words = "text that is not empty" if filled else "text"
    described = {"type": "string", "minLength": 1} if filled else {"type": "string"}
    return Rule(lambda value: isinstance(value, str) and (not filled or bool(value)), words, described, required)


def _object() -> Rule:
    return Rule(lambda value: isinstance(value, dict), "an object", {"type": "object"})


def _objects() -> Rule:
    return Rule(
        lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
        "a list of objects",
        {"type": "array", "items": {"type": "object"}},
    )


def _texts(*, limit: int, least: int = 0) -> Rule:
    return Rule(
        lambda value: isinstance(value, list) and least <= len(value) <= limit and all(map(_is_text, value)),
        f"a list of {least} to {limit} texts",
        {"type": "array", "items": {"type": "string"}, "minItems": least, "maxItems": limit},
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _either(one: Rule, other: Rule, *, required: bool = False) -> Rule:
    return Rule(
        lambda value: one.passes(value) or other.passes(value),
        f"{one.expected}, or {other.expected}",
        {"anyOf": [one.schema, other.schema]},
        required,
    )


def _one_answer() -> Rule:
    return Rule(lambda value: value == 1 and _whole(value), "1: one answer a request", {"type": "integer", "enum": [1]})


def _messages() -> Rule:
    part = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
    content = {"anyOf": [{"type": "string"}, {"type": "array", "items": part, "minItems": 1}, {"type": "null"}]}
    message = {
        "type": "object",
        "properties": {"role": {"type": "string", "enum": list(_ROLES)}, "content": content},
        "required": ["role"],
    }
    described = {"type": "array", "items": message, "minItems": 1, "maxItems": _MAX_ITEMS}
    return Rule(_are_messages, "a list of messages, each with a role and a content", described, required=True)


def _are_messages(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= _MAX_ITEMS and all(_is_message(message) for message in value)


def _is_message(message: object) -> bool:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        return False
    content = message.get("content")
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and bool(content) and all(_is_part(part) for part in content)


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str)


_MODEL = {"model": _text(required=True, filled=True)}
_OPENAI: Fields = {
    "stream": _boolean(),
    "stream_options": _object(),
    "n": _one_answer(),
    "max_tokens": _integer(1),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "stop": _either(_text(), _texts(limit=16)),
    "seed": _integer(0),
    "user": _text(),
}

CHAT: Fields = {
    **_MODEL,
    "messages": _messages(),
    **_OPENAI,
    "max_completion_tokens": _integer(1),
    "logprobs": _boolean(),
    "top_logprobs": _integer(0, 20),
    "tools": _objects(),
    "tool_choice": _either(_text(), _object()),
    "response_format": _object(),
}
"""`POST /v1/chat/completions`. Source: OpenAI API reference."""

COMPLETION: Fields = {
    **_MODEL,
    "prompt": _either(_text(filled=True), _texts(limit=1, least=1), required=True),
    **_OPENAI,
    "logprobs": _integer(0, 5),
    "echo": _boolean(),
}
"""`POST /v1/completions`: one prompt, as text. Source: OpenAI API reference."""

EMBEDDINGS: Fields = {
    **_MODEL,
    "input": _either(_text(filled=True), _texts(limit=_MAX_ITEMS, least=1), required=True),
    "encoding_format": Rule(
        lambda value: value in ("float", "base64"), "float or base64", {"type": "string", "enum": ["float", "base64"]}
    ),
    "dimensions": _integer(1, 65536),
    "user": _text(),
}
"""`POST /v1/embeddings`: texts. Source: OpenAI API reference."""

PARAMETERS: Fields = {
    "max_new_tokens": _integer(1),
    "temperature": _number(0, 100, above=True),
    "top_p": _number(0, 1, above=True),
    "top_k": _integer(1),
    "repetition_penalty": _number(0, 100, above=True),
    "frequency_penalty": _number(-2, 2),
    "do_sample": _boolean(),
    "seed": _integer(0),
    "stop": _texts(limit=16),
    "details": _boolean(),
    "return_full_text": _boolean(),
}
"""`parameters` of TGI. Source: TGI 3 router, `GenerateParameters`."""

GENERATE: Fields = {
    "inputs": _text(required=True, filled=True),
    "parameters": Rule(lambda value: isinstance(value, dict), "an object", schema(PARAMETERS)),
    "stream": _boolean(),
    "model": _text(filled=True),
}
"""`POST /generate` and `/generate_stream`. `model` is ours: TGI serves one."""
