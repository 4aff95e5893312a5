"""A cloud in memory for the deploy engine's tests: objects that take time, fail when told, and count every call.

It implements `KindManager` as the real managers do, so that plan and apply run unchanged. As at AWS, an object needs
what it names to exist, a name that is taken and an endpoint at work are refused, and an update is described as pending
until it is over. It can stop the run at any call, which is how the interruption properties are tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from llm_deploy.deploy.claims import named_by
from llm_deploy.deploy.inventory import Found, Managers, State
from llm_deploy.deploy.plan import compare
from llm_deploy.errors import BusyError, CloudError, ConflictError, LlmDeployError, NotFoundError, NotYetError
from llm_deploy.resource import (
    ALARM,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MARKS,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_BY,
    Resource,
    owner,
)

KINDS = (MODEL, ENDPOINT_CONFIG, ENDPOINT, INFERENCE_COMPONENT, SCALABLE_TARGET, SCALING_POLICY, ALARM)
SLOW_KINDS = {ENDPOINT, INFERENCE_COMPONENT}
RULES = {SCALABLE_TARGET, SCALING_POLICY}
"""What may be put again."""
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
        kill_after: Calls until `fault` is raised; `None`: never. The call's effect may or may not have happened, by
            `effect_first`.
        fault: What is raised: by default the run is killed, and so are all later calls; an error is raised once.
        resent_at: The call that is carried out twice, as when its answer is lost and botocore sends it again.
        failing: Names of objects that end `Failed` when they are created.
        rolling_back: What an object's update under way ends in, in place of what was asked for.
        refusals: How many creations are refused for now, as AWS does while a new role is not assumable.
        calls: Every call that changed something, as (verb, kind, name).
        unsigned: What every attempt to write down who changes an object is answered with.
        torn: What was removed while something that stood still named it. AWS does not refuse that.
    """

    objects: dict[tuple[str, str], Found] = field(default_factory=dict)
    looks_left: dict[tuple[str, str], int] = field(default_factory=dict)
    pending: dict[tuple[str, str], Found] = field(default_factory=dict)
    kill_after: int | None = None
    fault: Callable[[], BaseException] = Killed
    effect_first: bool = True
    resent_at: int | None = None
    failing: set[str] = field(default_factory=set)
    refusals: int = 0
    rolling_back: dict[tuple[str, str], Found] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    total_calls: int = 0
    unsigned: LlmDeployError | None = None
    torn: list[tuple[str, str]] = field(default_factory=list)

    @property
    def managers(self) -> Managers:
        """One manager for each kind."""
        return {kind: (FakeServing if kind in SLOW_KINDS else FakeManager)(self, kind) for kind in KINDS}

    def tick(self) -> None:
        """Count a call; stop the run when its time has come."""
        self.total_calls += 1
        if self.kill_after is not None and self.total_calls > self.kill_after:
            if self.fault is not Killed:
                self.kill_after = None
            raise self.fault()

    def settled(self) -> dict[tuple[str, str], dict[str, object]]:
        """Names, documents and tags of everything, once all work is done; ages are left out."""
        return {key: {**found.properties, "Tags": dict(found.tags)} for key, found in sorted(self.objects.items())}

    def roll_back(self, before: Found, reason: str = "an alarm went off") -> None:
        """Undo an update as AWS does: what served serves, InService, and whatever was tagged stays tagged."""
        tags = self.objects[before.key].tags
        self.objects[before.key] = replace(before, tags=tags, state=State.READY, status="InService", reason=reason)
        self.looks_left.pop(before.key, None)
        self.pending.pop(before.key, None)

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
        if found.key in self.rolling_back:
            self.roll_back(self.rolling_back.pop(found.key))
            return self.objects[found.key]
        failed = found.name in self.failing
        found = self.pending.pop(key, found)
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

    def watch(self, name: str) -> Found | None:
        """Look at an object without its tags and its owner."""
        found = self.find(name)
        return replace(found, tags={}, owned_by=None) if found else None

    def owned(self, deployment: str) -> Sequence[Found]:
        """Everything of a deployment."""
        self.cloud.tick()
        mine = [
            key for key, found in self.cloud.objects.items() if key[0] == self.kind and found.owned_by == deployment
        ]
        return tuple(found for found in (self.cloud.look(key) for key in mine) if found is not None)

    def create(self, resource: Resource) -> None:
        """Make it; taken names are refused."""
        self._send(lambda: self._create(resource))

    def _create(self, resource: Resource) -> None:
        if self.cloud.refusals > 0:
            self.cloud.refusals -= 1
            raise NotYetError("Could not assume role")
        self._do("create", resource.name, lambda: self._put(resource, fresh=True))

    def update(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - the protocol's signature
        """Change it; what is busy refuses."""
        self._send(lambda: self._update(resource))

    def _update(self, resource: Resource) -> None:
        standing = self.cloud.objects.get((self.kind, resource.name))
        if standing is None:
            raise NotFoundError(f"Could not find {resource.name}")
        if standing.state is not State.READY:
            raise BusyError(f"Cannot update in-progress {resource.name}")
        self._do("update", resource.name, lambda: self._put(resource, fresh=False))

    def delete(self, found: Found) -> None:
        """Remove it; what is busy refuses."""
        self._send(lambda: self._delete(found))

    def named(self, deployment: str) -> Sequence[str]:
        """Names that begin with the deployment's."""
        self.cloud.tick()
        return [name for kind, name in self.cloud.objects if kind == self.kind and name.startswith(deployment)]

    def sign(self, found: Found, by: str) -> None:
        """Write down who changes it."""
        self.cloud.tick()
        if self.cloud.unsigned is not None:
            raise self.cloud.unsigned
        self._add_tags(found.key, {TAG_BY: by})

    def _send(self, call: Callable[[], None]) -> None:
        before = self.cloud.total_calls
        call()
        if self.cloud.resent_at is not None and before < self.cloud.resent_at <= self.cloud.total_calls:
            call()

    def _delete(self, found: Found) -> None:
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
        if fresh and key in self.cloud.objects and self.kind not in RULES:
            raise ConflictError(f"Cannot create already existing {resource.name}")
        for kind, name in named_by(Found(self.kind, resource.name, resource.properties)):
            if (kind, name) not in self.cloud.objects:
                raise NotFoundError(f"Could not find {kind} {name}")
        if self.kind == INFERENCE_COMPONENT and "EndpointName" in resource.properties:
            endpoint = self.cloud.objects.get((ENDPOINT, str(resource.properties["EndpointName"])))
            if endpoint is None:
                raise NotFoundError("Could not find endpoint")
            if endpoint.state is State.DELETING:
                raise CloudError(f"Endpoint {endpoint.name} is {endpoint.status}")
        slow = self.kind in SLOW_KINDS
        age = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.cloud.calls))
        before = self.cloud.objects.get(key)
        found = Found(
            kind=self.kind,
            name=resource.name,
            properties=dict(resource.properties),
            tags=dict(resource.tags),
            state=State.BUSY if slow else State.READY,
            status="Creating" if slow else "",
            created_at=before.created_at if before else age,
            owned_by=owner(resource.tags) or "twin",
        )
        if before is not None and self.kind == ENDPOINT:
            self.cloud.pending[key] = found
            summary = {"EndpointConfigName": resource.properties["EndpointConfigName"]}
            properties = {**before.properties, "PendingDeploymentSummary": summary}
            found = replace(found, properties=properties, tags=before.tags)
        elif before is not None and self.kind == INFERENCE_COMPONENT:
            # AWS tells neither where the update leads nor that it is one: scaling looks the same.
            self.cloud.pending[key] = found
            found = replace(found, properties=before.properties, tags=before.tags)
        self.cloud.objects[key] = found

    def _tag(self, resource: Resource, *, marks: bool) -> None:
        key = (self.kind, resource.name)
        if key not in self.cloud.objects:
            raise NotFoundError(f"Could not find {resource.name}")
        found = self.cloud.objects[key]
        chosen = {name: value for name, value in resource.tags.items() if not marks or name in MARKS}
        if any(found.tags.get(name) != value for name, value in chosen.items()):
            self._do("tag", resource.name, lambda: self._add_tags(key, chosen))

    def _add_tags(self, key: tuple[str, str], tags: Mapping[str, str]) -> None:
        """On an object, and on what it is about to be."""
        for place in (self.cloud.objects, self.cloud.pending):
            if key in place:
                place[key] = replace(place[key], tags={**place[key].tags, **tags})

    def _remove(self, name: str) -> None:
        key = (self.kind, name)
        standing = [*self.cloud.objects.values(), *self.cloud.pending.values()]
        if any(key in set(named_by(other)) for other in standing):
            self.cloud.torn.append(key)
        if self.kind in SLOW_KINDS:
            self.cloud.pending.pop(key, None)
            self.cloud.objects[key] = replace(self.cloud.objects[key], state=State.DELETING, status="Deleting")
        else:
            del self.cloud.objects[key]


@dataclass
class FakeServing(FakeManager):
    """The manager of what serves: marks first, then the change, and what is said of it when it has moved."""

    def update(self, resource: Resource, found: Found) -> None:
        """Mark it, and change it where it differs; what is busy refuses."""
        if (self.kind, resource.name) not in self.cloud.objects:
            raise NotFoundError(f"Could not find {resource.name}")
        self._tag(resource, marks=True)
        if found.state is State.MIXED or any(not item.path.startswith("Tags.") for item in compare(resource, found)):
            self._send(lambda: self._move(resource))

    def _move(self, resource: Resource) -> None:
        standing = self.cloud.objects.get((self.kind, resource.name))
        if standing is None:
            raise NotFoundError(f"Could not find {resource.name}")
        if standing.state is not State.READY:
            raise BusyError(f"Cannot update in-progress {resource.name}")
        self._do("update", resource.name, lambda: self._change(resource))

    def finish(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - the protocol's signature
        """Say what it is now."""
        self._tag(resource, marks=False)

    def _change(self, resource: Resource) -> None:
        tags = self.cloud.objects[self.kind, resource.name].tags
        self._put(replace(resource, tags=tags), fresh=False)
