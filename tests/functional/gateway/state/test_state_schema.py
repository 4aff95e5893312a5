"""The tables: from empty, from each earlier version, by two at once, and never backwards."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from llm_deploy.errors import ConflictError
from llm_deploy.gateway.state.administration import KeyService, migrate_state
from llm_deploy.gateway.state.engine import connect
from llm_deploy.gateway.state.schema import NEWEST, REVISIONS, Migration, migrate
from llm_deploy.gateway.state.tables import Base
from tests.functional.gateway.state.gateways import gateway, keys

OLD_KEY = """INSERT INTO api_keys (key_id, name, digest, scopes, models, created_at_s, revision)
             VALUES ('old0old0old0', 'old', :digest, '["chat"]', '["twin"]', 1000.5, 0)"""


def differences(url: str) -> list[Any]:
    """What Alembic would change in the database to make it what the models say."""
    engine = connect(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    engine.dispose()
    return list(found)


@pytest.mark.parametrize("before", [None, *REVISIONS])
def test_every_earlier_version_is_brought_up_to_date(state_url: str, before: str | None) -> None:
    """The result is what the models say, and keys of before are still there."""
    engine = connect(state_url)
    if before is not None:
        migrate(engine, state_url, before)
        with engine.begin() as connection:
            connection.execute(text(OLD_KEY), {"digest": b"x" * 32})
    assert migrate(engine, state_url) == Migration(before, NEWEST)
    assert migrate(engine, state_url) == Migration(NEWEST, NEWEST)
    engine.dispose()
    assert differences(state_url) == []
    with keys(state_url) as service:
        assert [(key.name, key.models) for key in service.every()] == (
            [] if before is None else [("old", frozenset({"twin"}))]
        )


def test_the_list_of_versions_is_complete() -> None:
    """A start without news need not import Alembic, and so the list is written down."""
    scripts = sorted(
        entry.name for entry in files("llm_deploy.gateway.state.migrations.versions").iterdir() if "v0" in entry.name
    )
    assert [name[1:5] for name in scripts] == list(REVISIONS)


def test_many_that_start_at_once_change_the_tables_once(state_url: str) -> None:
    """The others wait, and find it done."""
    engines = [connect(state_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda engine: migrate(engine, state_url), engines))
    for engine in engines:
        engine.dispose()
    assert {migration.after for migration in done} == {NEWEST}
    assert differences(state_url) == []


async def _starts(url: str) -> None:
    async with gateway(url):
        pass


def test_newer_tables_are_refused(state_url: str) -> None:
    """By the gateway, by the commands and by `migrate`; nothing is changed."""
    migrate_state(state_url)
    engine = connect(state_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(ConflictError, match="0999, and this code knows") as caught:
        migrate_state(state_url)
    assert "newer" in str(caught.value.hint)
    with pytest.raises(ConflictError, match="0999"):
        KeyService(state_url)
    with pytest.raises(ConflictError, match="0999"):
        asyncio.run(_starts(state_url))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0999"
    engine.dispose()


def test_older_tables_are_left_to_who_is_asked(state_url: str) -> None:
    """A command for keys does not change tables under running gateways; `migrate` and a start do."""
    engine = connect(state_url)
    migrate(engine, state_url, "0001")
    engine.dispose()
    with pytest.raises(ConflictError, match="0001") as caught:
        KeyService(state_url)
    assert "gateway migrate" in str(caught.value.hint)
    asyncio.run(_starts(state_url))
    with keys(state_url) as service:
        assert service.every() == []
