"""Killed processes, databases that go away, full disks and damaged files: what is lost is what was stated."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import event

from llm_deploy.errors import StateError
from llm_deploy.gateway.state import StateConfig, open_access
from llm_deploy.gateway.state.administration import KeyService
from llm_deploy.gateway.state.records import Limits
from llm_deploy.gateway.state.service import StoredAccess
from tests.functional.gateway.state.gateways import by_itself, counted, gateway, keys, start_program, use
from tests.functional.gateway.state.postgres import PostgresServer

BEFORE_THE_KILL = 12


def _said(process: subprocess.Popen[str]) -> tuple[int, int]:
    """What the program counted: used and refused."""
    assert process.stdout is not None
    used, refused, _ = process.stdout.readline().split()
    return int(used), int(refused)


def test_a_killed_gateway_loses_what_came_after_its_last_exchange(state_url: str) -> None:
    """SIGKILL between batches; usage and budget agree with what the program last said, or are one exchange ahead."""
    with keys(state_url) as service:
        secret = service.create("shop", limits=Limits(tokens_total=10**9)).secret
    process = start_program(state_url, secret, "3")
    lines = [_said(process) for _ in range(BEFORE_THE_KILL)]
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    rest = process.stdout.read().splitlines() if process.stdout else []
    last = int(rest[-1].split()[0]) if rest and len(rest[-1].split()) == 3 else lines[-1][0]
    requests, tokens = counted(state_url)
    assert last <= requests <= last + 40
    assert tokens == 3 * requests

    async def restarted() -> None:
        async with gateway(state_url) as access:
            use(access, secret)

    asyncio.run(restarted())
    assert counted(state_url) == (requests + 1, tokens + 2)


def test_killed_gateways_on_one_server_leave_the_budget_to_the_others(postgres_url: str) -> None:
    """Two processes share a budget, one is killed; together they stay within the bound."""
    limit, size = 100_000, 20
    with keys(postgres_url) as service:
        secret = service.create("shop", limits=Limits(tokens_per_day=limit)).secret
    first, second = (start_program(postgres_url, secret, str(size)) for _ in range(2))
    for _ in range(BEFORE_THE_KILL):
        used_first, _ = _said(first)
        used_second, refused = _said(second)
    first.kill()
    first.wait(30)
    while not refused:
        used_second, refused = _said(second)
    assert second.stdin is not None
    second.stdin.close()
    second.wait(30)
    _, tokens = counted(postgres_url)
    assert tokens >= size * (used_first + used_second)
    assert limit * 0.5 < tokens <= limit + limit // 20 + 2 * size


def test_a_database_that_goes_and_comes_back(postgres: PostgresServer, postgres_url: str) -> None:
    """Requests are answered all the while, health says no and yes again, and every count is written once."""

    async def scenario(secret: str) -> None:
        async with gateway(postgres_url) as access:
            use(access, secret)
            await access.exchange()
            postgres.stop()
            try:
                for _ in range(3):
                    use(access, secret)
                    await access.exchange()
                    assert not access.healthy
                with pytest.raises(StateError):
                    KeyService(postgres_url)
            finally:
                postgres.start()
            await by_itself(lambda: access.healthy and not access._books.unwritten)
            use(access, secret)

    with keys(postgres_url) as service:
        secret = service.create("shop", limits=Limits(tokens_per_day=1000)).secret
    asyncio.run(scenario(secret))
    assert counted(postgres_url) == (5, 10)
    with keys(postgres_url) as service:
        assert service.spent(service.find("shop")).today == 10


def test_a_gateway_that_ends_without_its_database_ends(
    postgres: PostgresServer, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It says that usage was lost, and does not hang."""

    async def scenario(secret: str) -> None:
        async with gateway(postgres_url) as access:
            use(access, secret)
            postgres.stop()

    with keys(postgres_url) as service:
        secret = service.create("shop").secret
    try:
        asyncio.run(scenario(secret))
    finally:
        postgres.start()
    assert "last usage of this gateway was not written" in caplog.text


def test_a_start_without_a_database_is_refused(postgres: PostgresServer, postgres_url: str) -> None:
    """A gateway that never had keys cannot know anybody."""
    postgres.stop()
    try:
        with pytest.raises(StateError, match=f"gateway_.* on 127.0.0.1: .*port {postgres.port} failed"):
            asyncio.run(open_access(StateConfig(url=postgres_url)).start())
    finally:
        postgres.start()


def _spoil(access: StoredAccess, pragma: str) -> None:
    """Let every connection from now on be so."""
    engine = access._store._engine
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _spoiled(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA {pragma}").close()


@pytest.mark.parametrize(
    ("pragma", "said"),
    [("max_page_count=1", "The disk is full"), ("query_only=1", "cannot be written")],
    ids=["full", "readonly"],
)
def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path, pragma: str, said: str) -> None:
    """SQLite's own answers for a full disk and a read-only one; what was counted is written when it can be."""
    url = f"sqlite:///{tmp_path}/gateway.db"

    async def scenario(secret: str) -> None:
        async with gateway(url, write_every_s=60) as access:
            _spoil(access, pragma)
            work = access._books.work
            for number in range(400):
                permit = access.admit(access.caller(secret), scope="chat", model=f"{number:0100}", tokens=2)
                permit.settle(prompt_tokens=1, generated_tokens=1)
            await access.exchange()
            assert not access.healthy
            use(access, secret)
            with pytest.raises(StateError) as caught:
                access._store.exchange(work())
            assert said in str(caught.value.hint)
            access._store._engine.dispose()
            _spoil(access, "max_page_count=100000")
            _spoil(access, "query_only=0")
            await access.exchange()
            assert access.healthy

    with keys(url) as service:
        secret = service.create("shop").secret
    asyncio.run(scenario(secret))
    assert counted(url) == (401, 802)


@pytest.mark.parametrize("damage", [b"this is no database at all. " * 200, b""], ids=["foreign", "header"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, damage: bytes) -> None:
    """At the start of a gateway and by every command, with what to do; the file is left as it is."""
    path = tmp_path / "gateway.db"
    url = f"sqlite:///{path}"
    if not damage:
        with keys(url) as service:
            for number in range(200):
                service.create(f"key-{number}")
        held = bytearray(path.read_bytes())
        held[4096 : len(held)] = b"\xff" * (len(held) - 4096)
        damage = bytes(held)
        for side in tmp_path.glob("gateway.db-*"):
            side.unlink()
    path.write_bytes(damage)
    with pytest.raises(StateError) as caught:
        KeyService(url).every()
    assert "damaged" in str(caught.value.hint)
    with pytest.raises(StateError):
        asyncio.run(open_access(StateConfig(url=url)).start())
    assert path.read_bytes()[4096:] == damage[4096:]


def test_a_folder_that_cannot_be_made_is_said_to_be_one(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StateError, match=r"file/gateway\.db"):
        KeyService(f"sqlite:///{tmp_path}/file/gateway.db")
