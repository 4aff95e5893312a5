"""When requests are due: at a constant rate, as a Poisson process, or as a recorded trace says. Pure."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from llm_deploy.errors import SpecError

Process = Literal["constant", "poisson"]
MAX_TRACE_LINE_CHARACTERS = 4096
TIME_NAMES = ("timestamp", "time", "at", "arrival")
INPUT_NAMES = ("input_tokens", "input_length", "num_prefill_tokens", "contexttokens", "prompt_tokens")
OUTPUT_NAMES = ("output_tokens", "output_length", "num_decode_tokens", "generatedtokens", "generated_tokens")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is due so many seconds after the start; lengths in tokens where a trace says them."""

    at_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None


def constant(rate_per_s: float) -> Iterator[Arrival]:
    """One every `1 / rate` seconds, for ever."""
    return (Arrival(number / rate_per_s) for number in itertools.count())


def poisson(rate_per_s: float, random: Random) -> Iterator[Arrival]:
    """Independent arrivals: the gaps are exponential, so that they come in clusters as people do."""
    at_s = 0.0
    while True:
        at_s += -math.log(1.0 - random.random()) / rate_per_s
        yield Arrival(at_s)


def at_rate(rate_per_s: float, process: Process, random: Random) -> Iterator[Arrival]:
    """Arrivals of a rate, for ever."""
    return constant(rate_per_s) if process == "constant" else poisson(rate_per_s, random)


def until(arrivals: Iterable[Arrival], seconds: float) -> Iterator[Arrival]:
    """Those before that time."""
    return itertools.takewhile(lambda arrival: arrival.at_s < seconds, arrivals)


def trace(path: Path, speed: float = 1.0) -> Iterator[Arrival]:
    """The arrivals of a file, from its first line's time on; `speed` 2 replays it twice as fast.

    CSV with a head, or one JSON object a line. The time is seconds (or ISO 8601) in `timestamp`, `time`, `at` or
    `arrival`; lengths are `input_tokens` and `output_tokens`, or as the public traces of Azure name them. The file is
    read line by line, so it may be of any size.

    Raises:
        SpecError: A line that is no such record, or times that go back; it says the line's number.
    """
    first_s: float | None = None
    last_s = 0.0
    with path.open(encoding="utf-8", newline="") as file:
        for number, record in _records(file):
            try:
                time_s = _time_s(_named(record, TIME_NAMES))
                first_s = time_s if first_s is None else first_s
                at_s = (time_s - first_s) / speed
                if at_s < last_s:
                    raise ValueError("its time is before that of the line above")  # noqa: TRY301 - told below, with its line
                last_s = at_s
                yield Arrival(at_s, _length(record, INPUT_NAMES), _length(record, OUTPUT_NAMES))
            except (ValueError, TypeError) as error:
                raise SpecError(f"{path}, line {number}: {error}") from error


def _records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    bounded = _bounded(lines)
    first = next(bounded, "")
    rest = itertools.chain([first], bounded)
    if first.lstrip().startswith("{"):
        for number, line in enumerate(rest, 1):
            if line.strip():
                yield number, _object(line, number)
        return
    for number, record in enumerate(csv.DictReader(rest), 2):
        yield number, {str(name).strip().lower(): value for name, value in record.items()}


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_TRACE_LINE_CHARACTERS:
            raise SpecError(f"line {number} of the trace has more than {MAX_TRACE_LINE_CHARACTERS} characters")
        yield line


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise SpecError(f"line {number} of the trace is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise SpecError(f"line {number} of the trace is no JSON object")
    return {str(name).lower(): value for name, value in document.items()}


def _named(record: dict[str, Any], names: tuple[str, ...]) -> Any:  # noqa: ANN401 - a cell of a file
    for name in names:
        if record.get(name) not in {None, ""}:
            return record[name]
    raise ValueError(f"none of {', '.join(names)} is there")


def _time_s(value: Any) -> float:  # noqa: ANN401 - as above
    import datetime as dt  # noqa: PLC0415 - only traces need it

    try:
        found = float(value)
    except ValueError:
        # Python reads six digits of a second at most; some traces have seven.
        head, _, fraction = str(value).partition(".")
        parsed = dt.datetime.fromisoformat(head)
        digits = "".join(itertools.takewhile(str.isdigit, fraction))
        found = parsed.replace(tzinfo=parsed.tzinfo or dt.UTC).timestamp() + float(f"0.{digits or 0}")
    if not math.isfinite(found):
        raise ValueError(f"{value} is no time")
    return found


def _length(record: dict[str, Any], names: tuple[str, ...]) -> int | None:
    try:
        value = _named(record, names)
    except ValueError:
        return None
    length = int(float(value))
    if length < 0:
        raise ValueError(f"{value} is no number of tokens")
    return length
