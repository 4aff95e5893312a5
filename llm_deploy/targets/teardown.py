"""Taking a deployment away: what goes, what a wait costs meanwhile, and the search that proves that nothing is left."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from llm_deploy.deploy.apply import Clock, Stage, Step, SystemClock
from llm_deploy.deploy.claims import named_by
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Plan, plan_deletion, short_kind
from llm_deploy.deploy.receipt import Left, Receipt, money, what_was_done
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S, DeploymentService
from llm_deploy.errors import AccessDeniedError, LeftoverError, WaitTimeoutError
from llm_deploy.resource import ENDPOINT, ENDPOINT_CONFIG, INFERENCE_COMPONENT, MODEL
from llm_deploy.targets import deployment, holders
from llm_deploy.targets.deployment import stacks_named_by
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker.hosting import EndpointConfigManager, EndpointManager, HostingManager, ModelManager
from llm_deploy.targets.sagemaker.machines import machines, usd_per_hour
from llm_deploy.targets.stack.follow import Follower
from llm_deploy.targets.stack.stacks import Stack, Stacks

COST_AFTER_S = 5.0
"""From here on a wait says what it costs: shorter ones cost less than a cent on any machine."""
UNREADABLE = "may not be looked at"
GOES_ON = (
    "Nothing is lost: the same command goes on from here, and waits longer with a larger --timeout. "
    "AWS removes nothing while it is at work on it."
)


@dataclass(frozen=True, slots=True)
class Removal:
    """One deployment and what has to go of it.

    Attributes:
        plan: What is removed, in order.
        not_ours: What stands beside it and is left alone: it carries no tag of ours, or may not be looked at.
        usd_per_hour: What its machines bill now; `None` when unknown, 0 when there are none.
        stacks: The CloudFormation stacks that hold it and go first; they are in the plan too.
        objects: The part of the plan that is this deployment's own, removed one by one where no stack does it.
    """

    name: str
    connection: Connection
    service: DeploymentService
    plan: Plan
    not_ours: tuple[Found, ...]
    usd_per_hour: float | None
    stacks: tuple[Stack, ...]
    objects: Plan


def prepare(name: str, connection: Connection, *, logs: bool = False) -> Removal:
    """Look at a deployment. Reads only; with `logs`, its log groups are to go as well.

    Raises:
        ConflictError: The endpoint, or a component on it, is not ours; or a stack holds more than this.
    """
    service = deployment.removal_service(name, connection, logs=logs, through_stacks=True)
    plan = deployment.plan_removal(name, connection, service=service)
    ours = [change.found for change in plan.changes if change.found is not None]
    related = _related(name, ours, connection)
    if adopted := [found for found in related if found.owned_by == name]:
        ours += adopted
        inventory = Inventory(name, {found.key: found for found in ours}, released=stacks_named_by(ours))
        plan = plan_deletion(inventory, tuple(service.resource_manager.managers))
    not_ours = tuple(found for found in related if found.owned_by is None)
    stacks = holders.stacks_of(name, connection, ours)
    whole = holders.with_stacks(plan, stacks, connection)
    return Removal(name, connection, service, whole, not_ours, _bills(ours, connection), stacks, plan)


def carry_out(removal: Removal, *, timeout_s: float = DEFAULT_TIMEOUT_S, clock: Clock | None = None) -> Iterator[Step]:
    """Remove it, within the time allowed for all of it together. Long waits say what they cost meanwhile.

    Raises:
        WaitTimeoutError: The time allowed passed; the message says what still bills.
    """
    try:
        for step in _steps(removal, timeout_s, clock or SystemClock()):
            long = step.stage is Stage.WAITING and step.elapsed_s >= COST_AFTER_S
            costs = long and removal.usd_per_hour != 0 and not _after_the_endpoint(step)
            yield replace(step, detail=f"{money(removal.usd_per_hour)} meanwhile") if costs else step
    except WaitTimeoutError as error:
        endpoint = EndpointManager(removal.connection.session).find(removal.name)
        bills = _bills([endpoint] if endpoint else [], removal.connection)
        raise WaitTimeoutError(f"{error.message} Still billing: {money(bills)}.", hint=GOES_ON) from error


def _steps(removal: Removal, timeout_s: float, clock: Clock) -> Iterator[Step]:
    """Stacks with all that they hold, then what is there all the same."""
    if not removal.stacks:
        yield from removal.service.apply(removal.objects, timeout_s=timeout_s)
        return
    follower = Follower(Stacks(removal.connection.session), clock, clock.now_s() + timeout_s)
    yield from holders.deleted(removal.stacks, follower)
    managers = removal.service.resource_manager.managers
    there = (each for each in removal.objects.changes if managers[each.kind].find(each.name))
    yield from removal.service.apply(Plan(removal.name, tuple(there)), timeout_s=follower.left_s)


def receipt(removal: Removal, steps: Iterable[Step], started_s: float, *, ended: bool = True) -> Receipt:
    """Search again and say what was removed and what is left.

    Args:
        removal: What was to go.
        steps: What was done.
        started_s: When, on `time.monotonic`.
        ended: Whether the removal came to its end; of one that did not, what is left is no news and looked for once.
    """
    standing = removal.service.left(removal.name) if ended else removal.service.inventory(removal.name).ours()
    connection = removal.connection
    remaining = tuple(left(found, connection) for found in standing)
    costs = [item.usd_per_hour for item in remaining]
    return Receipt(
        deployment=removal.name,
        target=connection.target,
        account=connection.account,
        region=connection.region,
        done=what_was_done(steps),
        seconds=round(time.monotonic() - started_s, 2),
        usd_per_hour=None if None in costs else sum((cost for cost in costs if cost is not None), start=0.0),
        left=remaining,
        not_ours=tuple(left(found, connection) for found in removal.not_ours),
    )


def check(receipt: Receipt) -> None:
    """Raise LeftoverError, with each object and what it costs, unless nothing is left."""
    if receipt.left:
        listed = "".join(f"\n  {item}" for item in receipt.left)
        raise LeftoverError(
            f"still there after the deletion of {receipt.deployment}:{listed}\n"
            f"still billing: {money(receipt.usd_per_hour)}",
            hint="Run the same command again; it goes on with what is left.",
        )


def left(found: Found, connection: Connection) -> Left:
    """An object that stays, and what it costs."""
    return Left(short_kind(found.kind), found.name, found.status, _cost(found, connection))


def _cost(found: Found, connection: Connection) -> float | None:
    """Machines bill, and they are the endpoint's. Whether a component whose endpoint is gone bills is not known."""
    if found.status == UNREADABLE:
        return None
    if found.kind == ENDPOINT:
        return usd_per_hour(machines(connection.session, found), connection.region)
    if found.kind == INFERENCE_COMPONENT:
        on = EndpointManager(connection.session).find(str(found.properties["EndpointName"]))
        return None if on is None else 0.0
    return 0.0


