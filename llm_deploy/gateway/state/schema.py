"""The tables' version: brought up to date under a lock, and refused when it is newer than this code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from llm_deploy.errors import ConflictError
from llm_deploy.gateway.state.engine import READS, state_errors

REVISIONS: Final = ("0001", "0002", "0003")
"""All of `migrations/versions`, oldest first; here, so that a start with nothing to do need not import Alembic."""
NEWEST: Final = REVISIONS[-1]
LOCK_NUMBER: Final = 0x6C6C6D64
"""Of PostgreSQL's advisory lock: "llmd"."""
LOCK_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Migration:
    """What `migrate` found and left; `before` is `None` for an empty database."""

    before: str | None
    after: str


def migrate(engine: Engine, url: str, to: str = NEWEST) -> Migration:
    """Bring the tables up to date, or find that they are. Two at once wait for each other; one changes them.

    All of it is one transaction, on both databases: it happens as a whole or not at all.

    Raises:
        ConflictError: The tables are of a newer version than this code.
        StateError: The database does not answer, or refuses.
    """
    with state_errors(url):
        with engine.connect().execution_options(**{READS: True}) as connection:
            before = _version(connection)
        if before == to:
            return Migration(before, to)
        with engine.begin() as connection:
            _lock(connection)
            _upgrade(connection, before := _version(connection), to)
    return Migration(before, to)


def is_empty(engine: Engine, url: str) -> bool:
    """Whether there are no tables yet. Raises ConflictError, StateError."""
    with state_errors(url), engine.connect().execution_options(**{READS: True}) as connection:
        return _version(connection) is None


def check(engine: Engine, url: str) -> None:
    """Raises ConflictError unless the tables are of this code's version."""
    with state_errors(url), engine.connect().execution_options(**{READS: True}) as connection:
        version = _version(connection)
    if version != NEWEST:
        raise ConflictError(
            f"The gateway's tables are of version {version}; {NEWEST} is needed.", hint="Run: llmdeploy gateway migrate"
        )


def _version(connection: Connection) -> str | None:
    """The revision that the tables are of; `None` when there are none. Raises ConflictError for an unknown one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if version is not None and version not in REVISIONS:
        raise ConflictError(
            f"The gateway's tables are of version {version}, and this code knows {NEWEST} and older.",
            hint="Use the newer llm-deploy that made them; going back needs a copy from before.",
        )
    return None if version is None else str(version)


def _lock(connection: Connection) -> None:
    """Wait until nobody else changes the tables. A file is locked already, by BEGIN IMMEDIATE."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = '{LOCK_TIMEOUT_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})


def _upgrade(connection: Connection, before: str | None, to: str) -> None:
    if before is not None and REVISIONS.index(before) >= REVISIONS.index(to):
        return
    from alembic import command  # noqa: PLC0415 - only who has something to change pays for it
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", "llm_deploy.gateway.state:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
