"""`DeploymentService`: plan, apply, delete, over a set of resource managers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from llm_deploy.deploy.account import with_account
from llm_deploy.deploy.apply import Applier, Clock, Step, SystemClock
from llm_deploy.deploy.inventory import Found, Inventory, Managers, take_inventory
from llm_deploy.deploy.lookout import Lookout
from llm_deploy.deploy.plan import Plan, plan, plan_deletion, short_kind
from llm_deploy.errors import LeftoverError
from llm_deploy.resource import Resource

DEFAULT_TIMEOUT_S = 3600.0
"""An hour: SageMaker's own start-up window ends there."""

LISTS_LAG_S = 20.0
LISTS_LAG_DELAY_S = 2.0
"""How long, and how often, what a deletion left is looked for again before it counts as left."""


class ManagerSet(Protocol):
    """What a target's `ResourceManager` is to the service: one manager a kind, in the order of making."""

    @property
    def managers(self) -> Managers:
        """The managers by kind."""
        ...


def _always(_stack: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class DeploymentService:
    """Makes the cloud agree with a list of resources, and takes it all away again.

    Every method may be called again after an interruption anywhere; the end is the same.
    """

    resource_manager: ManagerSet
    clock: Clock = field(default_factory=SystemClock)
    by: str = ""
    """Who runs it, for the tag that another run at the same time reads; empty: nobody is told."""
    stack_exists: Callable[[str], bool] = _always
    """Whether a CloudFormation stack that objects name is still there; without an answer it is taken to be."""

    def inventory(self, deployment: str, wanted: Sequence[Resource] = ()) -> Inventory:
        """What the cloud holds of a deployment, and at the names that it wants."""
        return self.with_released(take_inventory(deployment, wanted, self.resource_manager.managers))

    def with_released(self, found: Inventory) -> Inventory:
        """An inventory that knows which of the stacks that its objects name are gone."""
        gone = frozenset(name for name in found.stacks if not self.stack_exists(name))
        return replace(found, released=found.released | gone)

    def plan(self, deployment: str, wanted: Sequence[Resource]) -> Plan:
        """What has to change. Reads only. Raises ConflictError where a name is not ours to take."""
        return plan(wanted, self.inventory(deployment, wanted))

    def plan_deletion(self, deployment: str) -> Plan:
        """What has to be removed so that nothing of the deployment is left. Reads only."""
        return plan_deletion(self.inventory(deployment), tuple(self.resource_manager.managers))

    def apply(self, plan: Plan, *, timeout_s: float = DEFAULT_TIMEOUT_S, wait: bool = True) -> Iterator[Step]:
        """Carry a plan out; the steps come as they happen, and the work is done by reading them.

        Without `wait` it returns once the first object that takes time has been started; another run goes on.
        """
        managers = self.resource_manager.managers
        lookout = Lookout(managers, self.clock, self.clock.now_s() + timeout_s)
        return with_account(Applier(managers, lookout, wait, self.by).run(plan))

    def delete(self, plan: Plan, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[Step]:
        """Carry a deletion out and then search again.

        Raises:
            LeftoverError: The search found something; its message lists it.
        """
        yield from self.apply(plan, timeout_s=timeout_s)
        left = self.left(plan.deployment)
        if left:
            names = ", ".join(f"{short_kind(found.kind)} {found.name} ({found.status})" for found in left)
            raise LeftoverError(f"still there after the deletion: {names}", hint="Run the same command again.")

    def left(self, deployment: str) -> tuple[Found, ...]:
        """What belongs to a deployment after its deletion: the proof when empty.

        Lists may lag behind what was done a moment ago, so what is found is looked for again for a while.
        """
        waited_s = 0.0
        while left := self.inventory(deployment).ours():
            if waited_s >= LISTS_LAG_S:
                return left
            self.clock.sleep(LISTS_LAG_DELAY_S)
            waited_s += LISTS_LAG_DELAY_S
        return ()
