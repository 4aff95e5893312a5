"""The copies of one model: started, watched, restarted, chosen for a request, stopped.

A fleet keeps as many copies as it was told, whatever happens to their processes: one that ends is started again after
a pause, as SageMaker does, and it is for the caller to lose patience (`ready`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from llm_deploy.emulator import ledger
from llm_deploy.emulator.clock import Clock
from llm_deploy.emulator.containers.container import Container, ContainerSpec, Launcher

log = logging.getLogger("llm_deploy.emulator")

LEAST_PAUSE_S = 0.3
"""Real seconds at least between a crash and the restart, however fast the clock."""

DRAIN_S = 2.0
DRAIN_LOOK_S = 0.02
"""How long, and how often looked at, requests to a copy that is about to end are let through, in real seconds."""

WriteLog = Callable[[str, str, str], None]


@dataclass(slots=True)
class Copy:
    """One copy of a model on one instance.

    Attributes:
        port: Where it answers; meaningful while `ready`.
        outstanding: Requests that it is working on.
        restarts: How often its process ended by itself.
    """

    name: str
    instance: str
    stream: str
    port: int = 0
    ready: bool = False
    outstanding: int = 0
    restarts: int = 0
    container: Container | None = None
    keeper: asyncio.Task[None] | None = field(default=None, repr=False)


class Fleet:
    """Copies that run the same thing."""

    def __init__(self, name: str, spec: ContainerSpec, launcher: Launcher, clock: Clock, write_log: WriteLog) -> None:
        self.name = name
        self.spec = spec
        self.copies: list[Copy] = []
        self._launcher = launcher
        self._clock = clock
        self._write_log = write_log
        self._made = 0
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    def scale(self, instances: Sequence[tuple[str, str]]) -> None:
        """Have one copy on each `(instance, log stream)`; an instance named twice gets two. Returns at once."""
        wanted = list(instances)
        for copy in list(self.copies):
            place = (copy.instance, copy.stream)
            if place in wanted:
                wanted.remove(place)
            else:
                self._drop(copy)
        for instance, stream in wanted:
            self._add(instance, stream)

    def pick(self) -> Copy | None:
        """The ready copy with the fewest requests, if one is ready. Ledger: `runtime.least-outstanding`."""
        return min((copy for copy in self.copies if copy.ready), key=lambda copy: copy.outstanding, default=None)

    def ready_count(self) -> int:
        """How many copies can answer."""
        return sum(copy.ready for copy in self.copies)

    async def ready(self, until: float) -> bool:
        """Wait until every copy can answer, at most to a moment of the clock; says whether they can."""
        return await self._wait(lambda: all(copy.ready for copy in self.copies), until)

    async def any_ready(self, until: float) -> bool:
        """Wait until some copy can answer, at most to a moment of the clock; says whether one can."""
        return await self._wait(lambda: self.pick() is not None, until)

    async def stop(self) -> None:
        """End every copy, and wait for the ends."""
        for copy in list(self.copies):
            self._drop(copy)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _wait(self, condition: Callable[[], bool], until: float) -> bool:
        patience = asyncio.create_task(self._clock.until(until))
        try:
            while not condition() and not patience.done():
                self._changed.clear()
                change = asyncio.create_task(self._changed.wait())
                await asyncio.wait({change, patience}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            patience.cancel()
        return condition()

    def _add(self, instance: str, stream: str) -> None:
        self._made += 1
        copy = Copy(f"{self.name}-{self._made}".replace("/", "-"), instance, stream)
        self.copies.append(copy)
        copy.keeper = asyncio.create_task(self._keep(copy), name=f"copy {copy.name}")
        copy.keeper.add_done_callback(_report)

    def _drop(self, copy: Copy) -> None:
        self.copies.remove(copy)
        copy.ready = False
        self._changed.set()
        task = asyncio.create_task(_end(copy), name=f"end of {copy.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _keep(self, copy: Copy) -> None:
        """Start the copy's container again and again."""
        if self.spec.stands_in_for:
            self._say(copy, ledger.text("local.stand-in", local=self.spec.local_model, asked=self.spec.stands_in_for))
        while True:
            try:
                copy.container = await self._launcher.launch(self.spec, copy.name, lambda line: self._say(copy, line))
            except (OSError, ValueError) as error:  # ValueError: a NUL in the environment
                self._say(copy, f"local cloud: the container cannot start: {error}")
            else:
                await self._watch(copy, copy.container)
            copy.restarts += 1
            await self._clock.until(
                self._clock.deadline(ledger.duration_s("container.restart-pause"), least_real_s=LEAST_PAUSE_S)
            )

    async def _watch(self, copy: Copy, container: Container) -> None:
        """Follow one container from its start to its end."""
        ending = asyncio.create_task(container.wait())
        getting_ready = asyncio.create_task(self._health_check(copy, container))
        try:
            code = await ending
        finally:
            ending.cancel()
            getting_ready.cancel()
            copy.ready = False
            self._changed.set()
        await container.stop()
        self._say(copy, f"local cloud: the container ended with exit code {code}")

    async def _health_check(self, copy: Copy, container: Container) -> None:
        copy.port = await container.ready()
        copy.ready = True
        self._changed.set()

    def _say(self, copy: Copy, line: str) -> None:
        if self.spec.log_group:
            self._write_log(self.spec.log_group, copy.stream, line)


def _report(keeper: asyncio.Task[None]) -> None:
    """A keeper ends only when it is cancelled; anything else is a bug of ours, and must be seen."""
    if not keeper.cancelled() and (error := keeper.exception()):
        log.error("%s failed", keeper.get_name(), exc_info=error)


async def _end(copy: Copy) -> None:
    if copy.keeper:
        copy.keeper.cancel()
        with suppress(asyncio.CancelledError):
            await copy.keeper
    if copy.container:
        await _drain(copy)
        await copy.container.stop()


async def _drain(copy: Copy) -> None:
    """Let requests that are on their way arrive: a server that is told to end resets those that it has not accepted.

    What it has accepted it finishes by itself.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while copy.outstanding:  # noqa: ASYNC110 - an event would cost every request, and this is rare
                await asyncio.sleep(DRAIN_LOOK_S)
