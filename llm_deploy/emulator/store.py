"""The cloud's memory: JSON documents by kind and name, in one SQLite file.

Write-ahead logging with `synchronous=NORMAL`: a committed document survives the death of the process (SIGKILL); the
last ones may be lost when the machine itself dies, and the file stays whole. Calls are synchronous and take tens of
microseconds, so they are made on the event loop; between two awaits a handler therefore sees and leaves one state.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID
"""


class Store:
    """Documents in a file, or in memory for tests (`Store(None)`)."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_SCHEMA)
        self._depth = 0

    def get(self, kind: str, name: str) -> Document | None:
        """The document, or `None`. The caller owns what it gets: changing it changes nothing stored."""
        row = self._db.execute("SELECT body FROM documents WHERE kind=? AND name=?", (kind, name)).fetchone()
        return None if row is None else _decode(row[0])

    def put(self, kind: str, name: str, body: Document) -> None:
        """Write or replace a document."""
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, name, json.dumps(body)))

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; says whether there was one."""
        return self._db.execute("DELETE FROM documents WHERE kind=? AND name=?", (kind, name)).rowcount > 0

    def all(self, kind: str, *, prefix: str = "") -> list[Document]:
        """Every document of a kind whose name starts with `prefix`, by name."""
        rows = self._db.execute(
            "SELECT body FROM documents WHERE kind=? AND substr(name, 1, ?)=? ORDER BY name",
            (kind, len(prefix), prefix),
        )
        return [_decode(row[0]) for row in rows]

    def count(self, kind: str) -> int:
        """How many documents of a kind there are."""
        (number,) = self._db.execute("SELECT count(*) FROM documents WHERE kind=?", (kind,)).fetchone()
        return int(number)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes that happen together or not at all. May be nested; never `await` inside."""
        if self._depth == 0:
            self._db.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Write the log back and let go of the file."""
        self._db.close()


def _decode(body: str) -> Document:
    document: Document = json.loads(body)
    return document
