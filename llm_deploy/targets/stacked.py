"""Deploying and deleting through a CloudFormation stack: the counterpart of `deployment`, over the same resources.

    resources ── render ──▶ template ── change set ──▶ Plan (printed) ── execute ──▶ events as Steps

A stack's state says what has to come first: one that an earlier run left in progress is followed to its end, one that
was rolled back while it was made is deleted. Cut off anywhere, the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llm_deploy import catalog
from llm_deploy.deploy.apply import Clock, Step, SystemClock
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Action, Change, Plan, plan as imperative_plan
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S
from llm_deploy.errors import ConflictError, DeployError
from llm_deploy.render.cloudformation import stack_name
from llm_deploy.resource import SCALABLE_TARGET, SCALING_POLICY, TAG_DEPLOYMENT, TAG_STACK
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets import deployment
from llm_deploy.targets.deployment import Deployed
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import strategy
from llm_deploy.targets.stack.changes import is_member, plan_lines
from llm_deploy.targets.stack.ends import SERVING, refuse_what_went_back
from llm_deploy.targets.stack.events import STACK
from llm_deploy.targets.stack.follow import Follower
from llm_deploy.targets.stack.refusals import (
    made_otherwise,
    not_our_stack,
    refuse_additions,
    refuse_foreign,
    refuse_to_import,
    refuse_what_no_update_can,
    strangers,
    stuck,
)
from llm_deploy.targets.stack.stacks import STUCK, UNFINISHED, Member, Stack, Stacks, Wish
from llm_deploy.targets.stack.templates import identified, import_text, template_text


@dataclass(frozen=True)
class StackDeployment:
    """One deployment through a stack, on its way.

    Attributes:
        deployed: What is wanted, and the lines that are shown.
        stack: The stack as it was found; `None`: there is none yet.
        change_set: What to execute; `None` where nothing changes, or where something else comes first.
        spare: Our objects outside the stack that nobody wants, removed at the end.
        imports: What the stack takes in, for the import that comes first.
    """

    deployed: Deployed
    stack: Stack | None
    change_set: str | None = None
    spare: tuple[Found, ...] = ()
    imports: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.deployed.resolved.spec.name

    @property
    def plan(self) -> Plan:
        """What is shown and done."""
        return self.deployed.plan

    @property
    def follows_first(self) -> bool:
        """Whether an operation of an earlier run goes on, so that the rest can be planned only after it."""
        return self.stack is not None and self.stack.busy

    @property
    def deletes_first(self) -> bool:
        """Whether the stack is one that can only be deleted."""
        return self.stack is not None and self.stack.status in UNFINISHED

    @property
    def comes_first(self) -> bool:
        """Whether carrying it out only clears the way, so that it has to be planned again afterwards."""
        return self.follows_first or self.deletes_first

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing to wait for."""
        return not self.follows_first and self.change_set is None and self.plan.empty


