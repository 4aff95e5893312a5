"""Check what constrains an answer: llama.cpp generates without any constraint when llguidance refuses one."""

from __future__ import annotations

import re
from typing import Any

from llm_deploy.serving.shapes.asked import ShapeError

_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_MAX_DEPTH = 64
_MAX_REGEX_CHARS = 4096
_NESTED = ("items", "additionalProperties", "not")
_NESTED_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_NESTED_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")


def checked_schema(schema: object, *, status: int = 422) -> dict[str, Any]:
    """Return a JSON schema whose types and patterns exist.

    Raises:
        ShapeError: They do not, or it is nested too deeply.
    """
    if not isinstance(schema, dict):
        raise ShapeError("grammar is not valid: a JSON schema must be an object", status)
    _check(schema, status, 0)
    return schema


def _check(schema: object, status: int, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        raise ShapeError("grammar is not valid: a part of the JSON schema is no schema, or nested too deeply", status)
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            raise ShapeError(f"grammar is not valid: {kind!r} is not a type of JSON schema", status)
    if isinstance(pattern := schema.get("pattern"), str):
        _check_regex(pattern, status)
    for part in _parts(schema):
        _check(part, status, depth + 1)


def _parts(schema: dict[str, Any]) -> list[Any]:
    parts = [schema[name] for name in _NESTED if name in schema]
    for name in _NESTED_MAPS:
        if isinstance(schema.get(name), dict):
            parts += schema[name].values()
    for name in _NESTED_LISTS:
        if isinstance(schema.get(name), list):
            parts += schema[name]
    return parts


def regex_grammar(regex: str, *, status: int = 422) -> str:
    """Write a regular expression as a grammar of llama.cpp (through llguidance).

    Raises:
        ShapeError: It does not compile, or is too long.
    """
    _check_regex(regex, status)
    escaped = re.sub(r"(?<!\\)/", r"\\/", regex).replace("\n", r"\n")
    return f"%llguidance {{}}\nstart: /{escaped}/"


def _check_regex(regex: str, status: int) -> None:
    if len(regex) > _MAX_REGEX_CHARS:
        raise ShapeError(f"grammar is not valid: longer than {_MAX_REGEX_CHARS} characters", status)
    try:
        re.compile(regex)
    except (re.error, RecursionError, OverflowError) as error:
        raise ShapeError(f"grammar is not valid: {error}", status) from error
