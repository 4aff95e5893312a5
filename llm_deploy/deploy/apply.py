"""Make a plan true, one object at a time, telling each step as it happens.

An object is started only when all that it depends on has settled, because SageMaker refuses otherwise (a component on
an endpoint that is still `Creating`, a scaling policy on a component that is not up). Whatever runs already when we
come by, from a run that was cut off, is waited for and judged again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from llm_deploy.deploy import contest
from llm_deploy.deploy.inventory import Finishing, Found, Managers, Signing, State
from llm_deploy.deploy.lookout import Lookout
from llm_deploy.deploy.plan import Action, Change, Difference, Plan, compare, decide, not_ours, short_kind
from llm_deploy.deploy.steps import Clock, Stage, Step, SystemClock
from llm_deploy.errors import (
    AccessDeniedError,
    BusyError,
    CloudError,
    ConflictError,
    DeployError,
    LlmDeployError,
    NotFoundError,
    NotYetError,
)
from llm_deploy.resource import ENDPOINT, INFERENCE_COMPONENT, TAG_BY, Ref, Resource

__all__ = ["NOT_YET_S", "Applier", "Clock", "Stage", "Step", "SystemClock", "failed"]

NOT_YET_S = 60.0
NOT_YET_DELAY_S = 5.0
"""How long, and how often, what the cloud refuses for now is tried again. IAM takes 10 to 30 seconds, rarely a minute.
Source: aws-cli#7700, terraform-provider-aws#6566."""

NOT_VISIBLE_S = 60.0
"""How long a new object may stay invisible before it counts as gone."""


