"""What a deletion removes: through the CloudFormation stack that holds it, where there is one, and then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llm_deploy.deploy.apply import Clock, Step, SystemClock
from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Action, Change, Plan, short_kind
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S
from llm_deploy.errors import AccessDeniedError, ConflictError
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.changes import object_name
from llm_deploy.targets.stack.events import STACK, EventReader
from llm_deploy.targets.stack.follow import Follower
from llm_deploy.targets.stack.stacks import Stack, Stacks, stack_name


@dataclass(frozen=True)
class Removal:
    """A deletion that has been planned.

    Attributes:
        plan: What is shown; objects in a stack go in CloudFormation's order.
        stacks: The stacks that go first; without any, the plan is carried out as it is.
    """

    connection: Connection
    plan: Plan
    stacks: tuple[Stack, ...] = ()
    clock: Clock = field(default_factory=SystemClock)

    def steps(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[Step]:
        """Remove everything and search again.

        Raises:
            LeftoverError: A stack cannot be deleted, or the search found something.
        """
        follower = Follower(Stacks(self.connection.session), self.clock, self.clock.now_s() + timeout_s)
        for stack in self.stacks:
            if stack.busy and not stack.status.startswith(("CREATE", "DELETE")):
                yield from follower.until_settled(stack, EventReader())  # AWS deletes none that is being updated
            yield from follower.deleted(stack)
        plan = self.plan if not self.stacks else self._rest()
        yield from deployment.service_for(self.connection).delete(plan, timeout_s=timeout_s)

    def _rest(self) -> Plan:
        released = [stack.name for stack in self.stacks]
        return deployment.plan_removal(self.plan.deployment, self.connection, released=released)


def plan_removal(name: str, connection: Connection) -> Removal:
    """What has to go so that nothing of a deployment is left.

    Raises:
        ConflictError: The endpoint is not ours, or its stack holds other things too.
    """
    own = _own_stack(name, connection)
    if own is None:
        try:
            return Removal(connection, deployment.plan_removal(name, connection))
        except ConflictError:
            stacks = _named_stacks(name, connection)
            if not stacks:
                raise
    else:
        stacks = [own, *(each for each in _named_stacks(name, connection) if each.name != own.name)]
    plan = deployment.plan_removal(name, connection, released=[stack.name for stack in stacks])
    for stack in stacks:
        _refuse_what_holds_more(stack, plan, Stacks(connection.session))
    lines = [Change(Action.DELETE, STACK, each.name, found=_found(each), note=each.status) for each in stacks]
    return Removal(connection, Plan(name, (*lines, *plan.changes)), tuple(stacks))


def _own_stack(name: str, connection: Connection) -> Stack | None:
    """The stack that a deployment through CloudFormation makes, in whatever state; `None` also where one may not ask.

    One without tags is ours while it holds nothing: a change set, or an import, that was cut off. If it holds objects
    of ours, their tags lead to it.
    """
    stacks = Stacks(connection.session)
    try:
        found = stacks.find(stack_name(name))
    except AccessDeniedError:
        return None  # an identity that deploys without CloudFormation need not be allowed to ask it
    if found is None or found.tags.get(TAG_DEPLOYMENT) == name:
        return found
    empty = TAG_DEPLOYMENT not in found.tags and (found.in_review or not stacks.members(found.name))
    return found if empty else None


def _named_stacks(name: str, connection: Connection) -> Sequence[Stack]:
    """Stacks that the deployment's objects name, and that are there."""
    stacks = Stacks(connection.session)
    named = deployment.service_for(connection).inventory(name).stacks
    return [found for each in sorted(named) if (found := stacks.find(each)) is not None]


def _refuse_what_holds_more(stack: Stack, plan: Plan, stacks: Stacks) -> None:
    """Another tool's stack goes only if it holds nothing but this deployment."""
    if stack.in_review or stack.tags.get(TAG_DEPLOYMENT) == plan.deployment:
        return
    ours = {(change.kind, change.name.lower()) for change in plan.changes}
    more = [
        f"{short_kind(member.kind)} {member.logical_id}"
        for member in stacks.members(stack.name)
        if (member.kind, object_name(member.kind, member.physical_id).lower()) not in ours
    ]
    if more:
        raise ConflictError(
            f"stack '{stack.name}' holds '{plan.deployment}' and more: {', '.join(more)}.",
            hint="Delete it with the tool that made it, or with "
            f"`aws cloudformation delete-stack --stack-name {stack.name}`.",
        )


def _found(stack: Stack) -> Found:
    return Found(STACK, stack.name, status=stack.status)
