"""Connections to SQLite and PostgreSQL, and the one table that translates their errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from llm_deploy.errors import MissingExtraError, SpecError, StateError
from llm_deploy.gateway.state.config import sqlite_path

BUSY_TIMEOUT_MS: Final = 5000
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 5000
READS: Final = "llmdeploy_reads"
"""Execution option of a connection that only reads: on SQLite it takes no lock that others wait for."""
PRIVATE: Final = 0o600

HINTS: Final = {
    "not a database": "The file is damaged or is something else. Restore a copy, or move it away to begin anew.",
    "malformed": "The file is damaged. Restore it from a copy; `sqlite3 FILE .recover` saves what can be read.",
    "readonly": "The file or its folder cannot be written by this user.",
    "unable to open": "The file or its folder cannot be read or written by this user.",
    "is full": "The disk is full.",
    "disk i/o": "The disk cannot be read or written.",
    "is locked": "Another program holds the file.",
    "password authentication failed": "Set PGPASSWORD, or the password in ~/.pgpass.",
    "no password supplied": "Set PGPASSWORD, or the password in ~/.pgpass.",
    "does not exist": "Make it first: createdb, createuser.",
    "permission denied": "The database's user needs CREATE and USAGE on the schema.",
}


def connect(url: str) -> Engine:
    """An engine for one process: one connection, which is made when it is first needed.

    Raises:
        SpecError: The URL cannot be read.
        MissingExtraError: The driver is not installed.
    """
    path = sqlite_path(url)
    try:
        return _server(url) if path is None else _file(path)
    except ArgumentError:
        raise SpecError(
            "The state's URL cannot be read.", hint="It looks like sqlite:////var/lib/gateway.db."
        ) from None
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"State in PostgreSQL needs {error.name}.",
            hint="Install the extra `postgres`: pip install 'llm-deploy[postgres]'",
        ) from None


def shown(url: str) -> str:
    """The URL without its password and parameters, for messages."""
    path = sqlite_path(url)
    if path is not None:
        return str(path)
    parsed = make_url(url)
    return f"{parsed.database or 'the database'} on {parsed.host or 'the local server'}"


@contextmanager
def state_errors(url: str) -> Iterator[None]:
    """Translate what SQLAlchemy and the drivers raise. Statements and their values are left out: they are no news.

    Raises:
        StateError: For all of them.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = (str(cause).splitlines() or [type(cause).__name__])[0]
        hint = next((hint for words, hint in HINTS.items() if words in said.lower()), None)
        raise StateError(f"The gateway's state, {shown(url)}: {said}", hint=hint) from None


def database_time_s(connection: Connection, wall_s: float) -> float:
    """The time that all processes agree on: the server's, or for a file this machine's."""
    if connection.dialect.name == "sqlite":
        return wall_s
    return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)


def _server(url: str) -> Engine:
    # A gateway has one writer thread. Statements are not prepared on the server, which poolers would lose.
    return create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "llmdeploy gateway",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c idle_in_transaction_session_timeout=60000",
            "keepalives_idle": 10,
            "tcp_user_timeout": 10_000,
            "prepare_threshold": None,
        },
    )


def _file(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, hide_parameters=True)

    @event.listens_for(engine, "do_connect")
    def _private(*_: Any) -> None:  # noqa: ANN401 - the signature is SQLAlchemy's
        _make_private(path)

    @event.listens_for(engine, "connect")
    def _prepared(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, see below
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for another writer: it would fail at once.
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _make_private(path: Path) -> None:
    """Make the file, for its owner only; SQLite gives its side files the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, PRIVATE))
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE)
    except OSError as error:
        raise StateError(f"The gateway's state, {path}: {error.strerror}.", hint=HINTS["unable to open"]) from error
