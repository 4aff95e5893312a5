"""The run itself: requests go out when they are due, and what comes back is counted.

In an open loop the pace is the schedule's, whatever the model does, and every latency counts from the moment a request
was due. A request that had to wait, because the generator was late or too many were under way, has waited for its user
as well: nothing is left out for being slow (no coordinated omission). In a closed loop so many users each ask again
when they have their answer; there a request is due when its user sends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.bench.arrivals import Arrival
from llm_deploy.bench.prompts import Prompts
from llm_deploy.bench.slo import Slo
from llm_deploy.bench.windows import Windows
from llm_deploy.dialects.types import Chunk, GenerationRequest
from llm_deploy.errors import LlmDeployError

Ask = Callable[[GenerationRequest], AsyncGenerator[Chunk]]
Clock = Callable[[], float]
UNFINISHED = "Unfinished"
TIMEOUT = "Timeout"
_MOMENT_S = 1e-6
"""The last request's own window belongs to the run."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a run may do.

    Attributes:
        duration_s: New requests are sent this long.
        in_flight: Most requests at once; in an open loop those that are due meanwhile wait, and that counts for them.
        timeout_s: Longest time for an answer, from its sending.
        drain_s: Longest time for what is under way when the last request has been sent.
        requests: Most requests; `None` is no limit.
    """

    duration_s: float
    in_flight: int = 1024
    timeout_s: float = 120.0
    drain_s: float = 30.0
    requests: int | None = None


@dataclass(slots=True)
class Outcome:
    """What a run saw. Times are seconds since it began.

    Attributes:
        sent_until_s: When the last request was due, or when the run was stopped.
        cpu_s: CPU of this process until then: what generating the load took.
        interrupted: Somebody stopped it; what was under way then counts nowhere.
    """

    windows: Windows = field(default_factory=Windows)
    sent_until_s: float = 0.0
    cpu_s: float = 0.0
    interrupted: bool = False


@dataclass(slots=True)
class Progress:
    """A run in a line, for the person who waits."""

    time_s: float = 0.0
    under_way: int = 0
    sent: int = 0
    ended: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Answer:
    due_s: float
    sent_s: float
    first_s: float = 0.0
    last_s: float = 0.0
    gap_s: float = 0.0
    pieces: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None


class Run:
    """One run against one model. Use it once.

    Args:
        ask: Begins an answer; closing the generator frees the model's slot.
        stop: Set it to end the run early: nothing more is sent, and what is under way is given up.
        clock: Seconds that never go back; the event loop's waiting must go by the same.
    """

    def __init__(
        self,
        ask: Ask,
        prompts: Prompts,
        *,
        slo: Slo,
        bounds: Bounds,
        stop: asyncio.Event,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ask, self._prompts, self._slo, self._bounds = ask, prompts, slo, bounds
        self._stop, self._clock = stop, clock
        self._began_s = 0.0
        self._changed_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._over = asyncio.Event()
        self.outcome = Outcome()
        self.progress = Progress()

    async def open_loop(self, arrivals: Iterator[Arrival]) -> Outcome:
        """Send requests when they are due until the arrivals or the time end, and wait for the answers."""
        return await self._run(self._pace(arrivals))

    async def closed_loop(self, users: int) -> Outcome:
        """Let so many users ask, each again when it has its answer, until the time ends."""
        return await self._run(self._users(users))

    async def _run(self, sending: Coroutine[Any, Any, None]) -> Outcome:
        self._began_s, cpu_s = self._clock(), time.process_time()
        sender = asyncio.create_task(sending)
        ended = {asyncio.create_task(self._stop.wait()), asyncio.create_task(self._over.wait())}
        waiting: set[asyncio.Task[Any]] = {sender, *ended}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        self.outcome.sent_until_s = min(self._now() + _MOMENT_S, self._bounds.duration_s)
        self.outcome.cpu_s = time.process_time() - cpu_s
        try:
            await self._drain(sender, ended)
        finally:
            for each in ended:
                each.cancel()
        if self._broken is not None:
            raise self._broken
        return self.outcome

    async def _drain(self, sender: asyncio.Task[None], ended: set[asyncio.Task[Any]]) -> None:
        """Wait for what is under way; give up what is still not there, or all of it when the run was stopped."""
        deadline_s = self._now() + self._bounds.drain_s
        over = (self._stop, self._over)
        while self._tasks and not any(each.is_set() for each in over) and (left_s := deadline_s - self._now()) > 0:
            await asyncio.wait({*ended, *self._tasks}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        self.outcome.interrupted = self._stop.is_set()
        given_up = {sender, *self._tasks}
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        if not sender.cancelled() and (error := sender.exception()) is not None:
            raise error  # a trace with a wrong line, for example

    async def _pace(self, arrivals: Iterator[Arrival]) -> None:
        slots, late = asyncio.Semaphore(self._bounds.in_flight), False
        for number, arrival in enumerate(arrivals):
            if number == self._bounds.requests:
                return
            if arrival.at_s >= self._bounds.duration_s:
                await asyncio.sleep(self._bounds.duration_s - self._now())
                return
            if (ahead_s := arrival.at_s - self._now()) > 0:
                late = False
                await asyncio.sleep(ahead_s)
            request = self._prompts.next(arrival)
            window = self.outcome.windows.at(arrival.at_s)
            window.due += 1
            late = late or slots.locked()
            window.held_back += late
            await slots.acquire()
            self._start(self._one(arrival.at_s, request, own_lag=not late)).add_done_callback(lambda _: slots.release())

    async def _users(self, users: int) -> None:
        left = iter(range(self._bounds.requests)) if self._bounds.requests is not None else None

        async def user() -> None:
            while (now_s := self._now()) < self._bounds.duration_s and (left is None or next(left, None) is not None):
                self.outcome.windows.at(now_s).due += 1
                await self._one(now_s, self._prompts.next(), own_lag=False)

        tasks = [self._start(user()) for _ in range(users)]
        ending = self._bounds.duration_s - self._now()
        await asyncio.wait(tasks, timeout=max(0.0, ending))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        """An error that is no model's failure is ours: it ends the run."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self._over.set()

    async def _one(self, due_s: float, request: GenerationRequest, *, own_lag: bool) -> None:
        """Ask once and count what comes of it."""
        answer = _Answer(due_s, self._now())
        if own_lag:
            self.outcome.windows.at(due_s).lag.record(answer.sent_s - due_s)
        self.progress.sent += 1
        self._under_way(1)
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                await self._read(request, answer)
        except TimeoutError:
            self._failed(answer, TIMEOUT)
        except (LlmDeployError, OSError) as error:
            self._failed(answer, type(error).__name__)
        except asyncio.CancelledError:
            self._given_up(answer)
            raise
        else:
            self._ended(answer)
        finally:
            self._under_way(-1)

    async def _read(self, request: GenerationRequest, answer: _Answer) -> None:
        """Take the time of each piece as it comes."""
        windows, now = self.outcome.windows, self._now
        async with aclosing(self._ask(request)) as chunks:
            async for chunk in chunks:
                if chunk.counts is not None:
                    answer.tokens, answer.prompt_tokens = chunk.counts.generated, chunk.counts.prompt
                if not chunk.text and chunk.token is None and not chunk.tool_calls:
                    continue
                time_s = now()
                window = windows.at(time_s)
                if answer.pieces:
                    gap_s = time_s - answer.last_s
                    answer.gap_s = max(answer.gap_s, gap_s)
                    window.gap.record(gap_s)
                else:
                    answer.first_s = time_s
                answer.last_s = time_s
                answer.pieces += 1
                window.tokens += 1

    def _ended(self, answer: _Answer) -> None:
        now_s, windows = self._now(), self.outcome.windows
        first_s = answer.first_s if answer.pieces else now_s
        ttft_s, total_s = first_s - answer.due_s, now_s - answer.due_s
        tokens = answer.pieces if answer.tokens is None else answer.tokens
        tpot_s = (answer.last_s - first_s) / (tokens - 1) if tokens > 1 and answer.pieces > 1 else 0.0
        cohort = windows.at(answer.due_s)
        cohort.ttft.record(ttft_s)
        cohort.total.record(total_s)
        if tokens > 1:
            cohort.tpot.record(tpot_s)
        cohort.good += self._slo.kept(ttft_s=ttft_s, tpot_s=tpot_s, gap_s=answer.gap_s, total_s=total_s)
        here = windows.at(now_s)
        here.ended += 1
        here.ended_well += 1
        here.tokens += tokens - answer.pieces
        here.prompt_tokens += answer.prompt_tokens or 0
        self.progress.ended += 1

    def _failed(self, answer: _Answer, kind: str) -> None:
        self.outcome.windows.at(self._now()).ended += 1
        self.outcome.windows.at(answer.due_s).failed[kind] += 1
        self.progress.failed += 1

    def _given_up(self, answer: _Answer) -> None:
        """Not there when the time was over: at least so slow, and not good. After an interruption it never was."""
        cohort = self.outcome.windows.at(answer.due_s)
        if self._stop.is_set():
            cohort.due -= 1
        else:
            cohort.total.record(self._now() - answer.due_s)
            cohort.failed[UNFINISHED] += 1
            self.progress.failed += 1

    def _under_way(self, change: int) -> None:
        now_s = self._now()
        self.outcome.windows.busy(self._changed_s, now_s, self.progress.under_way)
        self._changed_s = now_s
        self.progress.under_way += change

    def _now(self) -> float:
        now_s = self._clock() - self._began_s
        self.progress.time_s = now_s
        return now_s
