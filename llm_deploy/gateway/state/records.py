"""What the memory of the gateway and its database tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may use; `None` for no limit.

    Attributes:
        concurrency: Requests in flight.
        tokens_per_day: Days of UTC.
        tokens_total: In the whole life of the key.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_total: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is kept. Times are seconds since 1970, UTC.

    Attributes:
        previous_digest, previous_until_s: The secret before the last rotation, and how long it is good.
        revision: Grows with every change of any key.
    """

    key_id: str
    name: str
    digest: bytes = field(repr=False)
    previous_digest: bytes | None = field(default=None, repr=False)
    previous_until_s: float | None = None
    scopes: frozenset[str]
    models: frozenset[str] | None = None
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    limits: Limits = Limits()
    revision: int = 0


class UsageKey(NamedTuple):
    """What usage is counted by.

    Attributes:
        scope: The route.
        hour: Hours since 1970, UTC.
    """

    key_id: str
    model: str
    scope: str
    hour: int


class Counts(NamedTuple):
    """How much of it there was."""

    requests: int
    prompt_tokens: int
    generated_tokens: int
    refused: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Usage that is written as one, and once: the database remembers the last number of each process."""

    number: int
    rows: dict[UsageKey, Counts]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process has used of a budget, and what it keeps of its grant (`Budget`)."""

    key_id: str
    window: int
    limit: int
    spent: int
    reserved: int
    kept: int
    idle: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a claim."""

    granted: int
    free: int
    elsewhere: int


@dataclass(frozen=True, slots=True)
class Work:
    """One exchange with the database, from the memory's side."""

    batch: Batch | None
    claims: tuple[Claim, ...]
    known_revision: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The database's side.

    Attributes:
        grants: By key and window.
        keys: Those that changed after `known_revision`.
        processes: Gateway processes that were alive in the last seconds, this one included.
        fenced: This process was taken for dead, and its claims were closed; it has to register again.
    """

    grants: dict[tuple[str, int], Grant]
    keys: tuple[KeyRecord, ...]
    revision: int
    processes: int
    fenced: bool = False
