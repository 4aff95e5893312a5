"""The CloudFormation stacks that hold a deployment: finding them, and deleting them before anything else goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_deploy.deploy.apply import Step
from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Action, Change, Plan
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.render.cloudformation import stack_name
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.events import STACK
from llm_deploy.targets.stack.follow import Follower
from llm_deploy.targets.stack.refusals import holds_more, refuse_additions
from llm_deploy.targets.stack.stacks import Member, Stack, Stacks


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
    """A plan of removal with its stacks in front, each with what else it holds.

    Raises:
        ConflictError: One holds what no deployment has; or one of another tool's holds more than this deployment.
    """
    lines: list[Change] = []
    for stack in stacks:
        members = _members(stack, Stacks(connection.session))
        more = _beside(plan, members)
        if stack.tags.get(TAG_DEPLOYMENT) == plan.deployment:
            refuse_additions(stack, plan.deployment, members, deployment.ResourceManager(connection).managers)
        elif more:
            raise holds_more(stack, plan.deployment, more)
        lines += [_stack_line(stack), *(_member_line(stack, member) for member in more)]
    return Plan(plan.deployment, (*lines, *plan.changes))


def deleted(stacks: Sequence[Stack], follower: Follower) -> Iterator[Step]:
    """Delete stacks and all that they hold, one after another. Raises LeftoverError, WaitTimeoutError."""
    for stack in stacks:
        if stack.busy and not stack.status.startswith(("CREATE", "DELETE")):
            yield from follower.followed(stack)  # AWS deletes none that is being updated
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


def _members(stack: Stack, stacks: Stacks) -> tuple[Member, ...]:
    """What goes with a stack; one that is gone by now takes nothing."""
    if stack.in_review:
        return ()
    try:
        return stacks.members(stack.name)
    except NotFoundError:
        return ()


def _beside(plan: Plan, members: Sequence[Member]) -> list[Member]:
    """The members that a plan of removal does not name."""
    named = {(change.kind, change.name.lower()) for change in plan.changes}
    return [member for member in members if (member.kind, member.name.lower()) not in named]


def _stack_line(stack: Stack) -> Change:
    found = Found(STACK, stack.name, status=stack.status)
    return Change(Action.DELETE, STACK, stack.name, found=found, note=stack.status)


def _member_line(stack: Stack, member: Member) -> Change:
    found = Found(member.kind, member.name, status=member.status)
    return Change(Action.DELETE, member.kind, member.name, found=found, note=f"held by stack {stack.name}")
