"""A cloud in memory for the deploy engine's tests: objects that take time, fail when told, and count every call.

It implements `KindManager` as the real managers do, so that plan and apply run unchanged; it can stop the run at any
call, which is how the interruption properties are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from llm_deploy.deploy.inventory import Found, Managers, State
from llm_deploy.errors import BusyError, ConflictError, NotYetError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    Resource,
    owner,
)

KINDS = (MODEL, ENDPOINT_CONFIG, ENDPOINT, INFERENCE_COMPONENT, SCALABLE_TARGET, SCALING_POLICY)
SLOW_KINDS = {ENDPOINT, INFERENCE_COMPONENT}
BUSY_LOOKS = 3
"""How many looks a slow object stays busy."""


class Killed(BaseException):
    """The run was killed here. A BaseException, because nothing may catch it, as nothing catches SIGKILL."""


@dataclass
class FakeClock:
    """A clock that moves only when somebody sleeps."""

    time_s: float = 0.0

    def now_s(self) -> float:
        """The time."""
        return self.time_s

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time_s += seconds


@dataclass
class FakeCloud:
    """The objects, and what is to go wrong.

    Attributes:
        kill_after: Calls until `Killed` is raised; `None`: never. The call's effect may or may not have happened,
            by `effect_first`.
        failing: Names of objects that end `Failed` when they are created.
        refusals: How many creations are refused for now, as AWS does while a new role is not assumable.
        calls: Every call that changed something, as (verb, kind, name).
    """

    objects: dict[tuple[str, str], Found] = field(default_factory=dict)
    looks_left: dict[tuple[str, str], int] = field(default_factory=dict)
    kill_after: int | None = None
    effect_first: bool = True
    failing: set[str] = field(default_factory=set)
    refusals: int = 0
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    total_calls: int = 0

    @property
    def managers(self) -> Managers:
        """One manager for each kind."""
        return {kind: FakeManager(self, kind) for kind in KINDS}

    def tick(self) -> None:
        """Count a call; stop the run when its time has come."""
        self.total_calls += 1
        if self.kill_after is not None and self.total_calls > self.kill_after:
            raise Killed

    def settled(self) -> dict[tuple[str, str], dict[str, object]]:
        """Names and documents of everything, once all work is done; ages are left out."""
        return {key: dict(found.properties) for key, found in sorted(self.objects.items())}

    def look(self, key: tuple[str, str]) -> Found | None:
        """An object, one look later than before."""
        found = self.objects.get(key)
        if found is None or found.state not in {State.BUSY, State.DELETING}:
            return found
        self.looks_left[key] = self.looks_left.get(key, BUSY_LOOKS) - 1
        if self.looks_left[key] > 0:
            return found
        del self.looks_left[key]
        if found.state is State.DELETING:
            del self.objects[key]
            return None
        failed = found.name in self.failing
        state, status = (State.FAILED, "Failed") if failed else (State.READY, "InService")
        self.objects[key] = replace(found, state=state, status=status, reason="told to fail" if failed else None)
        return self.objects[key]


@dataclass
class FakeManager:
    """A `KindManager` over a `FakeCloud`."""

    cloud: FakeCloud
    kind: str

    def find(self, name: str) -> Found | None:
        """Look at an object."""
        self.cloud.tick()
        return self.cloud.look((self.kind, name))

    def owned(self, deployment: str) -> Sequence[Found]:
        """Everything of a deployment."""
        self.cloud.tick()
        mine = [
            key for key, found in self.cloud.objects.items() if key[0] == self.kind and found.owned_by == deployment
        ]
        return tuple(found for found in (self.cloud.look(key) for key in mine) if found is not None)

    def create(self, resource: Resource) -> None:
        """Make it; taken names are refused."""
        if self.cloud.refusals > 0:
            self.cloud.refusals -= 1
            raise NotYetError("Could not assume role")
        self._do("create", resource.name, lambda: self._put(resource, fresh=True))

    def update(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - the protocol's signature
        """Change it; what is busy refuses."""
        if self.cloud.objects[self.kind, resource.name].state is not State.READY:
            raise ConflictError(f"Cannot update in-progress {resource.name}")
        self._do("update", resource.name, lambda: self._put(resource, fresh=False))

    def delete(self, found: Found) -> None:
        """Remove it; what is busy refuses."""
        standing = self.cloud.objects.get((self.kind, found.name))
        if standing is None:
            return
        if standing.state in {State.BUSY, State.DELETING}:
            raise BusyError(f"Cannot update in-progress {found.name}")
        self._do("delete", found.name, lambda: self._remove(found.name))

    def _do(self, verb: str, name: str, effect: object) -> None:
        assert callable(effect)
        if self.cloud.effect_first:
            effect()
            self.cloud.calls.append((verb, self.kind, name))
            self.cloud.tick()
        else:
            self.cloud.tick()
            effect()
            self.cloud.calls.append((verb, self.kind, name))

    def _put(self, resource: Resource, *, fresh: bool) -> None:
        key = (self.kind, resource.name)
        if fresh and key in self.cloud.objects:
            raise ConflictError(f"Cannot create already existing {resource.name}")
        slow = self.kind in SLOW_KINDS
        age = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.cloud.calls))
        self.cloud.objects[key] = Found(
            kind=self.kind,
            name=resource.name,
            properties=dict(resource.properties),
            tags=dict(resource.tags),
            state=State.BUSY if slow else State.READY,
            status="Creating" if slow else "",
            created_at=age if fresh else self.cloud.objects[key].created_at,
            owned_by=owner(resource.tags) or "twin",
        )

    def _remove(self, name: str) -> None:
        key = (self.kind, name)
        if self.kind in SLOW_KINDS:
            self.cloud.objects[key] = replace(self.cloud.objects[key], state=State.DELETING, status="Deleting")
        else:
            del self.cloud.objects[key]
