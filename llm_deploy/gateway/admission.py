"""Who is calling, and may they: answered from memory. No database, no event loop; the clocks are arguments.

Keys that are unknown cost one hash and leave nothing behind: all keys are in memory, so that nothing has to be asked
about one that is not, and nothing remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import compare_digest
from time import monotonic, time
from typing import Final

from llm_deploy.errors import (
    AccessDeniedError,
    LlmDeployError,
    RateLimitedError,
    StateError,
    UnauthenticatedError,
)
from llm_deploy.gateway.access import Caller
from llm_deploy.gateway.accounts import NEVER_S, Account, Reservation, Sharing, Tally
from llm_deploy.gateway.keys import ID_OF_KEY, PREFIX, digest, flaw
from llm_deploy.gateway.limits import SECONDS_A_DAY, Budget, day
from llm_deploy.gateway.state.records import KeyRecord

Clock = Callable[[], float]
RETRY_SOON_S: Final = 1.0
"""When it is not known when a place or a token becomes free."""
DENIED: Final = "(denied)"
"""What refused models are counted under: their names are the caller's invention."""
_HOW_TO_SEND: Final = f"Send `Authorization: Bearer {PREFIX}...`; `llmdeploy gateway keys create NAME` makes a key."


class Admission:
    """The keys of one gateway process.

    Args:
        sharing: What the accounts share.
        monotonic_s, wall_s: The clocks; the first for rates, the second for expiry and days.
    """

    def __init__(self, sharing: Sharing, *, monotonic_s: Clock = monotonic, wall_s: Clock = time) -> None:
        self.sharing = sharing
        self.usable_until_s = NEVER_S
        """When keys are no longer accepted, if the database goes on not answering."""
        self.accounts: dict[str, Account] = {}
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._day = 0

    def caller(self, secret: str | None) -> Caller:
        """As in `access.Access`.

        Raises:
            UnauthenticatedError: No key, or one that is mistyped, unknown, expired or revoked.
            StateError: The database has not answered for so long that keys are no longer taken on trust.
        """
        if secret is None:
            raise UnauthenticatedError("This needs an API key, and none was sent.", hint=_HOW_TO_SEND)
        account = self.accounts.get(secret[ID_OF_KEY])
        if account is None:
            raise _unknown(secret)
        now_s = self._wall_s()
        if not compare_digest(sha256(secret.encode("utf-8", "replace")).digest(), account.record.digest):
            _check_previous(secret, account.record, now_s)
        if now_s >= account.usable_until_s:
            raise _unusable(account.record)
        if now_s >= self.usable_until_s:
            raise StateError("API keys cannot be checked now: the gateway's database does not answer.")
        return account.caller

    def admit(self, caller: Caller, *, scope: str, model: str, tokens: int) -> Reservation:
        """As in `access.Access`. Either everything is taken (rates, budgets, a place), or nothing.

        Raises:
            UnauthenticatedError: The key has gone since `caller`.
            AccessDeniedError: The key is not good for this scope or model, or the request is larger than it may ever
                have, or its budget is used up for good.
            RateLimitedError: A rate, the day's budget or the concurrency of the key is used up.
        """
        account = self.accounts.get(caller.key_id)
        if account is None:
            raise UnauthenticatedError("This API key is not known any more.")
        if scope not in account.caller.scopes or (
            account.caller.models is not None and model not in account.caller.models
        ):
            raise self._denied(account, scope, model)
        now_s = self._monotonic_s()
        if account.generation != self.sharing.generation:
            account.divide(now_s)
        refusal = self._refusal(account, tokens, now_s)
        tally = account.tallies.get((model, scope)) or account.tally(model, scope)
        account.sharing.active.add(account)
        if refusal is not None:
            tally.refused += 1
            raise refusal
        return _admitted(account, tally, tokens)

    def adopt(self, records: Iterable[KeyRecord]) -> None:
        """Take in keys that are new or changed; what is in flight and in buckets stays."""
        now_s, today = self._monotonic_s(), self.today()
        for record in records:
            account = self.accounts.get(record.key_id)
            if account is None:
                self.accounts[record.key_id] = Account(record, self.sharing, now_s, today)
            else:
                account.update(record, now_s, today)

    def divide(self, processes: int, *, offline: bool) -> None:
        """Take this process's part of all limits, where how many share them or the database's health has changed.

        Each account does so at its next request: a hundred thousand of them at once would hold the loop up.
        """
        if (processes, offline) == (self.sharing.processes, self.sharing.offline):
            return
        self.sharing.processes, self.sharing.offline = processes, offline
        self.sharing.generation += 1

    def today(self) -> int:
        """The number of the UTC day, see `limits.day`."""
        self._day = day(self._wall_s(), self._day)
        return self._day

    def _refusal(self, account: Account, tokens: int, now_s: float) -> LlmDeployError | None:
        """Why it cannot pass now; nothing is taken."""
        if account.in_flight >= account.concurrency:
            limit = account.record.limits.concurrency
            return RateLimitedError(f"This API key may have {limit} requests in flight.", retry_after_s=RETRY_SOON_S)
        wait_s = account.requests.wait_s(1, now_s) if account.requests is not None else 0.0
        if account.tokens is not None:
            wait_s = max(wait_s, account.tokens.wait_s(tokens, now_s))
        if wait_s > 0:
            return _too_fast(account.record, wait_s)
        if account.today is not None and (refusal := self._over_today(account, account.today, tokens)):
            return refusal
        if account.lifetime is not None and not account.lifetime.fits(tokens):
            return _over_lifetime(account.lifetime, tokens)
        return None

    def _over_today(self, account: Account, budget: Budget, tokens: int) -> LlmDeployError | None:
        today = self.today()
        if budget.window != today:
            budget = account.begin_day(today)
        if budget.fits(tokens):
            return None
        if tokens > budget.limit:
            return AccessDeniedError(
                f"This request may need {tokens} tokens; its API key has {budget.limit} a day.",
                hint="Lower max_tokens.",
            )
        if budget.may_fit_soon(tokens):
            return RateLimitedError(
                f"What is left of the day's {budget.limit} tokens is reserved by other requests.",
                retry_after_s=RETRY_SOON_S,
            )
        return RateLimitedError(
            f"The {budget.limit} tokens a day of this API key are used up; the day ends at midnight UTC.",
            retry_after_s=(today + 1) * SECONDS_A_DAY - self._wall_s(),
        )

    @staticmethod
    def _denied(account: Account, scope: str, model: str) -> AccessDeniedError:
        account.sharing.active.add(account)
        account.tally(DENIED, scope).refused += 1
        if scope not in account.caller.scopes:
            good_for = ", ".join(sorted(account.caller.scopes))
            return AccessDeniedError(f"This API key is not good for {scope}; it is for {good_for}.")
        return AccessDeniedError(f"This API key is not good for the model {model!r:.200}.")


