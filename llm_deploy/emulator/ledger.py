"""The ledger: every behaviour that the local cloud claims to share with AWS, with where it is known from.

Code asks the ledger for texts and durations by id; it has none of its own. Grades: `M` measured by us, `P` reported by
somebody who saw it at AWS, `D` AWS's documentation or service model, `R` from memory and unverified, `L` a choice of
the local cloud that AWS does not share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

Grade = Literal["M", "P", "D", "R", "L"]
LEDGER_FILE = Path(__file__).parent / "data" / "ledger.yaml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One behaviour.

    Attributes:
        behaviour: What happens, in a sentence.
        source: Who says so.
        text: AWS's words, with `{placeholders}`.
        duration_s: How long it takes at AWS, in virtual seconds.
    """

    id: str
    behaviour: str
    source: str
    grade: Grade
    text: str | None = None
    duration_s: float | None = None


@cache
def entries() -> dict[str, Entry]:
    """All entries by id.

    Raises:
        ValueError: An entry lacks a field, has an unknown one or an unknown grade.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    raw: dict[str, dict[str, Any]] = yaml.load(LEDGER_FILE.read_text("utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    return {key: _entry(key, fields) for key, fields in raw.items()}


def text(entry_id: str, **values: object) -> str:
    """AWS's words for a case, filled in.

    Raises:
        LookupError: No such entry, or it has no text.
    """
    words = entries()[entry_id].text
    if words is None:
        raise LookupError(f"ledger entry {entry_id} has no text")
    return words.format(**values)


def duration_s(entry_id: str) -> float:
    """How long a behaviour takes, in virtual seconds.

    Raises:
        LookupError: No such entry, or it has no duration.
    """
    duration = entries()[entry_id].duration_s
    if duration is None:
        raise LookupError(f"ledger entry {entry_id} has no duration")
    return duration


def _entry(key: str, fields: dict[str, Any]) -> Entry:
    try:
        entry = Entry(id=key, **fields)
    except TypeError as error:
        raise ValueError(f"ledger entry {key}: {error}") from error
    if entry.grade not in get_args(Grade):
        raise ValueError(f"ledger entry {key}: unknown grade {entry.grade!r}")
    return entry
