"""A running gateway's state on both databases: what is kept, what takes effect, what is divided."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from llm_deploy.errors import (
    AccessDeniedError,
    ConflictError,
    RateLimitedError,
    SpecError,
    StateError,
    UnauthenticatedError,
)
from llm_deploy.gateway.state import StateConfig, open_access
from llm_deploy.gateway.state.config import resolved_url
from llm_deploy.gateway.state.engine import connect
from llm_deploy.gateway.state.records import Batch, Claim, Counts, Limits, UsageKey, Work
from llm_deploy.gateway.state.service import StoredAccess
from llm_deploy.gateway.state.store import Store
from tests.functional.gateway.state.gateways import by_itself, counted, gateway, keys, until, use
from tests.functional.gateway.state.postgres import PostgresServer

DAY_S = 86_400


def _knows(access: StoredAccess, secret: str) -> bool:
    try:
        access.caller(secret)
    except UnauthenticatedError:
        return False
    return True


def test_a_new_key_and_a_revocation_take_effect_while_the_gateway_runs(state_url: str) -> None:
    """By itself, within its interval."""

    async def scenario() -> None:
        async with gateway(state_url) as access:
            with keys(state_url) as service:
                secret = service.create("late").secret
                await by_itself(lambda: _knows(access, secret))
                use(access, secret)
                service.revoke("late")
                await by_itself(lambda: not _knows(access, secret))

    asyncio.run(scenario())


def test_both_secrets_are_good_after_a_rotation(state_url: str) -> None:
    """Until the grace time is over; a second rotation ends the first one's."""

    async def scenario() -> None:
        with keys(state_url) as service:
            first = service.create("shop").secret
            async with gateway(state_url) as access:
                second = service.rotate("shop", 60)[1].secret
                await until(access, lambda: _knows(access, second))
                assert _knows(access, first)
                third = service.rotate("shop", 0)[1].secret
                await until(access, lambda: _knows(access, third))
                assert not _knows(access, first)
                assert not _knows(access, second)

    asyncio.run(scenario())


def test_what_was_used_is_written_by_the_end_at_the_latest(state_url: str) -> None:
    """By key, model, route and hour, with what was refused."""

    async def scenario(secret: str) -> None:
        async with gateway(state_url, write_every_s=60) as access:
            for _ in range(5):
                use(access, secret, prompt=10, generated=20, reserved=30)
            with pytest.raises(AccessDeniedError):
                access.admit(access.caller(secret), scope="rag", model="twin", tokens=1)

    with keys(state_url) as service:
        made = service.create("shop", scopes=frozenset({"chat"}))
        asyncio.run(scenario(made.secret))
        lines = service.usage("shop", since_s=DAY_S, grain="hour")
    found = {(line.scope, line.model): Counts(*(getattr(line, name) for name in Counts._fields)) for line in lines}
    assert found == {("chat", "twin"): Counts(5, 50, 100, 0), ("rag", "(denied)"): Counts(0, 0, 0, 1)}


def test_budgets_outlive_the_process(state_url: str) -> None:
    """What a day's and a life's budget were spent on before a restart is spent after it."""

    async def scenario(secret: str) -> None:
        async with gateway(state_url) as access:
            use(access, secret, prompt=600, generated=0, reserved=600)
        async with gateway(state_url) as access:
            with pytest.raises(RateLimitedError, match="1000 tokens a day"):
                access.admit(access.caller(secret), scope="chat", model="twin", tokens=500)
            use(access, secret, prompt=300, generated=0, reserved=300)

    with keys(state_url) as service:
        secret = service.create("shop", limits=Limits(tokens_per_day=1000, tokens_total=5000)).secret
        asyncio.run(scenario(secret))
        spent = service.spent(service.find("shop"))
    assert (spent.today, spent.total) == (900, 900)


def test_a_budget_that_is_raised_counts_at_once(state_url: str) -> None:
    """The gateway is not restarted for it."""

    async def scenario() -> None:
        with keys(state_url) as service:
            secret = service.create("shop", limits=Limits(tokens_total=100)).secret
            async with gateway(state_url) as access:
                use(access, secret, prompt=100, generated=0, reserved=100)
                with pytest.raises(AccessDeniedError):
                    use(access, secret)
                service.change("shop", {"tokens_total": 200})
                await access.exchange()
                await access.exchange()
                use(access, secret, prompt=90, generated=0, reserved=90)

    asyncio.run(scenario())


