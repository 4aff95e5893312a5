"""Which fleet serves which variant or inference component, now."""

from __future__ import annotations

import asyncio

from llm_deploy.emulator.clock import Clock
from llm_deploy.emulator.containers.container import ContainerSpec, Launcher
from llm_deploy.emulator.containers.fleet import Fleet, WriteLog


class Fleets:
    """Every fleet by its owner (`endpoint/<name>/<variant>`, `inference-component/<name>`)."""

    def __init__(self, launcher: Launcher, clock: Clock, write_log: WriteLog) -> None:
        self._launcher = launcher
        self._clock = clock
        self._write_log = write_log
        self._serving: dict[str, Fleet] = {}
        self._all: set[Fleet] = set()
        self._made = 0

    def new(self, owner: str, spec: ContainerSpec) -> Fleet:
        """A fleet without copies, not serving yet."""
        self._made += 1
        fleet = Fleet(f"{owner}-{self._made}", spec, self._launcher, self._clock, self._write_log)
        self._all.add(fleet)
        return fleet

    def serving(self, owner: str) -> Fleet | None:
        """The fleet that answers for an owner."""
        return self._serving.get(owner)

    def put(self, owner: str, fleet: Fleet) -> Fleet | None:
        """Let a fleet answer for an owner from now on; the one that did before, for the caller to stop."""
        before = self._serving.get(owner)
        self._serving[owner] = fleet
        return before if before is not fleet else None

    async def stop(self, owner: str) -> None:
        """Nothing answers for an owner any more."""
        fleet = self._serving.pop(owner, None)
        if fleet:
            await self.discard(fleet)

    async def discard(self, fleet: Fleet) -> None:
        """Stop a fleet, whether it serves or not."""
        await fleet.stop()
        self._all.discard(fleet)

    async def stop_all(self) -> None:
        """End every container."""
        self._serving.clear()
        await asyncio.gather(*(self.discard(fleet) for fleet in tuple(self._all)))

    def processes(self) -> int:
        """How many copies there are, starting ones included."""
        return sum(len(fleet.copies) for fleet in self._all)
