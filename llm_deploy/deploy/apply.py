"""Make a plan true, one object at a time, telling each step as it happens.

An object is started only when all that it depends on has settled, because SageMaker refuses otherwise (a component on
an endpoint that is still `Creating`, a scaling policy on a component that is not up). Whatever runs already when we
come by, from a run that was cut off, is waited for and judged again.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from llm_deploy.deploy.inventory import Found, KindManager, Managers, State
from llm_deploy.deploy.plan import Action, Change, Plan, compare, decide, not_ours, short_kind
from llm_deploy.errors import BusyError, DeployError, NotYetError, WaitTimeoutError
from llm_deploy.resource import Ref, Resource

POLL_EVERY_S = 0.25
POLL_AT_MOST_EVERY_S = 10.0
"""Polling starts fast, for a local cloud, and slows down to what AWS's control plane likes."""

NOT_YET_S = 60.0
NOT_YET_DELAY_S = 5.0
"""How long, and how often, what the cloud refuses for now is tried again. IAM takes 10 to 30 seconds, rarely a minute.
Source: aws-cli#7700, terraform-provider-aws#6566."""

NOT_VISIBLE_S = 60.0
"""How long a new object may stay invisible before it counts as gone."""


class Clock(Protocol):
    """Time, so that tests need none."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let this much time pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for that long."""
        time.sleep(seconds)


