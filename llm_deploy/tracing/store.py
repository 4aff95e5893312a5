"""The store on this machine: spans in one SQLite file that only its owner reads, bounded in size and age.

Several processes may write to it at once (a gateway's workers). Batches do not wait for the disk (WAL): the
last second may be lost with the machine, not with the process.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from llm_deploy.tracing import conventions
from llm_deploy.tracing.config import Local

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan

SCHEMA_VERSION = 1
SCHEMA = """
create table if not exists spans (
    trace_id text not null, span_id text not null, parent_id text, is_first integer not null, service text not null,
    name text not null, kind text not null, start_ns integer not null, end_ns integer not null, error_type text,
    model text, input_tokens integer, output_tokens integer, message text,
    attributes text not null, events text not null,
    primary key (trace_id, span_id)
) without rowid;
create index if not exists spans_by_start on spans (start_ns);
create index if not exists first_spans_by_start on spans (start_ns) where is_first;
"""
INSERT = "insert or replace into spans values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
BUSY_MS = 2000
"""How long one batch waits for another process's."""
MIB = 1024 * 1024
TIDY_EVERY_S = 30.0
ROOM = 0.9
"""Tidying removes down to this share of the bound, so that it is not at it again with the next batch."""


class LocalStore(SpanExporter):
    """Writes batches of spans. Used by one thread; its errors are sqlite3's and the operating system's.

    Args:
        path: The file; it and its folder are made if missing, for their owner alone.
        clock: Unix time in seconds.
    """

    def __init__(self, path: Path, bounds: Local, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._bounds = bounds
        self._clock = clock
        self._tidied_at = 0.0
        self._database: sqlite3.Connection | None = None
        self._writing = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a batch, and now and then remove what is too old or too much."""
        with self._writing:
            self._write(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file; left to the process's end while a batch is still being written."""
        if self._writing.acquire(blocking=False):
            self._close()
            self._writing.release()

    def _write(self, spans: Sequence[ReadableSpan]) -> None:
        database = self._opened()
        try:
            with database:
                database.executemany(INSERT, map(_row, spans))
            if abs(self._clock() - self._tidied_at) >= TIDY_EVERY_S:
                self._tidied_at = self._clock()
                tidy(database, self._bounds, now_s=self._clock())
        except sqlite3.Error:
            # The next batch opens it anew: the file may have been removed or replaced.
            self._close()
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._database is not None and self._path.exists():
            return self._database
        self._close()
        self._database = create(self._path)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def create(path: Path) -> sqlite3.Connection:
    """Open the store for writing; make it if it is not there.

    Raises:
        OSError: The folder or the file cannot be made.
        sqlite3.Error: The file is no store.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite would make it readable for all, and gives its -wal and -shm files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=BUSY_MS / 1000, check_same_thread=False)
    try:
        database.execute("pragma auto_vacuum = incremental")
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        database.execute(f"pragma journal_size_limit = {4 * MIB}")
        database.executescript(SCHEMA)
        database.execute(f"pragma user_version = {SCHEMA_VERSION}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def tidy(database: sqlite3.Connection, bounds: Local, *, now_s: float) -> int:
    """Remove what is older than allowed, then the oldest while there is too much. Returns the number of spans."""
    with database:
        removed = _delete_before(database, int((now_s - bounds.max_age_s) * 1e9))
    while used_bytes(database) > bounds.max_mib * MIB:
        moment = _moment_of_share(database, 1 - ROOM)
        if moment is None:
            break
        with database:
            removed += _delete_before(database, moment + 1)
    if removed:
        database.execute("pragma incremental_vacuum").fetchall()
        database.execute("pragma wal_checkpoint(truncate)").fetchall()
    return removed


def used_bytes(database: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        int(database.execute(f"pragma {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _delete_before(database: sqlite3.Connection, start_ns: int) -> int:
    return database.execute("delete from spans where start_ns < ?", (start_ns,)).rowcount


def _moment_of_share(database: sqlite3.Connection, share: float) -> int | None:
    """When the last span of the oldest share began; `None` of an empty store."""
    count = int(database.execute("select count(*) from spans").fetchone()[0])
    position = max(0, int(count * share) - 1)
    row = database.execute("select start_ns from spans order by start_ns limit 1 offset ?", (position,)).fetchone()
    return int(row[0]) if row else None


def _row(span: ReadableSpan) -> tuple[Any, ...]:
    context, attributes = span.get_span_context(), dict(span.attributes or {})
    failed = span.status.status_code is StatusCode.ERROR
    return (
        f"{context.trace_id:032x}" if context else "",
        f"{context.span_id:016x}" if context else "",
        f"{span.parent.span_id:016x}" if span.parent else None,
        span.parent is None or span.parent.is_remote,
        str(span.resource.attributes.get("service.name", "")),
        span.name,
        span.kind.name.lower(),
        span.start_time or 0,
        span.end_time or span.start_time or 0,
        str(attributes.get(conventions.ERROR_TYPE, "error")) if failed else None,
        attributes.get(conventions.RESPONSE_MODEL) or attributes.get(conventions.REQUEST_MODEL),
        attributes.get(conventions.INPUT_TOKENS),
        attributes.get(conventions.OUTPUT_TOKENS),
        span.status.description,
        _json(attributes),
        _json([_event(event) for event in span.events]),
    )


def _event(event: Event) -> dict[str, Any]:
    return {"name": event.name, "time_ns": event.timestamp, "attributes": dict(event.attributes or {})}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=list)
