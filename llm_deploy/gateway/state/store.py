"""One gateway process's exchange with the database. Everything here blocks, and runs on one thread beside the loop.

Each exchange is one transaction. It may be tried again after any failure, even when it is not known whether it was
committed: a batch of usage carries a number, and the row of the process the number of the last one; claims say what is,
not what changed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, case, delete, func, insert, select, update

from llm_deploy.errors import ConflictError, StateError
from llm_deploy.gateway.admission import Clock
from llm_deploy.gateway.limits import FOREVER, SECONDS_A_DAY, grant_for
from llm_deploy.gateway.state import keyring, usage
from llm_deploy.gateway.state.config import sqlite_path
from llm_deploy.gateway.state.engine import PRIVATE, READS, connect, database_time_s, state_errors
from llm_deploy.gateway.state.records import Answer, Batch, Claim, Grant, KeyRecord, Work
from llm_deploy.gateway.state.schema import migrate
from llm_deploy.gateway.state.tables import GONE, ApiKey, BudgetClaim, KeyRevision, Process

SEEN_EVERY_S: Final = 3.0
COUNTED_FOR_S: Final = 10.0
"""A process that has not been seen for so long no longer takes a part of the rates."""
GRANTED_FOR_S: Final = 60.0
"""Nor, after this, keep what it had been granted and not spent of a budget."""
REMEMBERED_FOR_S: Final = 7 * SECONDS_A_DAY
"""After this its books are closed. Until then it may come back with a batch that it could not write."""
TIDY_EVERY_S: Final = 3600.0
SECONDS_AN_HOUR: Final = 3600
DAYS_OF_CLAIMS: Final = 2
CLAIMS_AT_ONCE: Final = 500
"""Keys in one statement; SQLite takes 32,766 parameters."""


class Store:
    """The database, for one gateway process.

    Args:
        url: From `config.resolved_url`.
        wall_s: The clock for a file; a server's own clock counts otherwise.
        usage_hours_days, usage_days: As in `StateConfig`.
    """

    def __init__(self, url: str, wall_s: Clock, *, usage_hours_days: int = 90, usage_days: int = 1_100) -> None:
        self.sole = sqlite_path(url) is not None
        self._url = url
        self._wall_s = wall_s
        self._hours_days, self._days = usage_hours_days, usage_days
        self._engine = connect(url)
        self._process_id = ""
        self._seen_at_s = 0.0
        self._tidied_at_s = 0.0
        self._lock: int | None = None

    def open(self) -> None:
        """Bring the tables up to date and enter this process.

        Raises:
            ConflictError: The tables are newer than this code, or another gateway has this file.
            StateError: The database does not answer.
        """
        path = sqlite_path(self._url)
        if path is not None:
            self._lock = _locked(path)
        migrate(self._engine, self._url)
        self.register()

    def register(self) -> None:
        """Enter this process under a new name, with no batch written."""
        self._process_id = secrets.token_hex(8)
        with state_errors(self._url), self._engine.begin() as connection:
            now_s = database_time_s(connection, self._wall_s())
            if self.sole:
                _close_books(connection, connection.scalars(delete(Process).returning(Process.process_id)).all())
            entry = {"process_id": self._process_id, "seen_at_s": now_s, "last_batch": 0}
            connection.execute(insert(Process).values(entry))
            self._tidy(connection, now_s)

    def load(self, day: int) -> Answer:
        """Every key, and what is left of every budget that somebody has used."""
        with state_errors(self._url), self._reading() as connection:
            now_s = database_time_s(connection, self._wall_s())
            keys = keyring.every_key(connection)
            return Answer(
                _left(connection, keys, (FOREVER, day), now_s),
                tuple(keys),
                _revision(connection),
                self._processes(connection, now_s),
            )

    def exchange(self, work: Work) -> Answer:
        """Write the batch and the claims, and learn what is new.

        Raises:
            StateError: The database does not answer, or cannot write; what was asked may have been done.
        """
        with state_errors(self._url):
            wall_s = self._wall_s()
            writes = bool(work.batch or work.claims or (not self.sole and wall_s - self._seen_at_s >= SEEN_EVERY_S))
            with self._engine.begin() if writes else self._reading() as connection:
                now_s = database_time_s(connection, wall_s)
                if writes and not self._written(connection, work.batch, now_s):
                    return Answer({}, (), 0, 1, fenced=True)
                processes = self._processes(connection, now_s)
                grants = self._granted(connection, work.claims, processes, now_s) if work.claims else {}
                revision = _revision(connection)
                changed = revision > work.known_revision
                keys = keyring.every_key(connection, after_revision=work.known_revision) if changed else []
                answer = Answer(grants, tuple(keys), revision, processes)
                if writes and now_s - self._tidied_at_s >= TIDY_EVERY_S:
                    self._tidy(connection, now_s)
        if writes:
            self._seen_at_s = wall_s
        return answer

    def sign_off(self) -> None:
        """Close the books of this process. Its claims are added to those of all that are gone."""
        with state_errors(self._url), self._engine.begin() as connection:
            mine = delete(Process).where(Process.process_id == self._process_id).returning(Process.process_id)
            _close_books(connection, connection.scalars(mine).all())

    def close(self) -> None:
        """Let go of the database, whatever state it is in."""
        self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(**{READS: True})

    def _written(self, connection: Connection, batch: Batch | None, now_s: float) -> bool:
        """Write a batch that has not been written, and that this process is alive; False when it is entered no more."""
        mine = Process.process_id == self._process_id
        if batch is None:
            return bool(connection.execute(update(Process).where(mine).values(seen_at_s=now_s)).rowcount)
        is_next = update(Process).where(mine, Process.last_batch == batch.number - 1)
        if connection.execute(is_next.values(seen_at_s=now_s, last_batch=batch.number)).rowcount:
            usage.add(connection, batch.rows)
            return True
        return connection.scalar(select(Process.last_batch).where(mine)) == batch.number

    def _processes(self, connection: Connection, now_s: float) -> int:
        """How many share the keys. One that is not heard of for a while is still counted by itself."""
        if self.sole:
            return 1
        alive = Process.seen_at_s > now_s - COUNTED_FOR_S
        others = select(func.count()).select_from(Process).where(alive, Process.process_id != self._process_id)
        return 1 + int(connection.scalar(others) or 0)

    def _granted(
        self, connection: Connection, claims: Sequence[Claim], processes: int, now_s: float
    ) -> dict[tuple[str, int], Grant]:
        grants: dict[tuple[str, int], Grant] = {}
        ordered = sorted(claims, key=lambda claim: (claim.key_id, claim.window))
        for start in range(0, len(ordered), CLAIMS_AT_ONCE):
            some = ordered[start : start + CLAIMS_AT_ONCE]
            others = self._others(connection, some, now_s)
            for claim in some:
                grants[claim.key_id, claim.window] = _grant(
                    claim, *others.get((claim.key_id, claim.window), (0, 0)), processes
                )
        rows = [
            {
                "key_id": claim.key_id,
                "day": claim.window,
                "process_id": self._process_id,
                "granted": grants[claim.key_id, claim.window].granted,
                "spent": claim.spent,
            }
            for claim in ordered
        ]
        usage.upsert(connection, BudgetClaim, rows, replaced=("granted", "spent"))
        return grants

    def _others(
        self, connection: Connection, claims: Sequence[Claim], now_s: float
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """What other processes hold of the same budgets. Their keys are locked, so that two do not grant the same."""
        key_ids = sorted({claim.key_id for claim in claims})
        if not self.sole:
            lock = select(ApiKey.key_id).where(ApiKey.key_id.in_(key_ids)).order_by(ApiKey.key_id).with_for_update()
            connection.execute(lock)
        windows = {claim.window for claim in claims}
        return _held(connection, key_ids, windows, now_s, without=self._process_id)

    def _tidy(self, connection: Connection, now_s: float) -> None:
        """Close the books of processes that ended without a word; drop claims on days that are over, and old usage."""
        stale = delete(Process).where(Process.seen_at_s < now_s - REMEMBERED_FOR_S).returning(Process.process_id)
        _close_books(connection, connection.scalars(stale).all())
        old = now_s // SECONDS_A_DAY - DAYS_OF_CLAIMS
        connection.execute(delete(BudgetClaim).where(BudgetClaim.day != FOREVER, BudgetClaim.day < old))
        now_hour = int(now_s // SECONDS_AN_HOUR)
        usage.thin_out(connection, now_hour=now_hour, hours_days=self._hours_days, days=self._days)
        self._tidied_at_s = now_s


def _grant(claim: Claim, held: int, unspent: int, processes: int) -> Grant:
    claimed = claim.spent + claim.reserved
    granted = max(claim.kept, claimed)
    if not claim.idle:
        granted = grant_for(limit=claim.limit, claimed=claimed, kept=claim.kept, others=held, processes=processes)
    return Grant(granted, claim.limit - held - granted, unspent)


def _held(
    connection: Connection, key_ids: Iterable[str] | None, windows: Iterable[int], now_s: float, *, without: str
) -> dict[tuple[str, int], tuple[int, int]]:
    """By key and window: what is granted to living processes or spent by dead ones, and what of it is not spent."""
    alive = Process.seen_at_s > now_s - GRANTED_FOR_S
    held = case((alive, BudgetClaim.granted), else_=BudgetClaim.spent)
    query = (
        select(BudgetClaim.key_id, BudgetClaim.day, func.sum(held), func.sum(held - BudgetClaim.spent))
        .outerjoin_from(BudgetClaim, Process, BudgetClaim.process_id == Process.process_id)
        .where(BudgetClaim.day.in_(list(windows)), BudgetClaim.process_id != without)
        .group_by(BudgetClaim.key_id, BudgetClaim.day)
    )
    if key_ids is not None:
        query = query.where(BudgetClaim.key_id.in_(list(key_ids)))
    return {(key_id, day): (int(held), int(unspent)) for key_id, day, held, unspent in connection.execute(query)}


def _left(
    connection: Connection, keys: Iterable[KeyRecord], windows: tuple[int, int], now_s: float
) -> dict[tuple[str, int], Grant]:
    by_id = {key.key_id: key for key in keys}
    grants = {}
    for (key_id, window), (held, unspent) in _held(connection, None, windows, now_s, without="").items():
        limits = by_id[key_id].limits
        limit = limits.tokens_total if window == FOREVER else limits.tokens_per_day
        grants[key_id, window] = Grant(0, (limit or 0) - held, unspent)
    return grants


def _close_books(connection: Connection, process_ids: Sequence[str]) -> None:
    """Add up what processes that are gone have spent of budgets that are never renewed; forget the rest.

    The caller has deleted their rows, and so has them locked: nobody else closes the same books.
    """
    if not process_ids:
        return
    theirs = BudgetClaim.process_id.in_(process_ids)
    spent = (
        select(BudgetClaim.key_id, BudgetClaim.day, func.sum(BudgetClaim.spent))
        .where(theirs)
        .group_by(BudgetClaim.key_id, BudgetClaim.day)
        .order_by(BudgetClaim.key_id, BudgetClaim.day)
    )
    rows: list[dict[str, Any]] = [
        {"key_id": key_id, "day": day, "process_id": GONE, "granted": int(total), "spent": int(total)}
        for key_id, day, total in connection.execute(spent)
    ]
    if rows:
        usage.upsert(connection, BudgetClaim, rows, added=("granted", "spent"))
    connection.execute(delete(BudgetClaim).where(theirs))


def _revision(connection: Connection) -> int:
    return int(connection.execute(select(KeyRevision.revision)).scalar_one())


def _locked(path: Path) -> int:
    """Hold the file for this process alone; the system lets go of it when the process ends, however it does.

    Raises:
        ConflictError: Another gateway holds it.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as error:
        raise StateError(f"The gateway's state, {lock}: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConflictError(
            f"Another gateway is running with {path}.", hint="Stop it, or use PostgreSQL for more than one."
        ) from error
    return handle
