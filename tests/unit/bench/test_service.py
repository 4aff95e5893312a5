"""Whole load tests against models whose capacity is known, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llm_deploy.bench.document import Report, Target, Workload
from llm_deploy.bench.load import Bounds
from llm_deploy.bench.page import page
from llm_deploy.bench.plot import Line, chart
from llm_deploy.bench.prompts import Lengths, Prompts
from llm_deploy.bench.service import LoadTest, Measured, Plan, planned, report
from llm_deploy.bench.slo import Slo
from llm_deploy.dialects.types import Chunk, GenerationRequest
from llm_deploy.errors import UnreachableError
from tests.fakes import virtual_time
from tests.fakes.queueing_model import QueueingModel

TARGET = Target(name="twin <b>", kind="endpoint", copies=2, machines="2 ml.g5.xlarge", usd_per_hour=3.6)
WORKLOAD = Workload(prompts="made up", input_tokens="8", output_tokens="10", seed=0, chat=False, streamed=True)
PLAN = Plan(Bounds(20.0), Slo(ttft_s=0.5))


def prompts() -> Prompts:
    return Prompts(seed=0, output_tokens=Lengths("fixed", 10), input_tokens=Lengths("fixed", 8))


def reported(plan: Plan, model: QueueingModel, stop_after_s: float | None = None) -> Report:
    """Run a plan and make its report."""

    async def main(clock: Callable[[], float]) -> Measured:
        stop = asyncio.Event()
        if stop_after_s:
            asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        return await LoadTest(plan, model.stream, prompts, stop=stop, clock=clock).run()

    # The generator's share of CPU is real time over virtual time, so it says nothing here.
    measured = virtual_time.run(main)
    measured.phases = [each.model_copy(update={"cpu_share": 0.0}) for each in measured.phases]
    return report(measured, plan, TARGET, WORKLOAD)


def test_a_search_ends_where_nobody_answers() -> None:
    """When every request of the first user fails, no rates are tried."""

    class Dead(QueueingModel):
        async def _answer(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
            await asyncio.sleep(0.1)
            raise UnreachableError(f"nobody is there for {request}")
            yield Chunk("")

    assert [each.users for each in reported(PLAN, Dead(slots=1)).phases] == [1]


@pytest.mark.row("T9")
def test_the_search_finds_what_a_queue_carries() -> None:
    """The largest rate within the SLO lies below the capacity and near it; saturation lies at it."""
    model = QueueingModel(slots=4)
    found = reported(replace(PLAN, process="constant", bounds=Bounds(60.0)), model)
    capacity = found.capacity
    assert capacity.best_per_s is not None
    assert capacity.saturated_per_s is not None
    assert 0.85 * model.capacity_per_s < capacity.best_per_s <= model.capacity_per_s
    assert capacity.saturated_per_s > model.capacity_per_s
    assert capacity.throughput_per_s == pytest.approx(model.capacity_per_s, rel=0.05)
    assert capacity.invocations_per_copy_per_minute == pytest.approx(60 * capacity.best_per_s / 2)
    assert capacity.concurrency_per_copy == pytest.approx(capacity.best_per_s * 0.19 / 2, rel=0.05)


def test_cost_is_that_of_the_tokens() -> None:
    """3.6 dollars an hour and 100 tokens a second are 10 dollars for a million."""
    found = reported(replace(PLAN, rates_per_s=(10.0,), process="constant"), QueueingModel(slots=100))
    assert found.cost is not None
    assert found.cost.usd_per_million_tokens == pytest.approx(10, rel=0.03)


def test_an_overloaded_queue_is_called_growing() -> None:
    """One half above capacity: latency grows all the time, and a note says what that means."""
    model = QueueingModel(slots=1)
    found = reported(replace(PLAN, rates_per_s=(1.5 * model.capacity_per_s,), bounds=Bounds(20.0, drain_s=60.0)), model)
    (phase,) = found.phases
    assert (phase.verdict, phase.saturated, phase.meets_slo) == ("growing", True, False)
    assert any("latency grew" in note for note in found.notes)
    assert found.capacity.best_per_s is None


def test_a_cold_start_is_left_out() -> None:
    """The first seconds, in which nothing was answered, are the warm-up; what is measured is steady."""
    found = reported(replace(PLAN, rates_per_s=(10.0,)), QueueingModel(slots=100, stalled=(1000.0, 1003.0)))
    (phase,) = found.phases
    assert 2.5 <= phase.warm_up_s <= 5
    assert (phase.verdict, phase.meets_slo) == ("steady", True)
    assert phase.ttft.max == pytest.approx(100, rel=0.02)


def test_a_chosen_warm_up_is_kept() -> None:
    """Whatever the figures look like."""
    (phase,) = reported(replace(PLAN, rates_per_s=(10.0,), warm_up_s=7.0), QueueingModel(slots=100)).phases
    assert (phase.warm_up_s, phase.measured_s) == (7.0, 13.0)


def test_users_are_measured_too() -> None:
    """More users, more throughput until the slots are full; then only more latency. No rate is claimed from it."""
    model = QueueingModel(slots=4)
    found = reported(replace(PLAN, users=(1, 4, 16)), model)
    one, four, sixteen = found.phases
    assert four.requests_per_s == pytest.approx(4 * one.requests_per_s, rel=0.05)
    assert sixteen.requests_per_s == pytest.approx(four.requests_per_s, rel=0.05)
    assert sixteen.total.p50 == pytest.approx(4 * four.total.p50, rel=0.1)
    assert found.capacity.best_per_s is None


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    """At its times, with its lengths."""
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,input_tokens,output_tokens\n" + "\n".join(f"{n / 2},8,{n % 3 + 1}" for n in range(30)))
    (phase,) = reported(replace(PLAN, trace_path=path, speed=2.0), QueueingModel(slots=9)).phases
    assert (phase.load, phase.requests) == ("trace trace.csv, 2 times as fast", 30)
    assert phase.tokens_per_s * phase.measured_s == pytest.approx(60)


def test_a_stopped_test_has_what_there_is() -> None:
    """The phases before, the one that was cut off, and no further one."""
    found = reported(replace(PLAN, rates_per_s=(1.0, 2.0, 3.0)), QueueingModel(slots=9), stop_after_s=25.0)
    assert found.interrupted
    assert len(found.phases) == 2
    assert found.phases[1].measured_s < 6


def test_the_plan_is_said_before() -> None:
    """What a dry run prints names every phase."""
    assert planned(replace(PLAN, rates_per_s=(1.0, 2.0)))[1].startswith("2 per s, poisson, 20 s")
    assert planned(replace(PLAN, users=(8,)))[0].startswith("8 users")
    assert len(planned(PLAN)) == 2


class _Outside(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in {"script", "link", "img", "iframe", "object"} or names & {"src", "href", "onload", "onclick"}:
            self.found.append(tag)


def test_the_page_stands_alone() -> None:
    """It fetches nothing, runs nothing, and shows names as text; its charts are well-formed."""
    text = page(reported(replace(PLAN, rates_per_s=(5.0, 10.0)), QueueingModel(slots=9)))
    outside = _Outside()
    outside.feed(text)
    assert outside.found == []
    assert "twin &lt;b&gt;" in text
    assert "<b>twin" not in text
    charts = [part.partition("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(charts) >= 8
    for each in charts:
        ET.fromstring("<svg" + each)  # noqa: S314 - our own text


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(1.0, 5.0), (1.0, 5.0)], [(-3.0, -1.0), (1e9, 1e-9)]])
def test_any_points_make_a_chart(points: list[tuple[float, float]]) -> None:
    """One point, equal ones, far ones; without any there is none."""
    ET.fromstring(chart("t & t", "x", "y", [Line("a", points)]))  # noqa: S314 - our own text
    assert chart("t", "x", "y", [Line("a", [])]) == ""


def test_the_document_is_read_as_it_is_written() -> None:
    """So that what plans capacity can trust it; fields nobody knows are refused."""
    found = reported(replace(PLAN, rates_per_s=(5.0,)), QueueingModel(slots=9))
    assert Report.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValueError, match="extra"):
        Report.model_validate({**found.model_dump(), "surprise": 1})