@dataclass(slots=True)
class Applier:
    """The state of one run: its managers, its deadline and what the cloud's answers filled in so far.

    Without `wait`, the run ends at the first object that takes time; what stands on it is left to the next run.

    Attributes:
        by: Who runs it, written on endpoint and components for whoever comes in between.
        attributes: What the cloud made up, by the resource's id.
        plan: What is carried out.
        moved: Whether this run has begun to change one of these.
        unfinished: What has moved to what was asked and is not yet said to have.
    """

    managers: Managers
    lookout: Lookout
    wait: bool = True
    by: str = ""
    attributes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    plan: Plan = field(default_factory=lambda: Plan("", ()))
    moved: bool = False
    unfinished: list[tuple[Finishing, Resource, Found]] = field(default_factory=list)

    def run(self, plan: Plan) -> Iterator[Step]:
        """Carry out every change of the plan. The steps are made as the work is done: not reading on stops it."""
        self.plan = plan
        for change in reversed(plan.changes):
            if change.action is Action.REPLACE:
                yield from self._remove(change)
        for change in plan.changes:
            if change.action is not Action.DELETE and change.resource is not None:
                ready = yield from self._make(change, change.resource)
                if not ready:
                    return
            elif change.action is Action.DELETE:
                # What is superseded goes after everything has moved; what scales goes before anything has.
                self._finish()
                yield from self._remove(change)
        self._finish()

    def _make(self, change: Change, wanted: Resource) -> Generator[Step, None, bool]:
        started_s = self.lookout.clock.now_s()
        resource = replace(wanted, properties=self._filled_in(wanted.properties))
        if not self.wait and change.found is not None and change.found.state is State.BUSY:
            return False
        if change.action is not Action.KEEP:
            yield Step(Stage.STARTED, change.action, change.kind, change.name)
        change = yield from self._looked_at_again(change, resource, started_s)
        change, made = yield from self._start(change, resource, started_s)
        found = made or (yield from self._until_ready(change, started_s))
        if found is None:
            return False
        contest.check_still_ours(change, resource, found, self.by)
        self._check(change, resource, found)
        self.attributes[resource.id] = found.attributes
        manager = self.managers[change.kind]
        if change.action is Action.UPDATE and isinstance(manager, Finishing):
            self.unfinished.append((manager, resource, found))
        yield Step(
            Stage.DONE, change.action, change.kind, change.name, found.status, self.lookout.clock.now_s() - started_s
        )
        return True

    def _looked_at_again(self, change: Change, resource: Resource, started_s: float) -> Generator[Step, None, Change]:
        """Judge again what may have changed since the plan: what was under way then, and what other runs may change."""
        planned, settling = change.found, {State.BUSY, State.DELETING}
        if change.kind == INFERENCE_COMPONENT and not self.moved:
            contest.check_endpoint(change, self.plan, self.managers)
        contest.check_before_rules(change, self.plan, self.managers)
        if change.action not in {Action.UPDATE, Action.KEEP} or planned is None:
            return change
        if self.moved and change.kind in contest.AT_ONCE & contest.FOLLOWERS:
            standing = yield from self.lookout.watch(change, started_s)
            change = decide(resource, contest.known(planned, standing), self.plan.deployment)
        elif planned.state in settling or (self.moved and change.kind in contest.FOLLOWERS):
            found = planned if planned.state in settling else (yield from self.lookout.watch(change, started_s))
            change = yield from self._judged(change, resource, found, started_s)
        elif change.action is Action.UPDATE and _is_lock(change):
            change = yield from self._lock_looked_at_again(change, resource, planned, started_s)
        elif change.kind == INFERENCE_COMPONENT or contest.locks(self.plan).keys() == {change.kind}:
            contest.check_standing(change, self.managers)
        return change

    def _lock_looked_at_again(
        self, change: Change, resource: Resource, planned: Found, started_s: float
    ) -> Generator[Step, None, Change]:
        """Do so for an endpoint or a component that is to be updated."""
        follower_touched = change.kind == ENDPOINT and (yield from self._component_touched(started_s))
        if follower_touched:
            contest.check_locks(self.plan, self.managers)
        found = contest.known(planned, (yield from self.lookout.watch(change, started_s)))
        if follower_touched or contest.touched(change, resource, found):
            found = yield from self.lookout.find(change, started_s)  # with the tags that say by whom, and where to
        change = contest.moved(change, resource, found, self.plan.deployment)
        if found is not None and found.state in {State.BUSY, State.DELETING}:
            return (yield from self._after_the_other(change, resource, started_s))
        if change.kind == ENDPOINT:
            # What is remembered before anything moves must be what is left, all of it.
            contest.check_locks(self.plan, self.managers)
        return change

    def _component_touched(self, started_s: float) -> Generator[Step, None, bool]:
        """Wait for what works on the component, for where an update leads is told only by what it has become.

        Whether another run has moved it since the plan, perhaps to what this one wants.
        """
        change = next((item for item in self.plan.changes if item.kind == INFERENCE_COMPONENT), None)
        if not self.wait or change is None or change.resource is None or change.action is not Action.UPDATE:
            return False
        found = yield from self.lookout.watch(change, started_s)
        while found is not None and found.state is State.BUSY:
            yield self.lookout.waiting(change, found, started_s)
            found = yield from self.lookout.watch(change, started_s)
        return contest.touched(change, change.resource, found)

    def _judged(
        self, change: Change, resource: Resource, found: Found | None, started_s: float
    ) -> Generator[Step, None, Change]:
        """What is left to do once all work on an object is over, whoever's it was; what failed is removed."""
        found = yield from self._settled(change, found, started_s)
        change = decide(resource, found, self.plan.deployment)
        if change.action is Action.REPLACE:
            yield from self._remove(change)
        return change

    def _settled(self, change: Change, found: Found | None, started_s: float) -> Generator[Step, None, Found | None]:
        """Wait for what is under way; the object as it is then."""
        while True:
            while found is not None and found.state in {State.BUSY, State.DELETING}:
                yield self.lookout.waiting(change, found, started_s)
                found = yield from self.lookout.watch(change, started_s)
            found = yield from self.lookout.complete(change, found, started_s)
            if found is None or found.state not in {State.BUSY, State.DELETING}:
                return found

    def _start(
        self, change: Change, resource: Resource, started_s: float
    ) -> Generator[Step, None, tuple[Change, Found | None]]:
        """Send what the change needs; what it was in the end, and the object where it needs no time."""
        refused_s = self.lookout.clock.now_s()
        while True:
            try:
                return change, self._send(change, resource)
            except BusyError as error:
                if change.action is Action.UPDATE and _is_lock(change):
                    change = yield from self._after_the_other(change, resource, started_s)
                    continue
                problem: LlmDeployError = error
            except NotYetError as error:
                problem = error
            except ConflictError as error:
                standing = yield from self.lookout.find(change, started_s)
                if standing is None:
                    problem = error
                elif self.moved and change.kind == INFERENCE_COMPONENT:
                    change = yield from self._judged(change, resource, standing, started_s)
                    continue
                else:
                    change = contest.clashed(change, resource, standing, self.plan.deployment)
                    continue
            except (CloudError, NotFoundError) as error:
                contest.check_ground(change, self.plan, self.managers, error)
                raise
            yield from self._not_yet(change, problem, refused_s)

    def _not_yet(self, change: Change, problem: LlmDeployError, since_s: float) -> Iterator[Step]:
        now_s = self.lookout.clock.now_s()
        if now_s - since_s >= NOT_YET_S or now_s >= self.lookout.deadline_s:
            raise problem
        yield Step(Stage.WAITING, change.action, change.kind, change.name, "refused for now", now_s - since_s)
        self.lookout.clock.sleep(NOT_YET_DELAY_S)

    def _send(self, change: Change, resource: Resource) -> Found | None:
        manager = self.managers[change.kind]
        self.moved |= _is_lock(change) and change.moves
        signing = self.by and _is_lock(change)
        if change.action is Action.UPDATE and change.found is not None:
            made = manager.update(resource, change.found)
            if signing and isinstance(manager, Signing):
                # It only informs: the update was taken, whatever becomes of this.
                with suppress(CloudError, BusyError, AccessDeniedError, NotFoundError):
                    manager.sign(change.found, self.by)
            return made
        if change.action in {Action.CREATE, Action.REPLACE}:
            signature = {TAG_BY: self.by} if signing else {}
            return manager.create(replace(resource, tags={**resource.tags, **signature}))
        return None

    def _after_the_other(self, change: Change, resource: Resource, started_s: float) -> Generator[Step, None, Change]:
        """Wait with an update that is running already, if it may lead to what is wanted."""
        while True:
            found = yield from self.lookout.find(change, started_s)
            if found is None:
                raise contest.removed(change)
            if contest.elsewhere(resource, found):
                raise contest.lost(change, found)
            if found.state is not State.BUSY:
                return contest.settled(change, resource, found, self.plan.deployment)
            yield self.lookout.waiting(change, found, started_s)

    def _until_ready(self, change: Change, started_s: float) -> Generator[Step, None, Found | None]:
        if change.action is Action.KEEP and change.found is not None and change.found.state is State.READY:
            return change.found
        seen = False
        while True:
            found = yield from self.lookout.watch(change, started_s)
            if found is not None and found.state is State.READY:
                if change.action in {Action.CREATE, Action.REPLACE} and change.resource is not None:
                    return replace(found, tags=change.resource.tags, owned_by=self.plan.deployment)
                found = yield from self.lookout.complete(change, found, started_s)
                if found is not None and found.state is State.READY:
                    return found
            if found is not None and found.state in {State.FAILED, State.MIXED, State.DELETING}:
                raise failed(replace(found, owned_by=self.plan.deployment))
            if found is None and (seen or self.lookout.clock.now_s() - started_s > NOT_VISIBLE_S):
                raise _vanished(change)
            if not self.wait:
                return None
            seen = seen or found is not None
            yield self.lookout.waiting(change, found, started_s)

    def _remove(self, change: Change) -> Iterator[Step]:
        change = replace(change, action=Action.DELETE)
        started_s = self.lookout.clock.now_s()
        manager = self.managers[change.kind]
        found = yield from self.lookout.find(change, started_s)
        yield Step(Stage.STARTED, Action.DELETE, change.kind, change.name, found.status if found else "")
        if contest.locks(self.plan) and contest.newly_named(change, self.plan, self.managers):
            yield Step(Stage.DONE, Action.KEEP, change.kind, change.name, "kept, another run uses it")
            return
        while found is not None:
            refused = False
            if found.state not in {State.BUSY, State.DELETING}:
                self._check_owner(change, found)
                contest.check_unused(change, self.plan, self.managers)
                # Asked again after every look: a deletion can fail, and something else (scaling, AWS's own upkeep) may
                # have begun between our look and our call.
                try:
                    manager.delete(found)
                except BusyError:
                    refused = True
                if change.kind in contest.AT_ONCE and not refused:
                    break
                found = yield from self.lookout.watch(change, started_s)
                if found is None:
                    break
            status = f"{found.status}, refused for now".removeprefix(", ") if refused else found.status
            yield self.lookout.waiting(change, replace(found, status=status), started_s)
            found = yield from self.lookout.watch(change, started_s)
            if found is not None and found.state not in {State.BUSY, State.DELETING}:
                found = yield from self.lookout.complete(change, found, started_s)
        yield Step(Stage.DONE, Action.DELETE, change.kind, change.name, "gone", self.lookout.clock.now_s() - started_s)

    def _check(self, change: Change, resource: Resource, found: Found) -> None:
        """An object can be ready and still be the old one: AWS reports InService after a silent rollback."""
        if resource.immutable:
            return
        late = isinstance(self.managers[resource.kind], Finishing)
        differences = [item for item in compare(resource, found) if not (late and item.path.startswith("Tags."))]
        if differences:
            raise not_as_asked(change, found, differences[0])
        before = change.found.reason if change.found else None
        untold = change.action is Action.UPDATE and all(item.path.startswith("Tags.") for item in change.differences)
        if late and untold and found.reason and found.reason != before:
            # A description cannot tell whether a property was dropped as asked: a new reason says that it was not.
            raise not_as_asked(change, found, next(iter(change.differences), Difference("status", found.status, "")))

    def _finish(self) -> None:
        """Say of what serves what it has become, now that all of it has moved."""
        if self.unfinished:
            last = self.unfinished[-1][2]
            contest.check_goals(Change(Action.UPDATE, last.kind, last.name), self.plan, self.managers)
        while self.unfinished:
            manager, resource, found = self.unfinished.pop()
            try:
                manager.finish(resource, found)
            except NotFoundError as error:
                raise contest.removed(Change(Action.UPDATE, found.kind, found.name)) from error

    def _check_owner(self, change: Change, found: Found) -> None:
        """Between plan and deletion somebody else may have made another object of the same name."""
        planned = change.found.owned_by if change.found else None
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


def _is_lock(change: Change) -> bool:
    return change.kind in contest.LOCK_KINDS


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


def not_as_asked(change: Change, found: Found, difference: Difference) -> DeployError:
    """The error for an object that is ready and is not what was asked for: the cloud went back, by itself.

    What was made for the change is left: it bills nothing, a second try uses it, and another deploy removes it.
    """
    what = f"{short_kind(found.kind)} '{found.name}'"
    happened = (
        f"the update of {what} was rolled back: it is {found.status} with"
        if change.action is Action.UPDATE
        else f"{what} is {found.status} but not as asked, with"
    )
    why = f"The cloud says: {found.reason}" if found.reason else "The cloud gives no reason."
    return DeployError(
        f"{happened} {difference.path} {difference.found!r}, wanted {difference.wanted!r}. {why}",
        hint="What served before serves on. "
        f"`llmdeploy logs {plan_name(found)}` shows the containers' side; deploying again tries again.",
    )


def _vanished(change: Change) -> DeployError:
    return DeployError(
        f"{short_kind(change.kind)} '{change.name}' is gone: somebody removed it while it was waited for.",
        hint="If that was meant, `llmdeploy delete-endpoint` removes the rest; otherwise deploy again.",
    )
