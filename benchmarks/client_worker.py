"""One measurement of one client, in a process of its own: `client_calls.py` starts it and reads its last line, JSON.

A worker warms up, then keeps so many callers busy for so many seconds, each with one call or stream after the other.
CPU is the whole process's in that time. "Added" is what a call took less what the stub itself held it, by the clock
marks in the text; texts are kept and read afterwards, so that reading them costs nobody anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.client_adapters import ASYNC, SYNC, Async, Sync, Target
from benchmarks.stub_bodies import held_ns, marks_ns

WARM_UP_CALLS = 3
"""Of every caller: connections are open and caches filled when the clock starts."""


@dataclass
class Tally:
    """What the callers did: each answer's (or first token's) text with how long it took to come, and tokens."""

    seen: list[tuple[int, str]] = field(default_factory=list)
    tokens: int = 0
    calls: int = 0

    def figures(self, wall_s: float, cpu_s: float) -> dict[str, float]:
        """The measurement."""
        added = sorted(took - held_ns(text) for took, text in self.seen if len(marks_ns(text)) >= 2)
        figures = {
            "calls": self.calls,
            "calls_per_s": self.calls / wall_s,
            "cpu_us_per_call": 1e6 * cpu_s / max(1, self.calls),
            "tokens": self.tokens,
        }
        if len(added) >= 2:
            cuts = statistics.quantiles(added, n=100)
            figures |= {"added_p50_us": cuts[49] / 1000, "added_p99_us": cuts[98] / 1000}
        return figures


def call(client: Sync, tally: Tally) -> None:
    """One call."""
    started = time.monotonic_ns()
    text = client.call()
    tally.seen.append((time.monotonic_ns() - started, text))
    tally.calls += 1


def stream(client: Sync, tally: Tally) -> None:
    """One stream to its end."""
    started = time.monotonic_ns()
    texts = client.stream()
    first = next(texts)
    tally.seen.append((time.monotonic_ns() - started, first))
    tally.tokens += 1 + sum(1 for _ in texts)
    tally.calls += 1


async def acall(client: Async, tally: Tally) -> None:
    """One call."""
    started = time.monotonic_ns()
    text = await client.call()
    tally.seen.append((time.monotonic_ns() - started, text))
    tally.calls += 1


async def astream(client: Async, tally: Tally) -> None:
    """One stream to its end."""
    started = time.monotonic_ns()
    texts = client.stream()
    first = await anext(texts)
    tally.seen.append((time.monotonic_ns() - started, first))
    tally.tokens += 1
    async for _ in texts:
        tally.tokens += 1
    tally.calls += 1


@contextlib.contextmanager
def measured(report: dict[str, float], tallies: list[Tally]) -> Iterator[None]:
    """Fill the report with what happens inside."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    whole = Tally([each for tally in tallies for each in tally.seen])
    whole.calls, whole.tokens = sum(each.calls for each in tallies), sum(each.tokens for each in tallies)
    report.update(whole.figures(wall, cpu))


def run_threads(client: Sync, act: Callable[[Sync, Tally], None], callers: int, seconds: float) -> dict[str, float]:
    """Keep so many threads busy; the caller's own thread alone when it is one."""
    tallies = [Tally() for _ in range(callers)]
    end = [0.0]
    report: dict[str, float] = {}

    def work(tally: Tally) -> None:
        for _ in range(WARM_UP_CALLS):
            act(client, Tally())
        ready.wait()
        while time.monotonic() < end[0]:
            act(client, tally)

    def start_clock() -> None:
        end[0] = time.monotonic() + seconds
        clock.enter_context(measured(report, tallies))

    with contextlib.ExitStack() as clock:
        ready = threading.Barrier(callers, action=start_clock)
        threads = [threading.Thread(target=work, args=(tally,)) for tally in tallies[1:]]
        for thread in threads:
            thread.start()
        work(tallies[0])
        for thread in threads:
            thread.join()
    return report


async def run_tasks(client: Async, act: Callable[..., object], callers: int, seconds: float) -> dict[str, float]:
    """Keep so many tasks busy."""
    tallies = [Tally() for _ in range(callers)]
    report: dict[str, float] = {}

    async def work(tally: Tally, end: float) -> None:
        while time.monotonic() < end:
            await act(client, tally)  # type: ignore[misc] # one of the two above

    async def warm() -> None:
        for _ in range(WARM_UP_CALLS):
            await act(client, Tally())  # type: ignore[misc] # as above

    await asyncio.gather(*(warm() for _ in range(callers)))
    with measured(report, tallies):
        end = time.monotonic() + seconds
        await asyncio.gather(*(work(tally, end) for tally in tallies))
    await client.aclose()
    return report


def main() -> None:
    """Read the arguments, measure, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=[*SYNC, *ASYNC])
    parser.add_argument("what", choices=["call", "stream"])
    parser.add_argument("url")
    parser.add_argument("endpoint")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args()
    target = Target(chosen.url, chosen.endpoint, chosen.callers)
    streams = chosen.what == "stream"
    if chosen.client in SYNC:
        client = SYNC[chosen.client](target)
        report = run_threads(client, stream if streams else call, chosen.callers, chosen.seconds)
    else:
        import uvloop  # noqa: PLC0415 - both sides of an asynchronous contest run on it

        acting = astream if streams else acall
        report = uvloop.run(run_tasks(ASYNC[chosen.client](target), acting, chosen.callers, chosen.seconds))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
