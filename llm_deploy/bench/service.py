"""A load test from its plan to its report: which loads to run, one after the other, and what they say together."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import os
import platform
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from llm_deploy.bench import summary
from llm_deploy.bench.arrivals import Process, at_rate, trace
from llm_deploy.bench.document import Objective, Phase, Report, Target, Workload
from llm_deploy.bench.load import Ask, Bounds, Clock, Outcome, Progress, Run
from llm_deploy.bench.prompts import Prompts
from llm_deploy.bench.search import Found, Verdict, found, search
from llm_deploy.bench.slo import Slo
from llm_deploy.bench.summary import Load
from llm_deploy.client.inference import AsyncInference
from llm_deploy.dialects.types import Chunk, GenerationRequest

BASELINE_S = 5.0
"""How long one user alone is watched before a search, at most: it says where to begin."""
LEAST_FIRST_RATE_PER_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. Without rates, users and trace the rates are searched for.

    Attributes:
        rates_per_s: Open loops, one phase each.
        users: Closed loops, one phase each.
        trace_path: A trace to replay, `speed` times as fast.
        warm_up_s: Left out of each phase; `None`: found by itself.
        precision: Of the search: how far the largest good and the least bad rate may be apart (0.1: a tenth).
    """

    bounds: Bounds
    slo: Slo
    rates_per_s: tuple[float, ...] = ()
    users: tuple[int, ...] = ()
    trace_path: Path | None = None
    speed: float = 1.0
    process: Process = "poisson"
    warm_up_s: float | None = None
    seed: int = 0
    precision: float = 0.1
    most_trials: int = 12

    @property
    def searches(self) -> bool:
        """Whether the rates are searched for."""
        return not (self.rates_per_s or self.users or self.trace_path)


@dataclass(slots=True)
class Measured:
    """What was measured so far; it grows while the test runs, so that a stopped one has what there is."""

    phases: list[Phase] = field(default_factory=list)
    interrupted: bool = False