def _admitted(account: Account, tally: Tally, tokens: int) -> Reservation:
    tally.requests += 1
    account.in_flight += 1
    if account.requests is not None:
        account.requests.take(1)
    if account.tokens is not None:
        account.tokens.take(tokens)
    for budget in account.budgets:
        budget.reserved += tokens
        if budget.claimed > budget.granted:
            account.sharing.wake()
    return Reservation(account, tally, tokens)


def _unknown(secret: str) -> UnauthenticatedError:
    wrong = flaw(secret)
    if wrong is None:
        return UnauthenticatedError("This API key is not known.", hint="It is well-formed: of another gateway?")
    return UnauthenticatedError(f"{wrong[0].upper()}{wrong[1:]}.", hint=_HOW_TO_SEND)


def _check_previous(secret: str, record: KeyRecord, now_s: float) -> None:
    """Let the secret before the last rotation pass, in its grace time."""
    old = record.previous_digest
    if old is None or not compare_digest(digest(secret), old):
        raise _unknown(secret)
    if now_s >= (record.previous_until_s or 0):
        raise UnauthenticatedError("This API key was replaced by a new one, and its grace time is over.")


def _unusable(record: KeyRecord) -> UnauthenticatedError:
    """Only who has the right secret comes here, and may know what became of it."""
    became = "has expired" if record.revoked_at_s is None else "was revoked"
    return UnauthenticatedError(f"The API key {record.key_id} {became}.")


def _too_fast(record: KeyRecord, wait_s: float) -> RateLimitedError:
    limits = record.limits
    rates = [
        f"{rate} {word} a minute"
        for rate, word in ((limits.requests_per_minute, "requests"), (limits.tokens_per_minute, "tokens"))
        if rate is not None
    ]
    return RateLimitedError(f"This API key may use {' and '.join(rates)}.", retry_after_s=wait_s)


def _over_lifetime(budget: Budget, tokens: int) -> LlmDeployError:
    if tokens <= budget.limit and budget.may_fit_soon(tokens):
        return RateLimitedError(
            f"What is left of this key's {budget.limit} tokens is reserved by other requests.",
            retry_after_s=RETRY_SOON_S,
        )
    return AccessDeniedError(
        f"The {budget.limit} tokens of this API key are used up, or too few are left for a request of {tokens}.",
        hint="Waiting does not help; a larger budget does: llmdeploy gateway keys change NAME --tokens-total N.",
    )