def test_a_batch_is_written_once_however_often_it_is_sent(state_url: str) -> None:
    """Who does not know whether the database had committed sends it again."""
    with keys(state_url) as service:
        key_id = service.create("shop", limits=Limits(tokens_total=1000)).key_id
        store = Store(resolved_url(StateConfig(url=state_url)), lambda: 1000.0)
        store.open()
        claim = Claim(key_id, 0, 1000, spent=70, reserved=5, kept=0, idle=False)
        work = Work(Batch(1, {UsageKey(key_id, "twin", "chat", 0): Counts(1, 2, 3, 4)}), (claim,), 0)
        answers = [store.exchange(work) for _ in range(3)]
        store.close()
        (line,) = service.usage(None, since_s=1e10, grain="total")
        assert service.spent(service.find("shop")).total == 70
    assert (line.requests, line.prompt_tokens, line.generated_tokens, line.refused) == (1, 2, 3, 4)
    assert answers[0].grants == answers[1].grants == answers[2].grants


def test_no_secret_reaches_the_database(tmp_path: Path) -> None:
    """Neither the table nor the log beside it holds what was shown."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    with keys(url) as service:
        secret = service.create("shop").secret.encode()
        service.rotate("shop", 60)
        held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"shop" in held
    assert secret[-30:] not in held


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Also when it was made for everybody before, and with all its side files."""
    path = tmp_path / "state" / "gateway.db"

    async def scenario(secret: str) -> None:
        async with gateway(f"sqlite:///{path}") as access:
            use(access, secret)
            await access.exchange()
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert set(modes.values()) == {0o600}, modes
            assert {"gateway.db", "gateway.db-wal", "gateway.db.lock"} <= set(modes)

    with keys(f"sqlite:///{path}") as service:
        secret = service.create("shop").secret
    path.chmod(0o644)
    asyncio.run(scenario(secret))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_gateways_do_not_share_a_file(tmp_path: Path) -> None:
    """The second is told, by its configuration or by the first one's lock; the command line may look all the same."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    with pytest.raises(SpecError, match="2 replicas"):
        open_access(StateConfig(url=url, replicas=2))

    async def scenario() -> None:
        async with gateway(url):
            with pytest.raises(ConflictError, match="Another gateway"):
                await open_access(StateConfig(url=url)).start()
            with keys(url) as service:
                service.create("shop")

    asyncio.run(scenario())


def test_two_gateways_divide_a_rate(postgres_url: str) -> None:
    """And have it whole again when one has ended."""

    async def scenario() -> None:
        with keys(postgres_url) as service:
            secret = service.create("shop", limits=Limits(requests_per_minute=100)).secret
        async with gateway(postgres_url) as first:
            async with gateway(postgres_url) as second:
                for access in (first, second):
                    await access.exchange()
                for access in (first, second):
                    for _ in range(50):
                        use(access, secret)
                    with pytest.raises(RateLimitedError):
                        use(access, secret)
            await first.exchange()
            with pytest.raises(RateLimitedError):
                use(first, secret, reserved=1)
            account = next(iter(first._admission.accounts.values()))
            assert account.requests is not None
            assert account.requests.capacity == 100

    asyncio.run(scenario())


def test_two_gateways_share_a_budget_and_use_all_of_it(postgres_url: str) -> None:
    """No more than the stated bound passes, and next to nothing of the budget is left over."""
    limit, size = 20_000, 50

    async def spend(access: StoredAccess, secret: str) -> int:
        passed = refused = 0
        while refused < 60:
            try:
                use(access, secret, prompt=size, generated=0, reserved=size)
                passed, refused = passed + size, 0
            except RateLimitedError:
                refused += 1
                await access.exchange()
            await asyncio.sleep(0)
        return passed

    async def scenario() -> tuple[int, int]:
        with keys(postgres_url) as service:
            secret = service.create("shop", limits=Limits(tokens_per_day=limit)).secret
        async with gateway(postgres_url) as first, gateway(postgres_url) as second:
            return await asyncio.gather(spend(first, secret), spend(second, secret))

    passed = asyncio.run(scenario())
    assert min(passed) > 0
    assert limit - 2 * size <= sum(passed) <= limit + limit // 20 + 2 * size
    assert counted(postgres_url)[1] == sum(passed)


def test_many_processes_write_the_same_counts_at_once(postgres_url: str) -> None:
    """Rows and keys are locked in one order: nobody waits crosswise, nothing is lost."""
    with keys(postgres_url) as service:
        key_ids = [service.create(f"key-{number}", limits=Limits(tokens_per_day=10**9)).key_id for number in range(12)]
    stores = [Store(resolved_url(StateConfig(url=postgres_url)), lambda: 0.0) for _ in range(4)]

    def write(store: Store) -> None:
        store.open()
        for number in range(1, 16):
            ordered = key_ids[number % 12 :] + key_ids[: number % 12]
            rows = {UsageKey(key_id, "twin", "chat", 0): Counts(1, 1, 1, 1) for key_id in ordered}
            claims = tuple(Claim(key_id, 0, 10**9, number, 0, 0, idle=False) for key_id in ordered)
            store.exchange(Work(Batch(number, rows), claims, 0))
        store.sign_off()
        store.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, stores))
    with keys(postgres_url) as service:
        lines = service.usage(None, since_s=1e10, grain="total")
        assert service.spent(service.find("key-3")).total == 4 * 15
    assert [line.requests for line in lines] == [4 * 15] * 12


def test_two_grants_of_one_budget_are_made_one_after_the_other(postgres_url: str) -> None:
    """The key's row is locked for it: a grant sees all grants that were made before it."""
    with keys(postgres_url) as service:
        key_id = service.create("shop", limits=Limits(tokens_total=1000)).key_id
    store = Store(resolved_url(StateConfig(url=postgres_url)), lambda: 0.0)
    store.open()
    work = Work(None, (Claim(key_id, 0, 1000, 0, 0, 0, idle=False),), 0)
    engine = connect(resolved_url(StateConfig(url=postgres_url)))
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as other:
            other.execute(text("SELECT 1 FROM api_keys FOR UPDATE"))
            claims = {"key": key_id}
            other.execute(text("INSERT INTO budget_claims VALUES (:key, 0, 'other', 600, 600)"), claims)
            granting = thread.submit(store.exchange, work)
            while not other.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                assert not granting.done()
        grant = granting.result(30).grants[key_id, 0]
    engine.dispose()
    store.close()
    assert (grant.granted, grant.free) == (200, 200)


