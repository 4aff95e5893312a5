"""Databases for the tests of the gateway's state: SQLite files, and a real PostgreSQL server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.gateway.state.postgres import PostgresServer, free_port, required_binaries


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server. Its folder is outside pytest's own, which only the user who runs the tests may enter."""
    found = required_binaries()
    with tempfile.TemporaryDirectory(prefix="llmdeploy-postgres-") as folder:
        server = PostgresServer(found, Path(folder), free_port())
        server.initialise()
        server.start()
        yield server
        server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database on it; the password is where psycopg looks for it."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/gateway.db"
    url: str = request.getfixturevalue("postgres_url")
    return url
