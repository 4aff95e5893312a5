"""What the store on this machine holds: lists of traces, one trace, figures. Needs no OpenTelemetry."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm_deploy.errors import NotFoundError, SpecError

TRACE_ID_LENGTH = 32
SHORTEST_PREFIX = 4
LAST = "last"


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span; the times are Unix time in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    is_first: bool
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    error_type: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    message: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def duration_ms(self) -> float:
        """From its start to its end."""
        return (self.end_ns - self.start_ns) / 1e6


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace in a list.

    Attributes:
        name: Of its first span.
        error_type: Of the first span that failed.
        models: That answered, in the order of their names.
    """

    trace_id: str
    service: str
    name: str
    start_ns: int
    duration_ms: float
    spans: int
    error_type: str | None
    models: tuple[str, ...]
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which traces: those that began after a moment, with an error, with a call of a model; newest or slowest first."""

    since_ns: int = 0
    errors: bool = False
    model: str | None = None
    slowest_first: bool = False
    limit: int = 50


class Store:
    """An open store, read only."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def traces(self, wanted: Wanted) -> list[TraceSummary]:
        """Summaries of the traces whose first span fits."""
        rows = self._database.execute(
            "select distinct trace_id from spans as first where is_first and start_ns >= :since_ns"
            " and (not :errors or exists (select 1 from spans where trace_id = first.trace_id and error_type not null))"
            " and (:model is null or exists (select 1 from spans where trace_id = first.trace_id and model = :model))"
            " order by case when :slowest_first then end_ns - start_ns else start_ns end desc limit :limit",
            asdict(wanted),
        ).fetchall()
        return [summary(self.spans(str(row[0]))) for row in rows]

    def spans(self, trace_id: str) -> list[StoredSpan]:
        """All spans of a trace in the order of their beginnings."""
        rows = self._database.execute(
            "select * from spans where trace_id = ? order by start_ns, end_ns desc", (trace_id,)
        )
        return [_span(row) for row in rows]

    def named(self, text: str) -> str:
        """The id of the trace that a person means: a whole id, the beginning of one, or `last`.

        Raises:
            NotFoundError: There is none.
            SpecError: There are several, or the text is no beginning of an id.
        """
        if text == LAST:
            found = self._ids("select trace_id from spans where is_first order by start_ns desc limit 1", ())
        elif len(text) < SHORTEST_PREFIX or not set(text) <= set("0123456789abcdef"):
            raise SpecError(f"{text[:TRACE_ID_LENGTH]!r} is no trace; expected {SHORTEST_PREFIX} hex digits or more")
        else:
            found = self._ids("select distinct trace_id from spans where trace_id glob ? limit 2", (f"{text}*",))
        if not found:
            raise NotFoundError(f"no trace {text[:TRACE_ID_LENGTH]!r} here", hint="`llmdeploy traces list` shows all.")
        if len(found) > 1:
            raise SpecError(f"several traces begin with {text}; give more of the id")
        return found[0]

    def since(self, since_ns: int) -> Iterator[list[StoredSpan]]:
        """Every trace that began since then, whole, oldest first."""
        query = "select trace_id from spans where is_first and start_ns >= ? group by trace_id order by min(start_ns)"
        for trace_id in self._ids(query, (since_ns,)):
            yield self.spans(trace_id)

    def _ids(self, query: str, arguments: tuple[object, ...]) -> list[str]:
        return [str(row[0]) for row in self._database.execute(query, arguments).fetchall()]


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store at this path.

    Raises:
        NotFoundError: Nothing has been stored there yet.
        SpecError: The file is something else.
    """
    if not path.is_file():
        raise NotFoundError(
            f"no traces in {path}",
            hint="They are stored when a gateway, or a program that called tracing.setup.configure, has answered.",
        )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            database.row_factory = sqlite3.Row
            yield Store(database)
    except sqlite3.Error as error:
        raise SpecError(f"{path} cannot be read as a store of traces: {error}") from error


def summary(spans: Sequence[StoredSpan]) -> TraceSummary:
    """One trace in a line; `spans` are all of it, at least one."""
    first = next((span for span in spans if span.is_first), spans[0])
    counted = list(own_usage(spans))
    return TraceSummary(
        trace_id=first.trace_id,
        service=first.service,
        name=first.name,
        start_ns=first.start_ns,
        duration_ms=first.duration_ms,
        spans=len(spans),
        error_type=next((span.error_type for span in spans if span.error_type), None),
        models=tuple(sorted({span.model for span in spans if span.model})),
        input_tokens=sum(span.input_tokens or 0 for span in counted),
        output_tokens=sum(span.output_tokens or 0 for span in counted),
    )


def own_usage(spans: Iterable[StoredSpan]) -> Iterator[StoredSpan]:
    """Spans that counted tokens, without those that only repeat what a span below them counted."""
    by_id = {span.span_id: span for span in spans}
    repeated: set[str] = set()
    counting = [span for span in by_id.values() if span.input_tokens is not None or span.output_tokens is not None]
    for span in counting:
        above = by_id.get(span.parent_id or "")
        while above is not None and above.span_id not in repeated:
            repeated.add(above.span_id)
            above = by_id.get(above.parent_id or "")
    return (span for span in counting if span.span_id not in repeated)


def children(spans: Sequence[StoredSpan]) -> tuple[list[StoredSpan], dict[str, list[StoredSpan]]]:
    """A trace as a tree: the spans without a parent here, and the children of each span id, by their beginnings."""
    known = {span.span_id for span in spans}
    below: dict[str, list[StoredSpan]] = defaultdict(list)
    roots = []
    for span in spans:
        if span.parent_id in known and span.parent_id is not None:
            below[span.parent_id].append(span)
        else:
            roots.append(span)
    return roots, below


def json_lines(spans: Iterable[StoredSpan]) -> Iterator[str]:
    """One line of JSON for each span, with the names of the store's columns."""
    for span in spans:
        yield json.dumps({name: getattr(span, name) for name in StoredSpan.__slots__}, ensure_ascii=False)


def _span(row: sqlite3.Row) -> StoredSpan:
    values = dict(row)
    return StoredSpan(
        **{name: values[name] for name in values if name not in {"attributes", "events", "is_first"}},
        is_first=bool(values["is_first"]),
        attributes=json.loads(values["attributes"]),
        events=json.loads(values["events"]),
    )
