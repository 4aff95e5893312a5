"""The run: what is sent when, and what is counted. On a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.bench.arrivals import Arrival, at_rate, constant
from llm_deploy.bench.load import TIMEOUT, UNFINISHED, Ask, Bounds, Outcome, Run
from llm_deploy.bench.prompts import Lengths, Prompts
from llm_deploy.bench.slo import Slo
from llm_deploy.bench.windows import total
from llm_deploy.dialects.types import Chunk, GenerationRequest
from llm_deploy.errors import InferenceError
from tests.fakes import virtual_time
from tests.fakes.queueing_model import QueueingModel

Clock = Callable[[], float]


def new_run(ask: Ask, clock: Clock, bounds: Bounds, slo: Slo | None = None, stop: asyncio.Event | None = None) -> Run:
    fixed = Lengths("fixed", 10)
    prompts = Prompts(seed=0, output_tokens=fixed, input_tokens=fixed)
    return Run(ask, prompts, slo=slo or Slo(), bounds=bounds, stop=stop or asyncio.Event(), clock=clock)


def opened(model: QueueingModel, rate: float, bounds: Bounds, slo: Slo | None = None) -> Outcome:
    """An open loop at a constant rate."""

    async def main(clock: Clock) -> Outcome:
        return await new_run(model.stream, clock, bounds, slo).open_loop(constant(rate))

    return virtual_time.run(main)


def test_an_idle_model_is_measured_exactly() -> None:
    """First token, gaps and totals are the model's own; tokens and requests add up."""
    outcome = opened(QueueingModel(slots=100), 10, Bounds(5.0))
    seen = total(outcome.windows)
    assert (seen.due, seen.good, seen.ended_well, seen.tokens, seen.prompt_tokens) == (50, 50, 50, 500, 250)
    assert seen.ttft.percentile_s(50) == pytest.approx(0.1, rel=0.01)
    assert seen.ttft.max_s == pytest.approx(0.1)
    assert seen.gap.count == 450
    assert seen.gap.max_s == pytest.approx(0.01)
    assert seen.tpot.max_s == pytest.approx(0.01)
    assert seen.total.max_s == pytest.approx(0.19)
    assert seen.lag.max_s == pytest.approx(0.0, abs=1e-9)
    assert seen.busy_s == pytest.approx(50 * 0.19)


def test_a_stall_is_not_left_out() -> None:
    """A model that stops for two seconds keeps twenty requests waiting, and all of them are counted as waiting.

    A closed loop of one user would count one: that is the omission that open loops are there to avoid.
    """
    stalled = QueueingModel(slots=100, stalled=(1001.0, 1003.0))
    seen = total(opened(stalled, 10, Bounds(5.0)).windows)
    assert seen.total.percentile_s(70) > 0.3 > seen.total.percentile_s(50)
    assert seen.total.max_s == pytest.approx(2.1, abs=0.2)


