"""Spans of time as people write them: `8h`, `2d12h`, `90m`, or ISO 8601's `PT8H`, `P2DT12H`. No calendar, no clock."""

from __future__ import annotations

import re

SIMPLE = r"([0-9]{1,6}[dhms]){1,4}"
ISO = r"P([0-9]{1,6}D)?(T([0-9]{1,6}H)?([0-9]{1,6}M)?([0-9]{1,6}S)?)?"
DURATION_PATTERN = rf"^({SIMPLE}|{ISO})$"
"""What a schema can say; that each unit stands once, and at least one, `seconds` checks."""

EXPECTED_DURATION = "a time such as 8h, 2d, 90m or PT8H"

_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def seconds(text: str) -> int:
    """A span in seconds.

    Raises:
        ValueError: It is none, or a unit stands twice.
    """
    parts = re.findall(r"([0-9]+)([dhms])", text.lower())
    units = [unit for _, unit in parts]
    if not re.fullmatch(f"{SIMPLE}|{ISO}", text) or not units or len(set(units)) != len(units):
        raise ValueError(f"{text!r} is no span of time; expected {EXPECTED_DURATION}")
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)


def text(seconds: float) -> str:
    """Whole seconds in the simple form, largest unit first: 90000 → `1d1h`. The inverse of `seconds`."""
    left, said = int(seconds), ""
    for unit, size_s in _UNITS_S.items():
        number, left = divmod(left, size_s)
        said += f"{number}{unit}" if number else ""
    return said or "0s"


def canonical(span: str) -> str:
    """The same span written in the one way that is compared: `PT90M` → `1h30m`."""
    return text(seconds(span))