def test_requests_are_answered_while_the_database_takes_its_time(postgres_url: str) -> None:
    """The exchange waits for a lock that somebody holds; nobody waits for the exchange."""

    async def scenario() -> None:
        with keys(postgres_url) as service:
            secret = service.create("shop").secret
        engine = connect(resolved_url(StateConfig(url=postgres_url)))
        async with gateway(postgres_url, write_every_s=60) as access:
            with engine.begin() as blocking:
                blocking.execute(text("LOCK TABLE usage IN ACCESS EXCLUSIVE MODE"))
                use(access, secret)
                exchange = asyncio.create_task(access.exchange())
                for _ in range(200):
                    use(access, secret)
                    await asyncio.sleep(0.001)
                assert not exchange.done()
            await exchange
            await access.exchange()
            assert access.healthy
        engine.dispose()

    asyncio.run(scenario())
    assert counted(postgres_url)[0] == 201


def test_the_password_is_in_no_message(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where it is wrong, not where the server is away, and not in what the configuration prints."""
    url = postgres.new_database()
    secret_url = url.replace("gateway@", "gateway:not-the-password@")
    monkeypatch.setenv("LLMDEPLOY_STATE", secret_url)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    for address in (secret_url, secret_url.replace(str(postgres.port), "1")):
        os.environ["LLMDEPLOY_STATE"] = address
        with pytest.raises(StateError) as caught:
            asyncio.run(open_access(StateConfig()).start())
        assert "not-the-password" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
        assert caught.value.__suppress_context__
    with pytest.raises(ValueError, match="leave the password out") as refused:
        StateConfig(url=secret_url)
    assert "not-the-password" not in str(refused.value)


def test_a_password_in_the_environments_url_is_used(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As clusters hand it out: the whole URL, as one secret."""
    url = postgres.new_database()
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("LLMDEPLOY_STATE", url.replace("gateway@", f"gateway:{postgres.password}@"))

    async def scenario() -> None:
        access = open_access(StateConfig())
        await access.start()
        await access.aclose()

    asyncio.run(scenario())