class LoadTest:
    """One load test. Use it once.

    Args:
        prompts: Makes the requests of one phase; each phase begins with the same ones.
        on_phase: Told of each phase when it is over.
        stop: Set it to end the test early.
    """

    def __init__(
        self,
        plan: Plan,
        ask: Ask,
        prompts: Callable[[], Prompts],
        *,
        stop: asyncio.Event,
        on_phase: Callable[[Phase], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._plan, self._ask, self._prompts = plan, ask, prompts
        self._stop, self._on_phase, self._clock = stop, on_phase, clock
        self._run: Run | None = None
        self.measured = Measured()

    @property
    def progress(self) -> Progress:
        """The phase that runs, in numbers."""
        return self._run.progress if self._run else Progress()

    async def run(self) -> Measured:
        """Run all phases, or search."""
        plan = self._plan
        if plan.searches:
            await self._search()
        for rate in plan.rates_per_s:
            await self._at_rate(rate)
        for users in plan.users:
            await self._with_users(users, plan.bounds)
        if plan.trace_path:
            arrivals = trace(plan.trace_path, plan.speed)
            load = Load(
                f"trace {plan.trace_path.name}" + (f", {plan.speed:g} times as fast" if plan.speed != 1 else "")
            )
            run = self._new_run(plan.bounds)
            await self._phase(load, run.open_loop(arrivals))
        return self.measured

    async def _search(self) -> None:
        plan = self._plan
        duration_s = min(BASELINE_S, plan.bounds.duration_s)
        alone = await self._with_users(1, Bounds(duration_s, 1, plan.bounds.timeout_s, plan.bounds.timeout_s))
        if alone is None or self._stop.is_set() or alone.failed == alone.requests > 0:  # nobody answers at all
            return
        first = max(LEAST_FIRST_RATE_PER_S, 1000 / alone.total.p50 if alone.total.p50 else 0.0)
        trying = search(_rounded(first), precision=plan.precision, most_trials=plan.most_trials)
        rate = next(trying)
        while not self._stop.is_set():
            tried = await self._at_rate(rate)
            if tried is None or not summary.trusted(tried):  # what comes next would measure this machine
                return
            try:
                rate = trying.send(Verdict(good=tried.meets_slo and not tried.saturated, saturated=tried.saturated))
            except StopIteration:
                return

    async def _at_rate(self, rate_per_s: float) -> Phase | None:
        plan = self._plan
        arrivals = at_rate(rate_per_s, plan.process, Random(plan.seed))  # noqa: S311 - repeatable on purpose
        load = Load(f"{rate_per_s:.4g} per s, {plan.process}", offered_per_s=rate_per_s)
        return await self._phase(load, self._new_run(plan.bounds).open_loop(arrivals))

    async def _with_users(self, users: int, bounds: Bounds) -> Phase | None:
        load = Load(f"{users} user{'s' if users > 1 else ''}", users=users)
        return await self._phase(load, self._new_run(bounds).closed_loop(users))

    def _new_run(self, bounds: Bounds) -> Run:
        self._run = Run(
            self._ask, self._prompts(), slo=self._plan.slo, bounds=bounds, stop=self._stop, clock=self._clock
        )
        return self._run

    async def _phase(self, load: Load, running: Coroutine[Any, Any, Outcome]) -> Phase | None:
        """Run one load and summarize it; nothing when the test has been stopped before."""
        if self._stop.is_set():
            running.close()
            return None
        outcome = await running
        self.measured.interrupted = self.measured.interrupted or outcome.interrupted
        phase = summary.phase(load, outcome, self._plan.slo, self._plan.warm_up_s)
        self.measured.phases.append(phase)
        self._on_phase(phase)
        return phase


def planned(plan: Plan) -> list[str]:
    """What a plan would do, in lines."""
    bounds = plan.bounds
    most = f", at most {bounds.requests} requests" if bounds.requests is not None else ""
    each = f"{bounds.duration_s:g} s{most}, at most {bounds.in_flight} at once"
    if plan.searches:
        return [
            f"1 user for {min(BASELINE_S, bounds.duration_s):g} s, to know where to begin",
            f"then at most {plan.most_trials} rates, {plan.process}, {each}; the next one depends on the last",
        ]
    known = bounds.requests or math.inf
    rates = [
        f"{rate:g} per s, {plan.process}, {each}: about {min(rate * bounds.duration_s, known):.0f} requests"
        for rate in plan.rates_per_s
    ]
    users = [f"{count} users, {each}" for count in plan.users]
    replay = [f"the trace {plan.trace_path}, {plan.speed:g} times as fast, {each}"] if plan.trace_path else []
    return rates + users + replay


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")


def report(measured: Measured, plan: Plan, target: Target, workload: Workload, notes: Sequence[str] = ()) -> Report:
    """The document of a load test."""
    phases = measured.phases
    trials = {
        each.offered_per_s: Verdict(good=each.meets_slo and not each.saturated, saturated=each.saturated)
        for each in phases
        if each.offered_per_s is not None
    }
    capacity = summary.capacity(phases, found(trials) if trials else Found(None, None, None), target.copies)
    generator = summary.generator(phases)
    return Report(
        made_at=dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
        tool=f"llmdeploy {version('llm-deploy')}",
        machine=f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        target=target,
        workload=workload,
        objective=Objective(
            limits_ms={name: 1000 * limit for name, limit in plan.slo.limits.items()}, share=plan.slo.share
        ),
        phases=phases,
        capacity=capacity,
        cost=summary.cost(target.usd_per_hour, capacity),
        generator=generator,
        interrupted=measured.interrupted,
        notes=[*notes, *_cautions(phases, trusted=generator.trusted)],
    )


def _cautions(phases: Sequence[Phase], *, trusted: bool) -> list[str]:
    found = []
    if not trusted:
        found.append(
            "The load generator itself was too busy or too late: its latencies are too high. Use more machines."
        )
    short = sum(each.verdict == "short" for each in phases)
    if short:
        found.append(f"{short} of {len(phases)} phases were too short to tell whether they were steady.")
    growing = sum(each.verdict == "growing" for each in phases)
    if growing:
        found.append(
            f"In {growing} of {len(phases)} phases latency grew all the time: percentiles depend on how long they ran."
        )
    return found


def asker(model: AsyncInference, *, streamed: bool) -> Ask:
    """How a model is asked: streamed, or for whole answers, which then have one piece and no gaps."""
    if streamed:
        return model.stream

    async def whole(request: GenerationRequest) -> AsyncGenerator[Chunk]:
        answer = await model.generate(request)
        yield Chunk(answer.text, None, answer.finish_reason, answer.counts)

    return whole
