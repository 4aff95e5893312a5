"""Who is known, who may, and what is counted: from memory, with clocks that are given."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.errors import AccessDeniedError, RateLimitedError, StateError, UnauthenticatedError
from llm_deploy.gateway.access import SCOPES, Access
from llm_deploy.gateway.accounts import MOST_TALLIES, Reservation, Sharing
from llm_deploy.gateway.admission import Admission
from llm_deploy.gateway.keys import NewKey, new_key
from llm_deploy.gateway.limits import SECONDS_A_DAY
from llm_deploy.gateway.state.records import KeyRecord, Limits
from llm_deploy.gateway.state.service import StoredAccess

NOON_S = 20_000.5 * SECONDS_A_DAY


@dataclass
class Desk:
    """An admission with one key and clocks that stand still."""

    made: NewKey = field(default_factory=new_key)
    wall_s: float = NOON_S
    monotonic_s: float = 0.0

    def __post_init__(self) -> None:
        self.admission = Admission(Sharing(sole=True), monotonic_s=lambda: self.monotonic_s, wall_s=lambda: self.wall_s)
        self.record = KeyRecord(
            key_id=self.made.key_id,
            name="shop",
            digest=self.made.digest,
            scopes=frozenset(SCOPES),
            created_at_s=NOON_S,
        )
        self.admission.adopt([self.record])

    def change(self, **values: Any) -> None:  # noqa: ANN401 - of any field
        """As an administrator would."""
        self.record = replace(self.record, **values)
        self.admission.adopt([self.record])

    def limit(self, **limits: int) -> None:
        """Give the key these limits, and no others."""
        self.change(limits=Limits(**limits))

    def admit(self, tokens: int = 10, scope: str = "chat", model: str = "twin") -> Reservation:
        """A request with this key."""
        return self.admission.admit(self.admission.caller(self.made.secret), scope=scope, model=model, tokens=tokens)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_state_is_an_access() -> None:
    """What `open_access` gives satisfies the protocol that routes are written against."""
    accepted: type[Access] = StoredAccess
    assert accepted is StoredAccess


def test_a_key_is_known_by_its_whole_secret(desk: Desk) -> None:
    """The id is public: with another secret it opens nothing."""
    assert desk.admission.caller(desk.made.secret).name == "shop"
    with pytest.raises(UnauthenticatedError, match="not known"):
        desk.admission.caller(new_key(desk.made.key_id).secret)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (None, "none was sent"),
        ("", "begin with llmd_"),
        ("llmd_short", "10 characters"),
        pytest.param(new_key().secret, "not known", id="unknown"),
    ],
    ids=["none", "empty", "short", "another"],
)
def test_what_is_wrong_with_a_key_is_said(desk: Desk, secret: str | None, said: str) -> None:
    """A missing, foreign, cut and unknown key are four different mistakes."""
    with pytest.raises(UnauthenticatedError, match=said):
        desk.admission.caller(secret)


@given(st.text(max_size=120))
def test_whatever_is_sent_as_a_key_is_refused_and_forgotten(text: str) -> None:
    """No text breaks the gateway, and none makes it remember anything."""
    desk = Desk()
    for secret in (text, desk.made.secret[:17] + text, "llmd_" + text):
        with pytest.raises(UnauthenticatedError) as caught:
            desk.admission.caller(secret)
        assert len(text) < 20 or text not in str(caught.value)
    assert list(desk.admission.accounts) == [desk.made.key_id]
    assert not desk.admission.sharing.active


def test_no_error_carries_the_secret(desk: Desk) -> None:
    """Errors are logged and sent; neither they nor what is shown of a key hold it."""
    desk.change(expires_at_s=NOON_S)
    with pytest.raises(UnauthenticatedError, match="has expired") as caught:
        desk.admission.caller(desk.made.secret)
    shown = f"{caught.value!r} {caught.value.hint} {desk.record!r} {desk.admission.accounts!r}"
    assert desk.made.secret not in shown
    assert str(desk.made.digest) not in shown


def test_a_key_is_good_until_it_expires(desk: Desk) -> None:
    """To the second, by the wall clock."""
    desk.change(expires_at_s=NOON_S + 1)
    desk.admission.caller(desk.made.secret)
    desk.wall_s += 1
    with pytest.raises(UnauthenticatedError, match="has expired"):
        desk.admission.caller(desk.made.secret)


def test_a_revoked_key_is_good_for_nothing(desk: Desk) -> None:
    """Its owner is told; who only knows its id is not."""
    desk.change(revoked_at_s=NOON_S)
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        desk.admission.caller(desk.made.secret)
    with pytest.raises(UnauthenticatedError, match="not known"):
        desk.admission.caller(new_key(desk.made.key_id).secret)


def test_the_old_secret_is_good_in_its_grace_time(desk: Desk) -> None:
    """Both are, and then the new one alone."""
    new = new_key(desk.made.key_id)
    desk.change(digest=new.digest, previous_digest=desk.made.digest, previous_until_s=NOON_S + 60)
    assert desk.admission.caller(desk.made.secret) == desk.admission.caller(new.secret)
    desk.wall_s += 60
    with pytest.raises(UnauthenticatedError, match="grace time is over"):
        desk.admission.caller(desk.made.secret)
    desk.admission.caller(new.secret)


def test_keys_are_not_taken_on_trust_for_ever(desk: Desk) -> None:
    """A database that has been away for longer than stated: no answer is better than one to a revoked key."""
    desk.admission.usable_until_s = NOON_S + 5
    desk.admission.caller(desk.made.secret)
    desk.wall_s += 5
    with pytest.raises(StateError):
        desk.admission.caller(desk.made.secret)


def test_a_key_is_good_for_its_scopes_and_models(desk: Desk) -> None:
    """Another scope or model is refused, and counted without the name that the caller invented."""
    desk.change(scopes=frozenset({"chat"}), models=frozenset({"twin"}))
    desk.admit()
    with pytest.raises(AccessDeniedError, match="not good for rag; it is for chat"):
        desk.admit(scope="rag")
    with pytest.raises(AccessDeniedError, match="model 'other'"):
        desk.admit(model="other")
    tallies = desk.admission.accounts[desk.made.key_id].tallies
    assert {key: tally.refused for key, tally in tallies.items()} == {
        ("twin", "chat"): 0, ("(denied)", "rag"): 1, ("(denied)", "chat"): 1
    }  # fmt: skip


def test_a_rate_says_truthfully_when_to_come_again(desk: Desk) -> None:
    """Then the request passes."""
    desk.limit(requests_per_minute=2)
    permits = [desk.admit(), desk.admit()]
    with pytest.raises(RateLimitedError, match="2 requests a minute") as caught:
        desk.admit()
    assert caught.value.retry_after_s == pytest.approx(30)
    desk.monotonic_s += caught.value.retry_after_s
    permits.append(desk.admit())
    assert len(permits) == 3


def test_tokens_that_were_not_used_are_given_back(desk: Desk) -> None:
    """The estimate is reserved; the truth is what stays taken."""
    desk.limit(tokens_per_minute=100, tokens_per_day=100, tokens_total=100)
    permit = desk.admit(tokens=100)
    with pytest.raises(RateLimitedError):
        desk.admit(tokens=1)
    permit.settle(prompt_tokens=3, generated_tokens=7)
    with pytest.raises(RateLimitedError):
        desk.admit(tokens=91)
    desk.admit(tokens=90)


def test_a_refused_request_takes_nothing(desk: Desk) -> None:
    """Neither from the rates nor from the budgets nor a place, whichever of them refuses."""
    desk.limit(requests_per_minute=1000, tokens_per_minute=1000, tokens_per_day=50, tokens_total=40, concurrency=9)
    account = desk.admission.accounts[desk.made.key_id]
    for tokens in (45, 60):
        with pytest.raises((AccessDeniedError, RateLimitedError)):
            desk.admit(tokens=tokens)
    assert account.requests is not None
    assert account.tokens is not None
    assert (account.requests.level, account.tokens.level, account.in_flight) == (1000, 1000, 0)
    assert [budget.claimed for budget in account.budgets] == [0, 0]


def test_a_day_that_is_used_up_ends_at_midnight(desk: Desk) -> None:
    """The time to wait is until then, and then the budget is whole again, whatever is still in flight."""
    desk.limit(tokens_per_day=100)
    desk.admit(tokens=60).settle(prompt_tokens=60, generated_tokens=0)
    late = desk.admit(tokens=40)
    with pytest.raises(RateLimitedError, match="reserved by other requests") as soon:
        desk.admit(tokens=20)
    assert soon.value.retry_after_s < 2
    with pytest.raises(RateLimitedError, match="100 tokens a day") as caught:
        desk.admit(tokens=50)
    assert caught.value.retry_after_s == SECONDS_A_DAY / 2
    desk.wall_s += caught.value.retry_after_s
    late.settle(prompt_tokens=40, generated_tokens=0)
    desk.admit(tokens=100)


def test_a_budget_that_no_time_renews_is_no_rate(desk: Desk) -> None:
    """Clients try again after 429 by themselves, and not after 403."""
    desk.limit(tokens_total=100)
    desk.admit(tokens=90).settle(prompt_tokens=90, generated_tokens=0)
    with pytest.raises(AccessDeniedError, match="100 tokens of this API key"):
        desk.admit(tokens=11)
    desk.admit(tokens=10)
    desk.limit(tokens_total=200)
    desk.admit(tokens=100)


def test_a_request_larger_than_a_day_is_refused_for_good(desk: Desk) -> None:
    """No time of waiting lets it pass."""
    desk.limit(tokens_per_day=100)
    with pytest.raises(AccessDeniedError, match="100 a day"):
        desk.admit(tokens=101)


def test_places_are_free_again_after_settling_once(desk: Desk) -> None:
    """A second settling of the same permit frees no second place and counts nothing."""
    desk.limit(concurrency=2)
    first, second = desk.admit(), desk.admit()
    with pytest.raises(RateLimitedError, match="2 requests in flight"):
        desk.admit()
    for _ in range(3):
        first.settle(prompt_tokens=1, generated_tokens=1)
    third = desk.admit()
    with pytest.raises(RateLimitedError):
        desk.admit()
    tally = desk.admission.accounts[desk.made.key_id].tallies["twin", "chat"]
    assert (tally.requests, tally.prompt_tokens, tally.refused) == (3, 1, 2)
    assert second is not third


def test_a_permit_that_is_dropped_is_not_lost(desk: Desk) -> None:
    """A programming error elsewhere costs a place for a moment, not for ever."""
    desk.limit(concurrency=1)
    permit = desk.admit(tokens=10)
    del permit
    gc.collect()
    assert len(desk.admission.sharing.lost) == 1


def test_limits_that_change_leave_what_is_in_flight_in_order(desk: Desk) -> None:
    """A budget that is taken away or given while a request runs neither breaks nor gains by its end."""
    permit = desk.admit(tokens=50)
    desk.limit(tokens_total=100, tokens_per_day=100, tokens_per_minute=100)
    permit.settle(prompt_tokens=20, generated_tokens=0)
    account = desk.admission.accounts[desk.made.key_id]
    assert [budget.claimed for budget in account.budgets] == [0, 0]
    permit = desk.admit(tokens=50)
    desk.change(limits=Limits())
    permit.settle(prompt_tokens=50, generated_tokens=0)
    assert account.in_flight == 0


def test_processes_divide_the_rates(desk: Desk) -> None:
    """So that together they let pass what the key may, whatever their number."""
    desk.limit(requests_per_minute=100, concurrency=5)
    desk.admission.divide(4, offline=False)
    desk.admit()
    account = desk.admission.accounts[desk.made.key_id]
    assert account.requests is not None
    assert account.requests.capacity == 25
    assert account.concurrency == 2


def test_names_of_models_do_not_fill_the_memory(desk: Desk) -> None:
    """A route that passes unknown names on costs a bounded number of counters."""
    for number in range(2 * MOST_TALLIES):
        desk.admit(model=f"model-{number}").settle(prompt_tokens=1, generated_tokens=0)
    tallies = desk.admission.accounts[desk.made.key_id].tallies
    assert len(tallies) == MOST_TALLIES + 1
    assert sum(tally.requests for tally in tallies.values()) == 2 * MOST_TALLIES
