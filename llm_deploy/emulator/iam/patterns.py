"""Wildcards and policy variables: `arn:aws:s3:::bucket/${aws:username}/*`.

Source: IAM user guide, "Policy elements: Variables and tags" and "Wildcards".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_VARIABLE = re.compile(r"\$\{(?P<name>[^},]+)(?:,\s*'(?P<default>[^']*)')?\}")
_LITERAL = {"*": "*", "?": "?", "$": "$"}
"""`${*}` stands for a star that is no wildcard."""

Lookup = Callable[[str], str | None]
"""A condition key's single value; `None` when the request has none or several."""

Pieces = tuple[tuple[str, bool], ...]
"""Text, and whether wildcards in it count."""


def matches(pattern: str, value: str, lookup: Lookup | None = None, *, ignore_case: bool = False) -> bool:
    """Whether a value fits a pattern of a policy.

    `lookup` fills in variables; without it `${...}` is ordinary text, as in policies older than 2012-10-17. A variable
    that has neither value nor default fits nothing.
    """
    if pattern == "*":
        return True
    if lookup is None or "${" not in pattern:
        return _compiled(((pattern, True),), ignore_case).fullmatch(value) is not None
    pieces = _filled(pattern, lookup)
    return pieces is not None and _compiled(pieces, ignore_case).fullmatch(value) is not None


def filled(text: str, lookup: Lookup | None) -> str | None:
    """A text in which only variables count, filled in; `None` when one cannot be."""
    if lookup is None or "${" not in text:
        return text
    pieces = _filled(text, lookup)
    return None if pieces is None else "".join(piece for piece, _ in pieces)


def _filled(pattern: str, lookup: Lookup) -> Pieces | None:
    pieces: list[tuple[str, bool]] = []
    end = 0
    for found in _VARIABLE.finditer(pattern):
        pieces.append((pattern[end : found.start()], True))
        value = _LITERAL.get(found["name"]) or lookup(found["name"].strip()) or found["default"]
        if value is None:
            return None
        pieces.append((value, False))
        end = found.end()
    return (*pieces, (pattern[end:], True))


@lru_cache(maxsize=4096)
def _compiled(pieces: Pieces, ignore_case: bool) -> re.Pattern[str]:  # noqa: FBT001 - a key of the cache
    text = "".join(_translated(piece) if wild else re.escape(piece) for piece, wild in pieces)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _translated(piece: str) -> str:
    """Several stars in a row mean what one means; as one they cannot make the search explode."""
    parts = re.split(r"(\*+|\?)", piece)
    return "".join(".*" if part[:1] == "*" else "." if part == "?" else re.escape(part) for part in parts)
