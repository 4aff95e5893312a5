"""Read typed values from a JSON object, or say which field is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llm_deploy.serving.engine import Json
from llm_deploy.serving.shapes.asked import ShapeError

_MAX_STOP_STRINGS = 64
_MAX_STOP_CHARS = 1000


class Fields:
    """A JSON object whose fields are read once, each with its type; `null` counts as absent.

    Args:
        values: The object.
        status: The HTTP status of what is wrong in it.
    """

    def __init__(self, values: object, *, what: str = "the body", status: int = 422) -> None:
        self._status = status
        if not isinstance(values, Mapping):
            raise ShapeError(f"{what} must be a JSON object", status)
        self._values = values

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def get(self, name: str) -> Json:
        """The value as it is; `None` when absent."""
        return self._values.get(name)

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, "a boolean", value)
        return value

    def integer(self, name: str) -> int | None:
        """An integer of at most 64 bits; `2.0` is one."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 64:
            raise self._wrong(name, "an integer", value)
        return value

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        try:
            number = float(value)
        except OverflowError as error:
            raise self._wrong(name, "a number", "one that is too large") from error
        if not math.isfinite(number):
            raise self._wrong(name, "a finite number", value)
        return number

    def text(self, name: str) -> str | None:
        """A string that can be written as UTF-8."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(name, "a string", value)
        return self.checked_text(name, value)

    def checked_text(self, name: str, value: str) -> str:
        """Refuse what JSON can say and UTF-8 cannot: half a surrogate pair."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ShapeError(f"`{name}` holds half of a surrogate pair", self._status) from error
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A string or a list of strings, none of them empty."""
        value = self._values.get(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self._wrong(name, "a string or a list of strings", value)
        if len(items) > _MAX_STOP_STRINGS or any(len(item) > _MAX_STOP_CHARS for item in items):
            limit = f"`{name}` may hold {_MAX_STOP_STRINGS} strings of {_MAX_STOP_CHARS} characters"
            raise ShapeError(limit, self._status)
        return tuple(self.checked_text(name, item) for item in items if item)

    def mapping(self, name: str) -> dict[str, Any] | None:
        """A JSON object."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, "an object", value)
        return value

    def _wrong(self, name: str, wanted: str, value: object) -> ShapeError:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"  # noqa: PLR2004 - long enough to recognise
        return ShapeError(f"`{name}` must be {wanted}. Given: {shown}", self._status)