@given(st.integers(1, 8), st.floats(1, 60), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_requests_that_wait_for_a_slot_have_waited(in_flight: int, rate: float, seed: int) -> None:
    """However few requests may be under way, each latency counts from when its request was due.

    With one slot in the model as well, the latencies are those of the same queue without any bound of ours.
    """

    def run(most: int) -> list[tuple[float, float]]:
        async def main(clock: Clock) -> Outcome:
            run = new_run(QueueingModel(slots=1).stream, clock, Bounds(5.0, most, 1e6, 1e6))
            return await run.open_loop(at_rate(rate, "poisson", Random(seed)))  # noqa: S311 - repeatable on purpose

        return total(virtual_time.run(main).windows).total.shares()

    for bound, free in zip(run(in_flight), run(10_000), strict=True):
        assert bound == pytest.approx(free, rel=0.01)


def test_what_is_held_back_is_said() -> None:
    """And is not taken for the generator's own lateness."""
    seen = total(opened(QueueingModel(slots=1), 20, Bounds(5.0, in_flight=2)).windows)
    assert seen.held_back > 80
    assert seen.lag.max_s == pytest.approx(0.0, abs=1e-9)


def test_good_is_what_keeps_the_slo() -> None:
    """Those that waited too long for their first token are not good, although they were answered."""
    outcome = opened(QueueingModel(slots=1), 10, Bounds(5.0, timeout_s=1e6, drain_s=1e6), Slo(ttft_s=0.5))
    seen = total(outcome.windows)
    assert (seen.due, seen.ended_well) == (50, 50)
    assert 0 < seen.good < 10


def test_what_is_not_there_at_the_end_is_a_failure() -> None:
    """It is given up, its slot is free, and it counts as at least so slow."""
    model = QueueingModel(slots=1, first_s=10.0)
    outcome = opened(model, 1, Bounds(5.0, drain_s=7.0))
    seen = total(outcome.windows)
    assert (seen.due, seen.ended_well, seen.failed[UNFINISHED]) == (5, 1, 4)
    assert seen.total.max_s > 10
    assert (model.running, model.waiting) == (0, 0)


def test_an_answer_has_its_time() -> None:
    """After that it is given up and counted by its kind."""
    seen = total(opened(QueueingModel(first_s=3.0, slots=9), 1, Bounds(5.0, timeout_s=2.0)).windows)
    assert seen.failed == {TIMEOUT: 5}


def test_errors_are_counted_by_their_kind() -> None:
    """A refusal is a failure of its request, whenever it was due, and no latency."""
    seen = total(opened(QueueingModel(slots=1, most_waiting=1), 20, Bounds(5.0)).windows)
    assert set(seen.failed) == {"RateLimitedError"}
    assert seen.due == seen.ended_well + seen.failed["RateLimitedError"]
    assert seen.total.count == seen.ended_well


def test_a_stopped_run_reports_what_was_measured() -> None:
    """What was under way counts nowhere, is cancelled, and does not keep anybody waiting."""
    model = QueueingModel(slots=100, first_s=1.0)

    async def main(clock: Clock) -> tuple[Outcome, float]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(3.25, stop.set)
        outcome = await new_run(model.stream, clock, Bounds(60.0), stop=stop).open_loop(constant(10))
        return outcome, clock()

    outcome, ended_s = virtual_time.run(main)
    seen = total(outcome.windows)
    assert outcome.interrupted
    assert outcome.sent_until_s == pytest.approx(3.25)
    assert ended_s == pytest.approx(1003.25)
    assert seen.due == seen.ended_well > 15
    assert not seen.failed
    assert model.running == 0


def test_users_wait_for_their_answers() -> None:
    """Never more under way than there are users, and each asks again at once."""
    model = QueueingModel(slots=100)

    async def main(clock: Clock) -> Outcome:
        return await new_run(model.stream, clock, Bounds(1.8)).closed_loop(4)

    seen = total(virtual_time.run(main).windows)
    assert model.peak == 4
    assert seen.ended_well == seen.due == 40
    assert seen.busy_s == pytest.approx(4 * 1.9, rel=0.01)


def test_so_many_requests_and_no_more() -> None:
    """In both kinds of loop."""

    async def main(clock: Clock) -> list[int]:
        bounds = Bounds(100.0, requests=7)
        model = QueueingModel(slots=3)
        closed = await new_run(model.stream, clock, bounds).closed_loop(3)
        opened = await new_run(model.stream, clock, bounds).open_loop(constant(10))
        return [total(closed.windows).due, total(opened.windows).due]

    assert virtual_time.run(main) == [7, 7]


def test_an_error_of_our_own_ends_the_run() -> None:
    """What is no failure of a model is not counted as one."""

    async def broken(_: GenerationRequest) -> AsyncGenerator[Chunk]:
        raise ZeroDivisionError
        yield

    async def main(clock: Clock) -> None:
        await new_run(broken, clock, Bounds(1.0)).open_loop(constant(5))

    with pytest.raises(ZeroDivisionError):
        virtual_time.run(main)


def test_an_answer_without_tokens_is_one() -> None:
    """Its first token is its end."""

    async def silent(_: GenerationRequest) -> AsyncGenerator[Chunk]:
        await asyncio.sleep(0.5)
        yield Chunk("", finish_reason="eos")

    async def main(clock: Clock) -> Outcome:
        return await new_run(silent, clock, Bounds(1.0)).open_loop(constant(5))

    seen = total(virtual_time.run(main).windows)
    assert (seen.ended_well, seen.tokens, seen.tpot.count) == (5, 0, 0)
    assert seen.ttft.max_s == seen.total.max_s == pytest.approx(0.5)


def test_a_broken_stream_is_a_failure() -> None:
    """Although tokens came; they are counted as tokens."""

    async def breaking(_: GenerationRequest) -> AsyncGenerator[Chunk]:
        yield Chunk(" a")
        raise InferenceError("the connection broke")

    async def main(clock: Clock) -> Outcome:
        arrivals = iter([Arrival(0.0), Arrival(0.1)])
        return await new_run(breaking, clock, Bounds(1.0)).open_loop(arrivals)

    seen = total(virtual_time.run(main).windows)
    assert (seen.due, seen.tokens, seen.failed) == (2, 2, {"InferenceError": 2})
