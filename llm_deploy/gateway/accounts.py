"""A key in memory: who it is, what it may use, what it has in use. It belongs to the event loop's thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from llm_deploy.gateway.access import Caller
from llm_deploy.gateway.limits import FOREVER, Bucket, Budget
from llm_deploy.gateway.state.records import Counts, KeyRecord

NEVER_S: Final = math.inf
MOST_TALLIES: Final = 256
OTHER: Final = "(other)"


class Sharing:
    """What all accounts share: how many processes use the keys, and which accounts were used.

    Attributes:
        processes: Alive in the last seconds, this one included.
        generation: Grows when what each process may use has changed; accounts notice at their next request.
        sole: Nobody can join: the state is a file that this process has locked.
        offline: The database did not answer the last time.
        active: Accounts of which the database has to be told something.
        lost: Requests that were dropped without having been settled.
        wake: Called when a request has passed on credit, so that the database is asked at once.
    """

    __slots__ = ("active", "generation", "lost", "offline", "processes", "sole", "wake")

    def __init__(self, *, sole: bool) -> None:
        self.processes = 1
        self.generation = 0
        self.sole = sole
        self.offline = False
        self.active: set[Account] = set()
        self.lost: deque[Reservation] = deque()
        self.wake: Callable[[], None] = _nothing


class Tally:
    """What was counted of one model and route since the last batch. The object stays; requests in flight hold it."""

    __slots__ = ("generated_tokens", "prompt_tokens", "refused", "requests")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.generated_tokens = self.refused = 0

    def empty(self) -> Counts:
        """What was counted, which is then counted no more."""
        counts = Counts(self.requests, self.prompt_tokens, self.generated_tokens, self.refused)
        self.requests = self.prompt_tokens = self.generated_tokens = self.refused = 0
        return counts


class Account:
    """A key with its limits and what is counted of it.

    Attributes:
        usable_until_s: When it expires; 0 when it is revoked.
        requests, tokens: Its rates; `None` for none.
        today, lifetime: Its budgets; `None` for none.
        concurrency: Requests in flight here at most.
        tallies: By model and scope.
        idle_for: Exchanges with the database since it was last used.
    """

    __slots__ = (
        "caller",
        "concurrency",
        "generation",
        "idle_for",
        "in_flight",
        "lifetime",
        "record",
        "requests",
        "sharing",
        "tallies",
        "today",
        "tokens",
        "usable_until_s",
    )

    def __init__(self, record: KeyRecord, sharing: Sharing, now_s: float, day: int) -> None:
        self.sharing = sharing
        self.in_flight = 0
        self.idle_for = 0
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.today: Budget | None = None
        self.lifetime: Budget | None = None
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.update(record, now_s, day)

    def update(self, record: KeyRecord, now_s: float, day: int) -> None:
        """Take over what the key is now. What is in its buckets and in flight stays."""
        self.record = record
        self.caller = Caller(record.key_id, record.name, record.scopes, record.models)
        expires_at_s = NEVER_S if record.expires_at_s is None else record.expires_at_s
        self.usable_until_s = expires_at_s if record.revoked_at_s is None else 0.0
        self.today = _budget(self.today, day, record.limits.tokens_per_day, self.sharing)
        self.lifetime = _budget(self.lifetime, FOREVER, record.limits.tokens_total, self.sharing)
        self.divide(now_s)

    def divide(self, now_s: float) -> None:
        """Take this process's part of the limits."""
        limits, sharing = self.record.limits, self.sharing
        self.generation = sharing.generation
        self.requests = _bucket(self.requests, limits.requests_per_minute, sharing, now_s)
        self.tokens = _bucket(self.tokens, limits.tokens_per_minute, sharing, now_s)
        self.concurrency = math.inf if limits.concurrency is None else math.ceil(limits.concurrency / sharing.processes)
        for budget in (self.today, self.lifetime):
            if budget is not None:
                budget.share(sharing.processes, sole=sharing.sole, offline=sharing.offline)

    def begin_day(self, day: int) -> Budget:
        """A budget that is new; what is in flight settles with yesterday's."""
        self.today = budget = _new_budget(day, self.record.limits.tokens_per_day or 0, self.sharing)
        return budget

    def tally(self, model: str, scope: str) -> Tally:
        """Where the model's usage is counted; beyond `MOST_TALLIES` names, all together."""
        if len(self.tallies) >= MOST_TALLIES:
            model = OTHER
        return self.tallies.setdefault((model, scope), Tally())

    @property
    def budgets(self) -> list[Budget]:
        """Those that it has."""
        return [budget for budget in (self.today, self.lifetime) if budget is not None]


class Reservation:
    """One admitted request: `access.Permit`.

    One that is dropped without having been settled goes to `Sharing.lost`, whatever thread the interpreter notices it
    in, and is settled from there.
    """

    __slots__ = ("_account", "_lifetime", "_open", "_tally", "_today", "_tokens")

    def __init__(self, account: Account, tally: Tally, tokens: int) -> None:
        self._account = account
        self._tally = tally
        self._today = account.today
        self._lifetime = account.lifetime
        self._tokens = tokens
        self._open = True

    def settle(self, *, prompt_tokens: int, generated_tokens: int) -> None:
        """Count what it did cost, and give back the rest. A second time does nothing."""
        if not self._open:
            return
        self._open = False
        account, tally, cost = self._account, self._tally, prompt_tokens + generated_tokens
        tally.prompt_tokens += prompt_tokens
        tally.generated_tokens += generated_tokens
        account.in_flight -= 1
        if account.tokens is not None:
            account.tokens.take(cost - self._tokens)
        if self._today is not None:
            self._today.settle(self._tokens, cost)
        if self._lifetime is not None:
            self._lifetime.settle(self._tokens, cost)
        account.sharing.active.add(account)

    def settle_in_full(self) -> None:
        """Settle at the estimate, for want of the truth."""
        self.settle(prompt_tokens=self._tokens, generated_tokens=0)

    def __del__(self) -> None:
        if self._open:
            self._account.sharing.lost.append(self)


def _nothing() -> None:
    """Nobody has to be woken."""


def _bucket(bucket: Bucket | None, per_minute: int | None, sharing: Sharing, now_s: float) -> Bucket | None:
    if per_minute is None:
        return None
    part = max(1.0, per_minute / sharing.processes)
    if bucket is None:
        return Bucket(part, now_s)
    if bucket.capacity != part:
        bucket.wait_s(0, now_s)
        bucket.resize(part)
    return bucket


def _budget(budget: Budget | None, window: int, limit: int | None, sharing: Sharing) -> Budget | None:
    if limit is None:
        return None
    if budget is None or budget.window != window:
        return _new_budget(window, limit, sharing)
    budget.free += limit - budget.limit
    budget.limit = limit
    return budget


def _new_budget(window: int, limit: int, sharing: Sharing) -> Budget:
    budget = Budget(window, limit)
    budget.share(sharing.processes, sole=sharing.sole, offline=sharing.offline)
    return budget
