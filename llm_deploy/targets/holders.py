"""The CloudFormation stacks that hold a deployment: finding them, and deleting them before anything else goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_deploy.deploy.apply import Clock, Step, SystemClock
from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Action, Change, Plan, short_kind
from llm_deploy.errors import AccessDeniedError, ConflictError
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.changes import object_name
from llm_deploy.targets.stack.events import STACK, EventReader
from llm_deploy.targets.stack.follow import Follower
from llm_deploy.targets.stack.stacks import Stack, Stacks, stack_name


def stacks_of(name: str, connection: Connection, found: Sequence[Found]) -> tuple[Stack, ...]:
    """The stacks that have to be deleted with a deployment: its own, in whatever state, and those that objects name.

    Args:
        name: The deployment's name.
        connection: Where it is.
        found: Its objects.
    """
    stacks = Stacks(connection.session)
    own = _own_stack(name, stacks)
    others = sorted(deployment.stacks_named_by(found) - {own.name if own is not None else ""})
    standing = (stacks.find(each) for each in others)
    return (*([own] if own is not None else []), *(each for each in standing if each is not None))


def with_stacks(plan: Plan, stacks: Sequence[Stack], connection: Connection) -> Plan:
    """A plan of removal with its stacks in front.

    Raises:
        ConflictError: One of another tool's holds more than this deployment.
    """
    for stack in stacks:
        _refuse_what_holds_more(stack, plan, Stacks(connection.session))
    lines = (
        Change(Action.DELETE, STACK, each.name, found=Found(STACK, each.name, status=each.status), note=each.status)
        for each in stacks
    )
    return Plan(plan.deployment, (*lines, *plan.changes))


def deleted(
    stacks: Sequence[Stack], connection: Connection, timeout_s: float, clock: Clock | None = None
) -> Iterator[Step]:
    """Delete stacks and all that they hold, one after another. Raises LeftoverError, WaitTimeoutError."""
    clock = clock or SystemClock()
    follower = Follower(Stacks(connection.session), clock, clock.now_s() + timeout_s)
    for stack in stacks:
        if stack.busy and not stack.status.startswith(("CREATE", "DELETE")):
            yield from follower.until_settled(stack, EventReader())  # AWS deletes none that is being updated
        yield from follower.deleted(stack)


def _own_stack(name: str, stacks: Stacks) -> Stack | None:
    """The stack that a deployment through CloudFormation makes; `None` also where one may not ask.

    One without tags is ours while it holds nothing: a change set, or an import, that was cut off. If it holds objects
    of ours, their tags lead to it.
    """
    try:
        found = stacks.find(stack_name(name))
    except AccessDeniedError:
        return None  # an identity that deploys without CloudFormation need not be allowed to ask it
    if found is None or found.tags.get(TAG_DEPLOYMENT) == name:
        return found
    empty = TAG_DEPLOYMENT not in found.tags and (found.in_review or not stacks.members(found.name))
    return found if empty else None


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
