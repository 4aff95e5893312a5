"""What is told to the database, and that no outage loses or doubles a count. Against a real SQLite file."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest  # noqa: TC002 - a conditional block a file is noise
from hypothesis import given, settings, strategies as st

from llm_deploy.errors import AccessDeniedError, RateLimitedError
from llm_deploy.gateway.access import SCOPES
from llm_deploy.gateway.accounts import Reservation, Sharing
from llm_deploy.gateway.admission import Admission
from llm_deploy.gateway.bookkeeping import IDLE_AFTER, MOST_PENDING, Bookkeeping
from llm_deploy.gateway.keys import new_key
from llm_deploy.gateway.limits import CREDIT_SHARE, SECONDS_A_DAY
from llm_deploy.gateway.state.administration import KeyService
from llm_deploy.gateway.state.records import Answer, Counts, KeyRecord, Limits, Work
from llm_deploy.gateway.state.store import Store

NOON_S = 20_000.5 * SECONDS_A_DAY
LARGEST = 400
LIMIT = 2000


@dataclass
class Process:
    """A gateway process without its event loop: requests, and exchanges whose beginning and end are told."""

    store: Store
    wall_s: list[float]
    secret: str = ""
    open: list[tuple[Reservation, int]] = field(default_factory=list)
    spent: int = 0
    under_way: Work | None = None

    def __post_init__(self) -> None:
        self.admission = Admission(
            Sharing(sole=False), monotonic_s=lambda: self.wall_s[0], wall_s=lambda: self.wall_s[0]
        )
        self.books = Bookkeeping(self.admission, lambda: self.wall_s[0], 30 * 86_400)

    def start(self) -> None:
        """Enter the database and load the keys."""
        self.store.open()
        self.books.accept(None, self.store.load(self.admission.today()))

    def admit(self, tokens: int) -> bool:
        """A request; whether it was let in."""
        try:
            caller = self.admission.caller(self.secret)
            self.open.append((self.admission.admit(caller, scope="chat", model="twin", tokens=tokens), tokens))
        except (AccessDeniedError, RateLimitedError):
            return False
        return True

    def settle(self, share: float) -> None:
        """End the oldest request, at a share of its estimate."""
        if self.open:
            permit, tokens = self.open.pop(0)
            cost = int(tokens * share)
            permit.settle(prompt_tokens=cost, generated_tokens=0)
            self.spent += cost

    def begin_exchange(self) -> None:
        """Collect; requests go on meanwhile."""
        if self.under_way is None:
            self.under_way = self.books.work()

    def end_exchange(self, *, lost: bool = False, dead: bool = False) -> None:
        """Do it; the answer may be lost, or the database away."""
        work, self.under_way = self.under_way or self.books.work(), None
        if not dead:
            answer = self.store.exchange(work)
            if not lost:
                self.books.accept(work, answer)
                return
        self.books.fail("cut")

    @property
    def claimed(self) -> int:
        """What it has let pass: spent, and in flight at the estimate."""
        return self.spent + sum(tokens for _, tokens in self.open)


@contextmanager
def processes(number: int, limits: Limits) -> Iterator[tuple[list[Process], KeyService]]:
    """Some gateways on one database, and its keys."""
    with tempfile.TemporaryDirectory() as folder:
        url, wall_s = f"sqlite:///{Path(folder) / 'gateway.db'}", [NOON_S]
        service = KeyService(url, wall_s=lambda: wall_s[0])
        secret = service.create("shop", limits=limits).secret
        started = []
        for _ in range(number):
            store = Store(url, lambda: wall_s[0])
            store.sole = False
            process = Process(store, wall_s, secret)
            process.store.register()
            process.books.accept(None, process.store.load(process.admission.today()))
            started.append(process)
        yield started, service
        for process in started:
            process.store.close()
        service.close()


who = st.integers(0, 2)
requests = st.tuples(st.just("admit"), who, st.integers(1, LARGEST))
endings = st.tuples(st.just("settle"), who, st.floats(0, 1))
begun = st.tuples(st.just("begin"), who, st.just(0))
ended = st.tuples(st.just("end"), who, st.just(0))
lost = st.tuples(st.just("lost"), who, st.just(0))
dead = st.tuples(st.just("dead"), who, st.just(0))


def run(all_of_them: list[Process], events: list[tuple[str, int, float]]) -> None:
    """Let it all happen in this order."""
    for event, index, number in events:
        process = all_of_them[index]
        if event == "admit":
            process.admit(int(number))
        elif event == "settle":
            process.settle(number)
        elif event == "begin":
            process.begin_exchange()
        else:
            process.end_exchange(lost=event == "lost", dead=event == "dead")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(requests, requests, endings, begun, ended), max_size=60))
def test_no_more_than_the_budget_and_a_twentieth_and_a_request_each(events: list[tuple[str, int, float]]) -> None:
    """Three processes share a budget, in any order of requests, endings and exchanges that overlap with them."""
    with processes(3, Limits(tokens_per_day=LIMIT, tokens_total=LIMIT)) as (all_of_them, _):
        run(all_of_them, events)
        passed = sum(process.claimed for process in all_of_them)
    assert passed <= LIMIT + LIMIT // CREDIT_SHARE + 3 * LARGEST


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(requests, requests, endings, begun, ended, lost, dead), max_size=60))
def test_outages_let_pass_twice_the_budget_at_the_worst_and_no_count_is_lost_or_doubled(
    events: list[tuple[str, int, float]],
) -> None:
    """Who is cut off goes on with its part of what was free; answers that are lost change nothing in the books."""
    with processes(3, Limits(tokens_per_day=LIMIT)) as (all_of_them, service):
        run(all_of_them, events)
        passed = sum(process.claimed for process in all_of_them)
        for process in all_of_them:
            while process.open:
                process.settle(1.0)
            for _ in range(3):
                process.end_exchange()
            assert not process.books.unwritten
        spent = sum(process.spent for process in all_of_them)
        assert service.spent(service.find("shop")).today == spent
        assert sum(line.prompt_tokens for line in service.usage(None, since_s=7200, grain="total")) == spent
    assert passed <= 2 * LIMIT + LIMIT // CREDIT_SHARE + 3 * LARGEST


def test_all_of_a_budget_can_be_used_by_processes_that_share_it() -> None:
    """What one has been granted and does not use comes back to the others."""
    with processes(3, Limits(tokens_per_day=LIMIT)) as (all_of_them, _):
        busy, passed = all_of_them[0], 0
        for process in all_of_them:
            passed += process.admit(1)
        for _ in range(4 * IDLE_AFTER):
            for process in all_of_them:
                process.settle(1.0)
                process.end_exchange()
            passed += 50 * busy.admit(50)
        assert LIMIT - 50 < passed <= LIMIT


def test_a_process_that_died_keeps_what_it_spent_and_returns_the_rest() -> None:
    """After a minute of silence the others may use what it had been granted."""
    with processes(2, Limits(tokens_total=LIMIT)) as ((dying, living), service):
        dying.admit(100)
        dying.settle(1.0)
        dying.end_exchange()
        living.admit(1)
        living.end_exchange()
        before = living.admission.accounts[service.find("shop").key_id].lifetime
        assert before is not None
        assert before.free + before.granted < LIMIT - 100
        living.wall_s[0] += 61
        living.end_exchange()
        assert before.free + before.granted == LIMIT - 100


def test_a_process_that_was_taken_for_dead_counts_nothing_twice() -> None:
    """It comes back after days, is told so, and opens new books; what it had spent stays spent, once."""
    with processes(2, Limits(tokens_total=LIMIT)) as ((sleeper, living), service):
        sleeper.admit(100)
        sleeper.settle(1.0)
        sleeper.end_exchange()
        living.wall_s[0] += 8 * SECONDS_A_DAY
        living.store.register()
        sleeper.admit(10)
        sleeper.settle(1.0)
        answer = sleeper.store.exchange(sleeper.books.work())
        assert answer.fenced
        sleeper.books.begin_again()
        sleeper.store.register()
        sleeper.admit(5)
        sleeper.settle(1.0)
        sleeper.end_exchange()
        assert service.spent(service.find("shop")).total == 105


def one_desk(*, keys: int = 1) -> tuple[Admission, Bookkeeping, list[float], list[str]]:
    """Books with no database behind them."""
    wall_s = [NOON_S]
    admission = Admission(Sharing(sole=True), monotonic_s=lambda: wall_s[0], wall_s=lambda: wall_s[0])
    made = [new_key() for _ in range(keys)]
    records = [
        KeyRecord(key_id=key.key_id, name="n", digest=key.digest, scopes=frozenset(SCOPES), created_at_s=0.0)
        for key in made
    ]
    admission.adopt(records)
    return admission, Bookkeeping(admission, lambda: wall_s[0], 3600), wall_s, [key.secret for key in made]


def test_a_batch_stays_the_same_until_it_is_written() -> None:
    """What comes meanwhile goes into the next one, so that a repeated batch is recognised by its number."""
    admission, books, _, (secret,) = one_desk()
    admission.admit(admission.caller(secret), scope="chat", model="m", tokens=1).settle(
        prompt_tokens=1, generated_tokens=2
    )
    work = books.work()
    first = work.batch
    admission.admit(admission.caller(secret), scope="rag", model="m", tokens=1).settle(
        prompt_tokens=3, generated_tokens=4
    )
    assert books.work().batch is first
    books.accept(work, Answer({}, (), 0, 1))
    late, work = work, books.work()
    second = work.batch
    books.accept(late, Answer({}, (), 0, 1))
    assert books.work().batch is second
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert list(first.rows.values()) == [Counts(1, 1, 2, 0)]
    assert list(second.rows.values()) == [Counts(1, 3, 4, 0)]
    books.accept(work, Answer({}, (), 0, 1))
    assert books.work().batch is None


def test_an_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A database that is away for a night does not fill the log."""
    _, books, _, _ = one_desk()
    with caplog.at_level(logging.WARNING, "llm_deploy"):
        for _ in range(50):
            books.fail("refused")
        books.accept(None, Answer({}, (), 0, 1))
        books.accept(None, Answer({}, (), 0, 1))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_keys_are_good_for_the_stated_time_after_the_last_answer() -> None:
    """Each answer of the database begins it anew."""
    admission, books, wall_s, _ = one_desk()
    books.accept(None, Answer({}, (), 0, 1))
    assert admission.usable_until_s == NOON_S + 3600
    wall_s[0] += 100
    books.fail("away")
    assert admission.usable_until_s == NOON_S + 3600
    books.accept(None, Answer({}, (), 0, 1))
    assert admission.usable_until_s == NOON_S + 3700


