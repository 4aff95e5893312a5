"""What a search may be narrowed to: known fields of passages, as a small document, checked and put in Qdrant's words.

`{"kind": "markdown", "tags": ["aws", "cost"], "page": {"gte": 3}, "modified": {"gte": "2026-01-01"}}`: all fields must
hold; a list means any of its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llm_deploy.errors import SpecError

if TYPE_CHECKING:
    from qdrant_client.models import Condition, Filter

KEYWORDS = ("source", "title", "section", "kind", "language", "tags")
BOUNDS = ("gte", "gt", "lte", "lt")
FIELDS = (*KEYWORDS, "page", "modified")
MOST_VALUES = 100
LONGEST_VALUE = 1000
LARGEST_PAGE = 2**53
"""Whole numbers up to this are the same in Qdrant's 64 bits and in a range's floating point."""

Filters = Mapping[str, Any]


def checked(filters: Filters | None) -> Filters:
    """The filters if they are sound, an empty mapping for `None`.

    Raises:
        SpecError: An unknown field, or a value that it cannot have.
    """
    for name, value in (filters or {}).items():
        if name not in FIELDS:
            raise SpecError(f"no passage has a field {name!r}", hint=f"Fields: {', '.join(FIELDS)}.")
        _check(name, value)
    return filters or {}


def conditions(filters: Filters) -> Filter | None:
    """Checked filters as Qdrant's; `None` for none."""
    from qdrant_client import models  # noqa: PLC0415 - half a second that only a search pays

    found: list[Condition] = [_condition(models, name, value) for name, value in filters.items()]
    return models.Filter(must=found) if found else None


def _check(name: str, value: Any) -> None:  # noqa: ANN401 - JSON of a caller
    if isinstance(value, Mapping) and name not in KEYWORDS:
        if not value or not set(value) <= set(BOUNDS):
            raise SpecError(f"filter {name}: expected bounds, any of {', '.join(BOUNDS)}")
        values: Sequence[Any] = list(value.values())
    elif name == "modified" and not isinstance(value, str):
        raise SpecError("filter modified: expected a moment, or bounds like {gte: 2026-01-01}")
    else:
        values = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(values) <= MOST_VALUES:
        raise SpecError(f"filter {name}: expected 1 to {MOST_VALUES} values")
    for each in values:
        _check_one(name, each)


def _check_one(name: str, value: Any) -> None:  # noqa: ANN401 - as above
    if name == "page":
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST_PAGE:
            raise SpecError("filter page: expected a whole number")
        return
    if not isinstance(value, str) or not value or len(value) > LONGEST_VALUE:
        raise SpecError(f"filter {name}: expected a text of at most {LONGEST_VALUE} characters")
    if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise SpecError(f"filter {name}: no valid Unicode")
    if name == "modified":
        _moment(value)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(f"filter modified: {text!r} is no ISO date", hint="For example 2026-01-31.") from error


def _condition(models: Any, name: str, value: Any) -> Any:  # noqa: ANN401 - Qdrant's module, loaded late
    if name == "modified":
        bounds = value if isinstance(value, Mapping) else {"gte": value, "lte": value}
        return models.FieldCondition(key=name, range=models.DatetimeRange(**{b: _moment(t) for b, t in bounds.items()}))
    if isinstance(value, Mapping):
        return models.FieldCondition(key=name, range=models.Range(**value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return models.FieldCondition(key=name, match=models.MatchAny(any=list(value)))
    return models.FieldCondition(key=name, match=models.MatchValue(value=value))