class Stage(Enum):
    """Where a step is."""

    STARTED = "started"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """Something happened.

    Attributes:
        status: The service's own word.
        elapsed_s: Seconds since the object's start.
        detail: What a target adds for people while they wait: the container's last line.
    """

    stage: Stage
    action: Action
    kind: str
    name: str
    status: str = ""
    elapsed_s: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class Applier:
    """The state of one run: its managers, its deadline and what the cloud's answers filled in so far.

    Without `wait`, the run ends at the first object that takes time; what stands on it is left to the next run.
    """

    managers: Managers
    clock: Clock
    deadline_s: float
    wait: bool = True
    attributes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def run(self, plan: Plan) -> Iterator[Step]:
        """Carry out every change of the plan. The steps are made as the work is done: not reading on stops it."""
        for change in reversed(plan.changes):
            if change.action is Action.REPLACE:
                yield from self._remove(change)
        for change in plan.changes:
            if change.action is Action.DELETE:
                yield from self._remove(change)
            elif change.resource is not None:
                ready = yield from self._make(change, change.resource)
                if not ready:
                    return

    def _make(self, change: Change, wanted: Resource) -> Generator[Step, None, bool]:
        started_s = self.clock.now_s()
        manager = self.managers[change.kind]
        resource = replace(wanted, properties=self._filled_in(wanted.properties))
        if not self.wait and change.found is not None and change.found.state is State.BUSY:
            return False
        change = yield from self._settled(change, resource, plan_owner(change), started_s)
        if change.action is not Action.KEEP:
            yield Step(Stage.STARTED, change.action, change.kind, change.name)
        yield from self._start(manager, change, resource)
        found = yield from self._until_ready(manager, change, started_s)
        if found is None:
            return False
        self._check(resource, found)
        self.attributes[resource.id] = found.attributes
        yield Step(Stage.DONE, change.action, change.kind, change.name, found.status, self.clock.now_s() - started_s)
        return True

    def _settled(
        self, change: Change, resource: Resource, owner: str | None, started_s: float
    ) -> Generator[Step, None, Change]:
        """Wait for what was under way when the plan was made, and judge it again."""
        if change.action not in {Action.UPDATE, Action.KEEP} or change.found is None or owner is None:
            return change
        found: Found | None = change.found
        manager = self.managers[change.kind]
        while found is not None and found.state in {State.BUSY, State.DELETING}:
            yield self._waiting(change, found, started_s)
            found = manager.find(change.name)
        again = decide(resource, found, owner)
        if again.action is Action.REPLACE:
            yield from self._remove(again)
        return again

    def _start(self, manager: KindManager, change: Change, resource: Resource) -> Iterator[Step]:
        started_s = self.clock.now_s()
        while True:
            try:
                if change.action is Action.UPDATE and change.found is not None:
                    manager.update(resource, change.found)
                elif change.action in {Action.CREATE, Action.REPLACE}:
                    manager.create(resource)
            except NotYetError:
                elapsed_s = self.clock.now_s() - started_s
                if elapsed_s >= NOT_YET_S or self.clock.now_s() >= self.deadline_s:
                    raise
                yield Step(Stage.WAITING, change.action, change.kind, change.name, "refused for now", elapsed_s)
                self.clock.sleep(NOT_YET_DELAY_S)
            else:
                return

    def _until_ready(
        self, manager: KindManager, change: Change, started_s: float
    ) -> Generator[Step, None, Found | None]:
        seen = False
        while True:
            found = manager.find(change.name)
            if found is not None and found.state is State.READY:
                return found
            if found is not None and found.state in {State.FAILED, State.DELETING}:
                raise failed(found)
            if found is None and (seen or self.clock.now_s() - started_s > NOT_VISIBLE_S):
                raise _vanished(change)
            if not self.wait:
                return None
            seen = seen or found is not None
            yield self._waiting(change, found, started_s)

    def _remove(self, change: Change) -> Iterator[Step]:
        started_s = self.clock.now_s()
        manager = self.managers[change.kind]
        found = manager.find(change.name)
        yield Step(Stage.STARTED, Action.DELETE, change.kind, change.name, found.status if found else "")
        while found is not None:
            refused = False
            self._check_owner(change, found)
            if found.state not in {State.BUSY, State.DELETING}:
                # Asked again after every look: a deletion can fail, and something else (scaling, AWS's own upkeep) may
                # have begun between our look and our call.
                try:
                    manager.delete(found)
                except BusyError:
                    refused = True
                found = manager.find(change.name)
                if found is None:
                    break
            status = f"{found.status}, refused for now".removeprefix(", ") if refused else found.status
            yield self._waiting(replace(change, action=Action.DELETE), replace(found, status=status), started_s)
            found = manager.find(change.name)
        yield Step(Stage.DONE, Action.DELETE, change.kind, change.name, "gone", self.clock.now_s() - started_s)

    def _waiting(self, change: Change, found: Found | None, started_s: float) -> Step:
        """Let time pass before the next look; raises when the deadline has."""
        now_s = self.clock.now_s()
        if now_s >= self.deadline_s:
            raise _too_late(change, found)
        elapsed_s = now_s - started_s
        self.clock.sleep(min(max(POLL_EVERY_S, elapsed_s / 20), POLL_AT_MOST_EVERY_S, self.deadline_s - now_s))
        return Step(Stage.WAITING, change.action, change.kind, change.name, found.status if found else "", elapsed_s)

    def _check(self, resource: Resource, found: Found) -> None:
        """An object can be ready and still be the old one: AWS reports InService after a silent rollback."""
        differences = () if resource.immutable else compare(resource, found)
        if differences:
            first = differences[0]
            raise DeployError(
                f"{short_kind(resource.kind)} '{resource.name}' is {found.status} but not as asked: "
                f"{first.path} is {first.found!r}, wanted {first.wanted!r}."
                + (f" The cloud says: {found.reason}" if found.reason else ""),
                hint="The cloud rolled the change back, or somebody else changed it. "
                f"`llmdeploy logs {plan_name(found)}` shows the containers' side.",
            )

    def _check_owner(self, change: Change, found: Found) -> None:
        """Between plan and deletion somebody else may have made another object of the same name."""
        planned = plan_owner(change)
        if planned is not None and found.owned_by != planned:
            raise not_ours(found, planned)

    def _filled_in(self, value: Any) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
        if isinstance(value, Ref):
            return self.attributes[value.resource][value.attribute]
        if isinstance(value, Mapping):
            return {key: self._filled_in(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._filled_in(item) for item in value]
        return value


def plan_owner(change: Change) -> str | None:
    """The deployment that a planned object belongs to."""
    return change.found.owned_by if change.found else None


def plan_name(found: Found) -> str:
    """The deployment's name where it is known, else the object's."""
    return found.owned_by or found.name


def failed(found: Found) -> DeployError:
    """The error for an object that ended in a failed state; the target's diagnosis may say more."""
    return DeployError(
        f"{short_kind(found.kind)} '{found.name}' is {found.status}: {found.reason or 'the cloud gives no reason'}",
        hint=f"`llmdeploy logs {plan_name(found)}` shows what the containers said. "
        "Running the same command again replaces what failed; `llmdeploy delete-endpoint` removes it.",
    )


def _vanished(change: Change) -> DeployError:
    return DeployError(
        f"{short_kind(change.kind)} '{change.name}' is gone: somebody removed it while it was waited for.",
        hint="If that was meant, `llmdeploy delete-endpoint` removes the rest; otherwise deploy again.",
    )


def _too_late(change: Change, found: Found | None) -> WaitTimeoutError:
    status = found.status if found else "not visible yet"
    return WaitTimeoutError(
        f"{short_kind(change.kind)} '{change.name}' is still {status} when the time allowed is over.",
        hint="Nothing was undone and the cloud goes on by itself (and bills). Run the same command again to go on "
        "waiting, with a larger --timeout, or `llmdeploy delete-endpoint` to remove it.",
    )
