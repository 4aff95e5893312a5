"""Going back to the generation before, without a spec: all that is needed is asked of the cloud."""

from __future__ import annotations

from dataclasses import dataclass

from llm_deploy import catalog
from llm_deploy.deploy.generations import Generation, in_use, only, previous, to_return_to
from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.deploy.plan import Plan, refuse_what_a_stack_holds
from llm_deploy.errors import BusyError, ConflictError, NotFoundError
from llm_deploy.resource import ENDPOINT, ENDPOINT_CONFIG, INFERENCE_COMPONENT
from llm_deploy.targets.deployment import service_for
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker.history import Entry, history
from llm_deploy.targets.sagemaker.returning import plan_back


@dataclass(frozen=True, slots=True)
class Return:
    """A rollback that can be carried out.

    Attributes:
        component: The inference component that is asked afterwards; `None` on a model-based endpoint.
        usd_per_hour: List price of the generation's machines as its config counts them; `None` when unknown.
    """

    generation: Generation
    plan: Plan
    component: str | None
    usd_per_hour: float | None
    price_note: str | None


def history_of(name: str, connection: Connection) -> tuple[Entry, ...]:
    """The generations of a deployment. Raises NotFoundError when there is none of this name."""
    inventory = service_for(connection).inventory(name)
    _endpoint(name, inventory)
    return history(inventory)


def plan_rollback(name: str, connection: Connection, *, to: str | None = None) -> Return:
    """As `return_of`, of what the cloud holds now. Reads only."""
    return return_of(service_for(connection).inventory(name), connection.region, to=to)


def return_of(inventory: Inventory, region: str, *, to: str | None = None) -> Return:
    """What has to change so that an earlier generation serves. Pure.

    Args:
        inventory: What there is of the deployment.
        region: For the price.
        to: A generation's id, config or model; `None` undoes the last change.

    Raises:
        NotFoundError: There is no such deployment, or no generation (of that name) to return to.
        ConflictError: A CloudFormation stack owns it, or the generations differ in what cannot be changed back.
        BusyError: Something of it is being changed right now.
    """
    name = inventory.deployment
    endpoint = _endpoint(name, inventory)
    component = only(inventory, INFERENCE_COMPONENT)
    refuse_what_a_stack_holds(inventory)
    _refuse_while_busy(endpoint, component)
    generation = _chosen(name, to, inventory)
    changes = plan_back(inventory, generation)
    price, note = _price(generation, inventory, region)
    return Return(generation, changes, component.name if component else None, price, note)


def _endpoint(name: str, inventory: Inventory) -> Found:
    endpoint = only(inventory, ENDPOINT)
    if endpoint is None:
        raise NotFoundError(f"there is no deployment '{name}' here", hint="`llmdeploy list` shows what there is.")
    return endpoint


def _refuse_while_busy(*objects: Found | None) -> None:
    for found in objects:
        if found is not None and found.state in {State.BUSY, State.DELETING}:
            raise BusyError(
                f"'{found.name}' is {found.status}: until that ends, what serves and what served before is open.",
                hint=f"`llmdeploy status {found.owned_by}` tells when it ends; AWS itself undoes an update that fails.",
            )


def _chosen(name: str, to: str | None, inventory: Inventory) -> Generation:
    found = (to_return_to(inventory), previous(inventory), in_use(inventory) if to else None)
    known = {generation.id: generation for generation in found if generation is not None}
    fitting = [generation for generation in known.values() if to is None or to in _names(generation)]
    exact = [generation for generation in fitting if generation.id == to]
    if to is None and fitting:
        return fitting[0]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        ids = " and ".join(generation.id for generation in fitting)
        raise ConflictError(f"'{to}' is part of the generations {ids} of '{name}'; name one by its id.")
    if to is None or not known:
        raise NotFoundError(
            f"'{name}' has no previous generation to return to.",
            hint="One is kept from the first change on. Deploy the earlier spec instead.",
        )
    raise NotFoundError(
        f"'{name}' has no generation {to}, or not any more; there are {', '.join(known)}.",
        hint=f"`llmdeploy history {name}` lists them; two are kept, the one in use and the one before.",
    )


def _names(generation: Generation) -> set[str]:
    """What a person may call a generation: its id, its config, its component's model."""
    return {generation.id, generation.config, (generation.component or {}).get("model", generation.id)}


def _price(generation: Generation, inventory: Inventory, region: str) -> tuple[float | None, str | None]:
    """Dollars an hour at list price, and where they are from; nothing where a machine's price is not known."""
    config = next(found for found in inventory.ours() if found.key == (ENDPOINT_CONFIG, generation.config))
    total, note = 0.0, None
    for variant in config.properties.get("ProductionVariants", ()):
        if variant.get("InstanceType") not in catalog.instances():
            return None, None
        each = catalog.price(variant["InstanceType"], region)
        if each.usd_per_hour is None:
            return None, None
        total, note = total + each.usd_per_hour * variant["InitialInstanceCount"], each.note
    return total, note
