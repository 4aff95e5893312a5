"""What `llmdeploy gateway keys` and `migrate` do: a short visit to the database, beside the gateways that use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, func, select

from llm_deploy.errors import SpecError
from llm_deploy.gateway.access import SCOPES
from llm_deploy.gateway.admission import Clock
from llm_deploy.gateway.keys import NewKey
from llm_deploy.gateway.limits import FOREVER, day
from llm_deploy.gateway.state import keyring, usage
from llm_deploy.gateway.state.config import StateConfig, resolved_url
from llm_deploy.gateway.state.engine import READS, connect, shown, state_errors
from llm_deploy.gateway.state.records import KeyRecord, Limits
from llm_deploy.gateway.state.schema import Migration, check, is_empty, migrate
from llm_deploy.gateway.state.tables import LONGEST_NAME, BudgetClaim
from llm_deploy.gateway.state.usage import Grain, UsageLine

SECONDS_AN_HOUR: Final = 3600
LARGEST_LIMIT: Final = 10**15
"""Far above any use, and within what both databases hold exactly."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What is used of a key's budgets, as far as gateways have written it."""

    today: int
    total: int


class KeyService:
    """The keys of one database, for an administrator. Every method is one transaction.

    Args:
        url: As in `StateConfig.url`.

    Raises:
        SpecError: The URL is wrong.
        ConflictError: The tables are of another version; an empty database gets them made.
        StateError: The database does not answer.
    """

    def __init__(self, url: str | None = None, *, wall_s: Clock = time) -> None:
        self._url = _resolved(url)
        self._wall_s = wall_s
        self._engine = connect(self._url)
        if is_empty(self._engine, self._url):
            migrate(self._engine, self._url)
        check(self._engine, self._url)

    @property
    def place(self) -> str:
        """Where the keys are, for people."""
        return shown(self._url)

    def every(self) -> list[KeyRecord]:
        """All keys by name, revoked ones too."""
        with self._reading() as connection:
            return sorted(keyring.every_key(connection), key=lambda key: (key.name, key.created_at_s))

    def find(self, name_or_id: str) -> KeyRecord:
        """A key by name or id. Raises NotFoundError."""
        with self._reading() as connection:
            return keyring.find(connection, name_or_id)

    def create(
        self,
        name: str,
        *,
        scopes: frozenset[str] = frozenset(SCOPES),
        models: frozenset[str] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        good_for_s: float | None = None,
    ) -> NewKey:
        """Make a key.

        Raises:
            SpecError: The name, a scope or a limit is wrong.
            ConflictError: The name is in use.
        """
        _check_name(name)
        _check_scopes(scopes)
        _check_limits({field: getattr(limits, field) for field in keyring.LIMIT_NAMES})
        now_s = self._wall_s()
        expires_at_s = None if good_for_s is None else now_s + good_for_s
        with self._writing() as connection:
            return keyring.create(
                connection,
                name,
                scopes=scopes,
                models=models,
                limits=limits,
                now_s=now_s,
                expires_at_s=expires_at_s,
            )

    def change(self, name_or_id: str, values: Mapping[str, Any]) -> KeyRecord:
        """Set limits (`None` for no limit), `scopes`, `models` (`None` for every one) or `good_for_s` from now.

        Raises:
            SpecError: A scope or a limit is wrong.
            NotFoundError, ConflictError: There is no such key, or it is revoked.
        """
        columns = dict(values)
        if "scopes" in columns:
            _check_scopes(columns["scopes"])
            columns["scopes"] = sorted(columns["scopes"])
        if columns.get("models") is not None:
            columns["models"] = sorted(columns["models"])
        _check_limits({name: columns[name] for name in keyring.LIMIT_NAMES if name in columns})
        if "good_for_s" in columns:
            good_for_s = columns.pop("good_for_s")
            columns["expires_at_s"] = None if good_for_s is None else self._wall_s() + good_for_s
        with self._writing() as connection:
            keyring.change(connection, keyring.find(connection, name_or_id), columns)
            return keyring.find(connection, name_or_id)

    def revoke(self, name_or_id: str) -> KeyRecord:
        """Let a key be good for nothing, from within a few seconds. Raises NotFoundError."""
        with self._writing() as connection:
            key = keyring.find(connection, name_or_id)
            keyring.revoke(connection, key, self._wall_s())
            return key

    def rotate(self, name_or_id: str, grace_s: float) -> tuple[KeyRecord, NewKey]:
        """A new secret; the old one stays good for the grace time. Raises NotFoundError, ConflictError."""
        with self._writing() as connection:
            key = keyring.find(connection, name_or_id)
            made = keyring.rotate(connection, key, old_until_s=self._wall_s() + grace_s)
            return keyring.find(connection, key.key_id), made

    def usage(self, name_or_id: str | None, *, since_s: float, grain: Grain) -> list[UsageLine]:
        """What was used in the last so many seconds, whole hours, oldest first. Raises NotFoundError."""
        since_hour = int((self._wall_s() - since_s) // SECONDS_AN_HOUR)
        with self._reading() as connection:
            key_id = None if name_or_id is None else keyring.find(connection, name_or_id).key_id
            return usage.read(connection, since_hour=since_hour, key_id=key_id, grain=grain)

    def spent(self, key: KeyRecord) -> Spent:
        """What is used of the key's budgets."""
        today = day(self._wall_s())
        query = (
            select(BudgetClaim.day, func.sum(BudgetClaim.spent))
            .where(BudgetClaim.key_id == key.key_id, BudgetClaim.day.in_((FOREVER, today)))
            .group_by(BudgetClaim.day)
        )
        with self._reading() as connection:
            by_day = {window: int(spent) for window, spent in connection.execute(query)}
        return Spent(by_day.get(today, 0), by_day.get(FOREVER, 0))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with state_errors(self._url), self._engine.connect().execution_options(**{READS: True}) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with state_errors(self._url), self._engine.begin() as connection:
            yield connection


def migrate_state(url: str | None = None) -> tuple[Migration, str]:
    """Bring the tables up to date, and say where they are.

    Raises:
        SpecError: The URL is wrong.
        ConflictError: The tables are newer than this code.
        StateError: The database does not answer.
    """
    resolved = _resolved(url)
    engine = connect(resolved)
    try:
        return migrate(engine, resolved), shown(resolved)
    finally:
        engine.dispose()


def _resolved(url: str | None) -> str:
    try:
        return resolved_url(StateConfig(url=url))
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise SpecError(f"--state: {said}.") from None  # the cause would carry the URL


def _check_name(name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or re.fullmatch(r"\S(.*\S)?", name) is None:
        raise SpecError(f"{name[:LONGEST_NAME]!r}: expected a name of 1 to {LONGEST_NAME} printable characters.")


def _check_scopes(scopes: frozenset[str]) -> None:
    unknown = sorted(scopes - set(SCOPES))
    if unknown or not scopes:
        raise SpecError(f"{', '.join(unknown) or 'no scope'}: expected scopes among {', '.join(SCOPES)}.")


def _check_limits(limits: Mapping[str, int | None]) -> None:
    for name, value in limits.items():
        if value is not None and not 1 <= value <= LARGEST_LIMIT:
            raise SpecError(f"{name.replace('_', ' ')}: {value}; expected 1 to {LARGEST_LIMIT}.")