def test_a_long_outage_takes_bounded_memory_and_keeps_every_sum() -> None:
    """Hours become days, and then models one; tokens and requests of every key stay what they were."""
    admission, books, wall_s, secrets = one_desk(keys=40)
    counted: Counter[str] = Counter()
    for _ in range(30):
        wall_s[0] += 3600
        for secret in secrets:
            caller = admission.caller(secret)
            for model in range(20):
                permit = admission.admit(caller, scope="chat", model=f"m{model}", tokens=1)
                permit.settle(prompt_tokens=1, generated_tokens=1)
                counted[caller.key_id] += 1
        books.work()
        books.fail("away")
        assert len(books._pending) <= MOST_PENDING
    found: Counter[str] = Counter()
    for _ in range(2):
        work = books.work()
        assert work.batch is not None
        for key, counts in work.batch.rows.items():
            found[key.key_id] += counts.requests
        books.accept(work, Answer({}, (), 0, 1))
    assert found == counted


def test_a_dropped_permit_is_counted_at_its_estimate() -> None:
    """For want of the truth; its place is free again."""
    admission, books, _, (secret,) = one_desk()
    permit = admission.admit(admission.caller(secret), scope="chat", model="m", tokens=9)
    del permit
    batch = books.work().batch
    assert batch is not None
    assert list(batch.rows.values()) == [Counts(1, 9, 0, 0)]


def test_keys_that_nobody_uses_cost_nothing() -> None:
    """An exchange looks at those accounts only that were used."""
    admission, books, _, secrets = one_desk(keys=3)
    admission.admit(admission.caller(secrets[0]), scope="chat", model="m", tokens=1).settle(
        prompt_tokens=0, generated_tokens=0
    )
    assert len(admission.sharing.active) == 1
    books.accept(books.work(), Answer({}, (), 0, 1))
    books.work()
    assert not admission.sharing.active
