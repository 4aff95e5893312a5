"""From a failure's words, and the containers' last lines, to its cause and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources as files

import yaml

from llm_deploy.errors import LlmDeployError

LINES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why something failed and what helps."""

    cause: str
    fix: str
    evidence: str


@dataclass(frozen=True, slots=True)
class _Failure:
    pattern: re.Pattern[str]
    cause: str
    fix: str


def diagnose(lines: Iterable[str]) -> Diagnosis | None:
    """The first known failure that the lines show, the most telling ones first. Pure."""
    lines = list(lines)
    for failure in _failures():
        for line in lines:
            if failure.pattern.search(line):
                return Diagnosis(failure.cause, failure.fix, line.strip())
    return None


def explained(error: LlmDeployError, log_lines: Sequence[str]) -> LlmDeployError:
    """The error with its cause, its fix and the log's last lines, as far as they are known."""
    diagnosis = diagnose([*log_lines, error.message])
    message = error.message
    if log_lines:
        shown = "\n".join(f"    {line}" for line in log_lines[-LINES_SHOWN:])
        message += f"\n  the containers' last lines:\n{shown}"
    if diagnosis is None:
        return type(error)(message, hint=error.hint)
    return type(error)(f"{message}\n  cause: {diagnosis.cause}", hint=f"{diagnosis.fix}\n  {error.hint or ''}".rstrip())


@cache
def _failures() -> tuple[_Failure, ...]:
    text = files.files(__package__).joinpath("data", "failures.yaml").read_text("utf-8")
    rows = yaml.safe_load(text)
    return tuple(_Failure(re.compile(row["pattern"]), row["cause"], row["fix"]) for row in rows)
