"""What the memory tells the database, and what it does with the answer. Pure, but for the clock that is given.

All of it runs on the event loop's thread, between requests; only the exchange itself happens elsewhere.
"""

from __future__ import annotations

import logging
from typing import Final

from llm_deploy.gateway.accounts import OTHER, Account
from llm_deploy.gateway.admission import Admission, Clock
from llm_deploy.gateway.limits import FOREVER, Budget
from llm_deploy.gateway.state.records import Answer, Batch, Claim, Counts, Grant, UsageKey, Work

SECONDS_AN_HOUR: Final = 3600
HOURS_A_DAY: Final = 24
LONGEST_MODEL: Final = 200
MOST_PENDING: Final = 20_000
"""Different counts that are kept while the database does not answer: 10 MB at most. Beyond, hours become days, and then
models one."""
IDLE_AFTER: Final = 30
"""Exchanges with the database after which a key that nobody uses gives its grant back."""

_log = logging.getLogger(__name__)


class Bookkeeping:
    """Pending usage, claims on budgets, and the health of the database, for one gateway process."""

    def __init__(self, admission: Admission, wall_s: Clock, keys_usable_s: float) -> None:
        self.healthy = True
        self._admission = admission
        self._sharing = admission.sharing
        self._wall_s = wall_s
        self._keys_usable_s = keys_usable_s
        self._revision = 0
        self._idle_after = 1 if self._sharing.sole else IDLE_AFTER
        self._pending: dict[UsageKey, Counts] = {}
        self._batch: Batch | None = None
        self._written = 0

    @property
    def unwritten(self) -> bool:
        """Whether usage was collected that the database has not confirmed."""
        return bool(self._pending or self._batch)

    def work(self, *, last: bool = False) -> Work:
        """Collect what there is to tell. Until `accept`, the same batch is told again.

        Args:
            last: This process ends: all grants are given back.
        """
        self._collect()
        claims = tuple(claim for account in list(self._sharing.active) for claim in self._claims(account, last=last))
        if self._batch is None and self._pending:
            self._batch = Batch(self._written + 1, self._pending)
            self._pending = {}
        return Work(self._batch, claims, self._revision)

    def accept(self, work: Work | None, answer: Answer) -> None:
        """The database has answered: the batch is written, grants are renewed, changed keys take effect."""
        if not self.healthy:
            _log.warning("the gateway's database answers again")
        self.healthy = True
        self._admission.usable_until_s = self._wall_s() + self._keys_usable_s
        if work is not None and work.batch is not None and work.batch is self._batch:
            self._written = work.batch.number
            self._batch = None
        self._revision = max(self._revision, answer.revision)
        self._admission.divide(answer.processes, offline=False)
        self._admission.adopt(answer.keys)
        for (key_id, window), grant in answer.grants.items():
            _take_over(self._admission.accounts.get(key_id), window, grant)

    def fail(self, why: str) -> None:
        """The database has not answered; said once, until it does again."""
        _log.debug("the gateway's database does not answer: %s", why)
        if self.healthy:
            _log.error("usage is kept in memory, for the gateway's database does not answer: %s", why)
        self.healthy = False
        self._admission.divide(self._sharing.processes, offline=True)

    def begin_again(self) -> None:
        """This process was taken for dead, after days of silence, and its books were closed; it opens new ones.

        Whether the last batch had been written is not known any more. It is left out, so that nothing counts twice.
        """
        if self._batch is not None:
            _log.warning(
                "%d counts of usage are left out: whether they were written is not known", len(self._batch.rows)
            )
        self._batch, self._written = None, 0
        for account in self._admission.accounts.values():
            for budget in account.budgets:
                budget.spent = budget.granted = 0

    def _collect(self) -> None:
        """Move what was counted from the accounts to what is pending."""
        while self._sharing.lost:
            self._sharing.lost.popleft().settle_in_full()
        hour = int(self._wall_s() // SECONDS_AN_HOUR)
        for account in list(self._sharing.active):
            used = self._count(account, hour)
            account.idle_for = 0 if used or account.in_flight else account.idle_for + 1
            if account.idle_for and (not account.budgets or account.idle_for > self._idle_after + 1):
                self._sharing.active.discard(account)
        if len(self._pending) > MOST_PENDING:
            self._pending = _coarser(self._pending)

    def _count(self, account: Account, hour: int) -> bool:
        used = False
        for (model, scope), tally in account.tallies.items():
            counts = tally.empty()
            if any(counts):
                used = True
                _add(self._pending, UsageKey(account.record.key_id, model[:LONGEST_MODEL], scope, hour), counts)
        return used

    def _claims(self, account: Account, *, last: bool) -> list[Claim]:
        """What the account has used of its budgets. What it gives back counts from now on."""
        idle = last or account.idle_for > self._idle_after
        return [
            Claim(
                account.record.key_id,
                budget.window,
                budget.limit,
                budget.spent,
                budget.reserved,
                budget.shrink(idle=idle),
                idle,
            )
            for budget in account.budgets
        ]


def _take_over(account: Account | None, window: int, grant: Grant) -> None:
    budget: Budget | None = None
    if account is not None:
        budget = account.lifetime if window == FOREVER else account.today
    if budget is not None and budget.window == window:
        budget.grant(grant.granted, grant.free, grant.elsewhere)


def _coarser(pending: dict[UsageKey, Counts]) -> dict[UsageKey, Counts]:
    """The same sums by day in place of hours; if those are still too many, of all models together."""
    by_day: dict[UsageKey, Counts] = {}
    for key, counts in pending.items():
        _add(by_day, key._replace(hour=key.hour - key.hour % HOURS_A_DAY), counts)
    if len(by_day) <= MOST_PENDING // 2:
        return by_day
    by_key: dict[UsageKey, Counts] = {}
    for key, counts in by_day.items():
        _add(by_key, key._replace(model=OTHER, scope=OTHER), counts)
    return by_key


def _add(to: dict[UsageKey, Counts], key: UsageKey, counts: Counts) -> None:
    before = to.get(key)
    to[key] = counts if before is None else Counts(*(old + new for old, new in zip(before, counts, strict=True)))