@dataclass(frozen=True)
class StackDeployer:
    """Plans and carries out deployments through stacks, on one connection."""

    connection: Connection
    clock: Clock = field(default_factory=SystemClock)

    @property
    def stacks(self) -> Stacks:
        """The stacks of the connection's account and region."""
        return Stacks(self.connection.session)

    def plan(
        self, spec: DeploymentSpec, *, import_existing: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> StackDeployment:
        """What has to change, asked of CloudFormation by a change set that `discard` takes away again.

        Raises:
            ConflictError: A name is taken by something outside the stack, or the stack is not ours or stuck.
            SpecError: The template is too long.
            WaitTimeoutError: The change set was not worked out in time.
        """
        role = deployment.execution_role(spec, self.connection)
        resolved = catalog.resolve(spec, self.connection.place, role)
        resources = strategy.resources(resolved)
        found = StackDeployment(Deployed(resolved, resources, Plan(spec.name, ())), self._stack(spec.name))
        if found.follows_first:
            return _with_lines(found, (_stack_line(found.stack, Action.KEEP, "of an earlier run, followed first"),))
        if found.deletes_first:
            note = "can only be deleted; made again after"
            made = tuple(Change(Action.CREATE, each.kind, each.name, each) for each in resources)
            return _with_lines(found, (_stack_line(found.stack, Action.DELETE, note), *made))
        return self._compared(found, self._follower(timeout_s), import_existing=import_existing)

    def apply(
        self, found: StackDeployment, *, timeout_s: float = DEFAULT_TIMEOUT_S, wait: bool = True
    ) -> Iterator[Step]:
        """Carry it out; where something comes first, only that. The time allowed is for all of it together."""
        steps = self._applied(found, self._follower(timeout_s), wait=wait)
        wanted = found.deployed
        yield from deployment.told_with_the_log(steps, found.name, wanted.components, wanted.resources, self.connection)

    def discard(self, found: StackDeployment) -> None:
        """Take the change set of a plan that is not carried out away, and the stack that only it was for."""
        if found.change_set is not None:
            name = stack_name(found.name)
            self.stacks.discard_change_set(name, found.change_set)
            self.stacks.discard_review(name)

    def _stack(self, name: str) -> Stack | None:
        stack = self.stacks.find(stack_name(name))
        if stack is None:
            return None
        owner = stack.tags.get(TAG_DEPLOYMENT)
        goes = self.stacks.members(stack.name) if stack.status in UNFINISHED else ()
        if owner not in {name, None} or (owner is None and goes):
            raise not_our_stack(stack, name)
        if stack.status in STUCK:
            raise stuck(stack)
        refuse_additions(stack, name, goes, deployment.ResourceManager(self.connection).managers)
        return stack

    def _compared(self, found: StackDeployment, follower: Follower, *, import_existing: bool) -> StackDeployment:
        service = deployment.service_for(self.connection)
        inventory = service.inventory(found.name, found.deployed.resources)
        members = self._members(found.stack)
        refuse_foreign(found.stack, members, inventory)
        outsiders = strangers(found.deployed.resources, inventory, members)
        if outsiders and not import_existing:
            raise made_otherwise(outsiders, found.name)
        wanted = {(each.kind, each.name) for each in found.deployed.resources}
        outside = (each for each in inventory.ours() if each.key not in wanted and not is_member(each, members))
        # Scaling rules hang on what is inside and go with it.
        found = replace(found, spare=tuple(each for each in outside if each.kind not in _SCALING))
        if outsiders:
            return self._with_imports(found, inventory)
        return self._with_change_set(found, follower)

    def _members(self, stack: Stack | None) -> tuple[Member, ...]:
        return () if stack is None or stack.in_review else self.stacks.members(stack.name)

    def _with_change_set(self, found: StackDeployment, follower: Follower) -> StackDeployment:
        change_set = follower.worked_out(self._wish(found))
        if change_set is None:
            self._check(found)
            kept = tuple(Change(Action.KEEP, each.kind, each.name, each) for each in found.deployed.resources)
            return _with_lines(found, (*kept, *_removals(found.spare)))
        lines = (*plan_lines(change_set["Changes"], found.deployed.resources), *_removals(found.spare))
        stack = self.stacks.find(change_set["StackId"])
        drawn = _with_lines(replace(found, change_set=change_set["ChangeSetId"], stack=stack), lines)
        try:
            refuse_what_no_update_can(drawn.plan)
        except ConflictError:
            self.discard(drawn)
            raise
        return drawn

    def _wish(self, found: StackDeployment) -> Wish:
        kind = "CREATE" if found.stack is None or found.stack.in_review else "UPDATE"
        name = stack_name(found.name)
        tags = {TAG_DEPLOYMENT: found.name, TAG_STACK: name}
        return Wish(name, kind, template_text(found.deployed.resources, _description(found)), tags)

    def _with_imports(self, found: StackDeployment, inventory: Inventory) -> StackDeployment:
        """Take in what exists, all of it and as it is."""
        resources = found.deployed.resources
        if found.stack is not None and not found.stack.in_review:
            raise made_otherwise(strangers(resources, inventory, ()), found.name)
        refuse_to_import(imperative_plan(resources, inventory).changing, found.name)
        lines = plan_lines(
            [
                {"ResourceChange": {"Action": "Import", "LogicalResourceId": each.id, "ResourceType": each.kind}}
                for each in found.deployed.resources
            ],
            found.deployed.resources,
        )
        standing = ((each, inventory.get(each)) for each in resources)
        imports = tuple(identified(each, there) for each, there in standing if there is not None)
        stack_line = Change(Action.CREATE, STACK, stack_name(found.name), note="holds what exists from now on")
        return _with_lines(replace(found, imports=imports), (stack_line, *lines, *_removals(found.spare)))

    def _applied(self, found: StackDeployment, follower: Follower, *, wait: bool) -> Iterator[Step]:
        if found.follows_first and found.stack is not None:
            yield from follower.followed(found.stack, found.deployed.resources)
            return
        if found.deletes_first and found.stack is not None:
            yield from follower.deleted(found.stack)
            return
        if found.imports:
            yield from self._imported(found, follower)
            found = replace(found, stack=self.stacks.find(stack_name(found.name)), imports=())
            found = self._with_change_set(found, follower)
        if found.change_set is not None and found.stack is not None:
            if not wait:
                follower.begin(found.stack, found.change_set)
                return
            yield from follower.executed(found.stack, found.change_set, _by_id(found))
            self._check(found)
        yield from self._removed(found, follower)

    def _imported(self, found: StackDeployment, follower: Follower) -> Iterator[Step]:
        name = stack_name(found.name)
        wish = Wish(name, "IMPORT", import_text(found.deployed.resources), imports=found.imports)
        change_set = follower.worked_out(wish)
        stack = self.stacks.find(name)
        if change_set is None or stack is None:
            raise DeployError(f"stack '{name}' is gone: somebody removed it while it was made.")
        yield from follower.executed(stack, change_set["ChangeSetId"], _by_id(found))

    def _removed(self, found: StackDeployment, follower: Follower) -> Iterator[Step]:
        """Objects of ours that were made beside the stack and that it replaces."""
        if found.spare:
            service = deployment.service_for(self.connection)
            yield from service.apply(Plan(found.name, _removals(found.spare)), timeout_s=follower.left_s)

    def _check(self, found: StackDeployment) -> None:
        """Look at what serves: a complete stack does not say that it is what was asked for."""
        managers = deployment.ResourceManager(self.connection).managers
        for wanted in found.deployed.resources:
            if wanted.kind in SERVING:
                refuse_what_went_back(stack_name(found.name), wanted, managers[wanted.kind].find(wanted.name))

    def _follower(self, timeout_s: float) -> Follower:
        return Follower(self.stacks, self.clock, self.clock.now_s() + timeout_s)


_SCALING = frozenset({SCALABLE_TARGET, SCALING_POLICY})


def _description(found: StackDeployment) -> str:
    return f"{found.name}: {strategy.model_id(found.deployed.resolved.spec)}, made by llmdeploy"


def _with_lines(found: StackDeployment, lines: Sequence[Change]) -> StackDeployment:
    return replace(found, deployed=replace(found.deployed, plan=Plan(found.name, tuple(lines))))


def _stack_line(stack: Stack | None, action: Action, note: str) -> Change:
    name, status = ("", "") if stack is None else (stack.name, stack.status)
    return Change(action, STACK, name, found=Found(STACK, name, status=status), note=f"{status}, {note}")


def _removals(spare: Sequence[Found]) -> tuple[Change, ...]:
    note = "made beside the stack; a stack keeps no generation for a rollback"
    return tuple(Change(Action.DELETE, each.kind, each.name, found=each, note=note) for each in spare)


def _by_id(found: StackDeployment) -> dict[str, Change]:
    return {change.resource.id: change for change in found.plan.changes if change.resource is not None}