def _bills(found: Iterable[Found], connection: Connection) -> float | None:
    costs = [_cost(item, connection) for item in found if item.kind == ENDPOINT]
    return None if None in costs else sum((cost for cost in costs if cost is not None), start=0.0)


def _after_the_endpoint(step: Step) -> bool:
    return step.kind in {ENDPOINT_CONFIG, MODEL}


def _related(name: str, ours: Iterable[Found], connection: Connection) -> tuple[Found, ...]:
    """Models and configs that the search by name does not give: what ours name, and what is named as only ours are."""
    found = {item.key: item for item in ours}
    session = connection.session
    # Configs first: one that is found may name a model.
    managers: tuple[HostingManager, ...] = (EndpointConfigManager(session), ModelManager(session))
    more: list[Found] = []
    for manager in managers:
        named = {other for item in (*found.values(), *more) for kind, other in named_by(item) if kind == manager.kind}
        alike = {other for other in manager.named(name) if re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{8}}", other)}
        unknown = sorted(other for other in named | alike if (manager.kind, other) not in found)
        more += [item for item in (_looked_at(manager, other) for other in unknown) if item is not None]
    return tuple(more)


def _looked_at(manager: HostingManager, name: str) -> Found | None:
    try:
        return manager.find(name)
    except AccessDeniedError:
        return Found(manager.kind, name, status=UNREADABLE)
