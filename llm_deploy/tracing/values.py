"""Any value as an attribute: text, number, boolean or a list of texts; all else as JSON. Bounded; never raises."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Plain = str | bool | int | float | Sequence[str]
LONGEST_LIST = 256
DEEPEST = 8
LARGEST_INTEGER = 2**63 - 1
"""OTLP's integers have 64 bits."""


def plain(value: Any, limit: int) -> Plain:  # noqa: ANN401 - whatever callers have
    """The value as an attribute; texts longer than `limit` characters are cut."""
    if isinstance(value, str):
        return value[:limit]
    if isinstance(value, bool | float) or (isinstance(value, int) and abs(value) <= LARGEST_INTEGER):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return [item[:limit] for item in value[:LONGEST_LIST]]
    return json.dumps(_cut(value, limit, DEEPEST), ensure_ascii=False, separators=(",", ":"))


def texts_changed(value: Plain, change: Callable[[str], str]) -> Plain:
    """The attribute with each text in it changed; JSON stays JSON, its texts and keys changed one by one."""
    if isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        return [change(item) for item in value]
    if value[:1] not in {"[", "{"}:
        return change(value)
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return change(value)
    return json.dumps(_changed(document, change), ensure_ascii=False, separators=(",", ":"))


def _changed(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    """A number too becomes a text where its digits may not stand: a card's number is one even without quotes."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        digits = str(value)
        return value if change(digits) == digits else change(digits)
    if isinstance(value, dict):
        return {change(name): _changed(item, change) for name, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, list) else value


def _cut(value: Any, limit: int, depth: int) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, str):
        return value[:limit]
    if value is None or isinstance(value, bool | int | float):
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value
    if depth == 0:
        return "[deeper than is recorded]"
    if isinstance(value, Mapping):
        return {str(name)[:limit]: _cut(item, limit, depth - 1) for name, item in list(value.items())[:LONGEST_LIST]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cut(item, limit, depth - 1) for item in list(value)[:LONGEST_LIST]]
    return f"[{type(value).__name__}]"
