"""Log lines in a SQLite file of their own: bounded, written in batches, and still there after a restart.

A container may write thousands of lines in a second, and its reader must not block the event loop. So a line goes into
a list first, and the list is written a few times a second and before anybody reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_EVENTS_PER_STREAM = 20_000
MAX_PENDING = 5_000
MAX_MESSAGE_BYTES = 256 * 1024
"""Source: CloudWatch Logs quotas, event size. Longer lines are cut."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, log_group TEXT NOT NULL, stream TEXT NOT NULL,
  timestamp_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL, message TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_stream ON events (log_group, stream, timestamp_ms, id);
CREATE INDEX IF NOT EXISTS by_time ON events (log_group, timestamp_ms, id);
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One line. Times are milliseconds since the epoch; `id` grows with arrival."""

    stream: str
    timestamp_ms: int
    ingested_ms: int
    message: str
    id: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in its stream: by time, and by arrival among equals."""
        return self.timestamp_ms, self.id


@dataclass(frozen=True, slots=True)
class Window:
    """Which events are wanted: `start_ms <= time < end_ms`, in these streams (`None`: in all)."""

    start_ms: int = 0
    end_ms: int = 1 << 62
    streams: Sequence[str] | None = None


class EventStorage:
    """All events of the account."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._pending: list[tuple[str, Event]] = []
        self.dropped = 0

    def add(self, group: str, event: Event) -> None:
        """Take a line; when more wait than can be held, it is counted as dropped."""
        if len(self._pending) < MAX_PENDING:
            self._pending.append((group, event))
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Write what waits, and drop the oldest of streams that are too long."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        rows = [
            (group, each.stream, each.timestamp_ms, each.ingested_ms, _cut(each.message)) for group, each in pending
        ]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO events (log_group, stream, timestamp_ms, ingested_ms, message) VALUES (?, ?, ?, ?, ?)", rows
        )
        for group, stream in {(row[0], row[1]) for row in rows}:
            self._trim(group, stream)
        self._db.execute("COMMIT")

    def read(
        self, group: str, window: Window, *, limit: int, after: tuple[int, int] | None = None, backwards: bool = False
    ) -> list[Event]:
        """Up to `limit` events beyond `after`, in the order of time; `backwards` takes the last ones before it."""
        self.flush()
        compare, order = ("<", "DESC") if backwards else (">", "ASC")
        clauses = ["log_group = ?", "timestamp_ms >= ?", "timestamp_ms < ?"]
        values: list[str | int] = [group, window.start_ms, window.end_ms]
        if window.streams is not None:
            clauses.append(f"stream IN ({', '.join('?' * len(window.streams))})")
            values.extend(window.streams)
        if after is not None:
            clauses.append(f"(timestamp_ms, id) {compare} (?, ?)")
            values.extend(after)
        rows = self._db.execute(
            "SELECT stream, timestamp_ms, ingested_ms, message, id FROM events "  # noqa: S608 - only our own words are put in
            f"WHERE {' AND '.join(clauses)} ORDER BY timestamp_ms {order}, id {order} LIMIT ?",
            (*values, limit),
        )
        events = [Event(*row) for row in rows]
        return events[::-1] if backwards else events

    def spans(self, group: str) -> dict[str, tuple[int, int, int]]:
        """First time, last time and last ingestion of each stream of a group that has events."""
        self.flush()
        rows = self._db.execute(
            "SELECT stream, min(timestamp_ms), max(timestamp_ms), max(ingested_ms) FROM events "
            "WHERE log_group = ? GROUP BY stream",
            (group,),
        )
        return {stream: (first, last, ingested) for stream, first, last, ingested in rows}

    def stored_bytes(self, group: str) -> int:
        """Bytes of a group's messages."""
        self.flush()
        query = "SELECT coalesce(sum(length(CAST(message AS BLOB))), 0) FROM events WHERE log_group = ?"
        (number,) = self._db.execute(query, (group,)).fetchone()
        return int(number)

    def delete(self, group: str, *, streams: Iterable[str] | None = None, before_ms: int | None = None) -> None:
        """Remove a group's events: all, of some streams, or those that are older."""
        self.flush()
        if before_ms is not None:
            self._db.execute("DELETE FROM events WHERE log_group = ? AND timestamp_ms < ?", (group, before_ms))
        elif streams is None:
            self._db.execute("DELETE FROM events WHERE log_group = ?", (group,))
        else:
            pairs = [(group, stream) for stream in streams]
            self._db.executemany("DELETE FROM events WHERE log_group = ? AND stream = ?", pairs)

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        self._db.close()

    def _trim(self, group: str, stream: str) -> None:
        self._db.execute(
            "DELETE FROM events WHERE log_group = ?1 AND stream = ?2 AND id <= ("
            "SELECT id FROM events WHERE log_group = ?1 AND stream = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
            (group, stream, MAX_EVENTS_PER_STREAM),
        )


def _cut(message: str) -> str:
    encoded = message.encode("utf-8", "replace")
    return message if len(encoded) <= MAX_MESSAGE_BYTES else encoded[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
