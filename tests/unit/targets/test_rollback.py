"""Rollback and history over an inventory: what is chosen, what is refused, what is said to differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.deploy.plan import Action
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import BusyError, ConflictError, LlmDeployError, NotFoundError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_DEPLOYMENT,
)
from llm_deploy.targets.rollback import return_of
from llm_deploy.targets.sagemaker.history import IN_USE, PREVIOUS, UNUSED, history
from llm_deploy.targets.sagemaker.strategy import resources
from tests.fakes.cloud import FakeClock, FakeCloud
from tests.specs import resolved, twin

REGION = "eu-central-1"
FLEET: dict[str, Any] = {"endpoint_type": "model", "autoscaling": {"max_copies": 3}}
OTHER = {"instance": "ml.g6.xlarge", "environment": {"HF_TOKEN": "hf_" + "a" * 20}, "allow_token_in_environment": True}


def cloud_with(*changes: dict[str, Any]) -> FakeCloud:
    """A cloud after these specs of the Twin, deployed one after the other."""
    cloud = FakeCloud()
    service = DeploymentService(cloud, FakeClock())
    for each in changes:
        for _ in service.apply(service.plan("twin", resources(resolved(twin(**each))))):
            pass
    for key, found in cloud.objects.items():
        if key[0] == SCALING_POLICY:  # as their manager finds them: with the tags of what they hang on
            cloud.objects[key] = replace(found, tags={TAG_DEPLOYMENT: "twin"})
    return cloud


def inventory_of(cloud: FakeCloud) -> Inventory:
    return DeploymentService(cloud, FakeClock()).inventory("twin")


def with_endpoint(inventory: Inventory, **changes: Any) -> Inventory:  # noqa: ANN401 - fields of a Found
    endpoint = replace(inventory.found[ENDPOINT, "twin"], **changes)
    return Inventory("twin", {**inventory.found, endpoint.key: endpoint})


@pytest.mark.parametrize("base", [{}, FLEET], ids=["component", "model"])
def test_a_generation_goes_by_its_id_its_config_and_its_model(base: dict[str, Any]) -> None:
    """Whatever `history` prints names it, as far as it names one alone."""
    inventory = inventory_of(
        cloud_with(base, {**base, "limits": {"max_total_tokens": 512}, "instance": "ml.g6.xlarge"})
    )
    _, before = history(inventory)
    names = [None, before.id, before.config, *(before.models if not base else ())]
    plans = [return_of(inventory, REGION, to=name).plan for name in names]
    assert all(found == plans[0] and not found.empty for found in plans)


def test_a_name_that_two_generations_share_is_not_guessed() -> None:
    """A change of the machine keeps the component's model."""
    inventory = inventory_of(cloud_with({}, {"instance": "ml.g6.xlarge"}))
    with pytest.raises(ConflictError, match="name one by its id"):
        return_of(inventory, REGION, to=history(inventory)[0].models[0])


def test_the_generation_in_use_is_reached_already() -> None:
    """Naming it is no error and changes nothing: the same command may run twice."""
    inventory = inventory_of(cloud_with({}, OTHER))
    assert return_of(inventory, REGION, to=history(inventory)[0].id).plan.empty


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"tags": {TAG_DEPLOYMENT: "twin", "aws:cloudformation:stack-name": "s"}}, ConflictError, "stack 's'"),
        ({"state": State.BUSY, "status": "Updating"}, BusyError, "'twin' is Updating"),
        ({"owned_by": None}, NotFoundError, "no deployment 'twin'"),
        ({"tags": {TAG_DEPLOYMENT: "twin"}}, NotFoundError, "no previous generation"),
    ],
)
def test_where_there_is_no_way_back_it_is_said_why(
    change: dict[str, Any], error: type[LlmDeployError], says: str
) -> None:
    """Stacks are left to CloudFormation, and nothing is decided while AWS decides."""
    inventory = inventory_of(cloud_with({}, OTHER))
    with pytest.raises(error, match=says) as caught:
        return_of(with_endpoint(inventory, **change), REGION)
    assert caught.value.hint


def test_a_component_that_changes_is_waited_for_as_well() -> None:
    """The endpoint may be InService while its component is on its way."""
    inventory = inventory_of(cloud_with({}, OTHER))
    component = replace(inventory.found[INFERENCE_COMPONENT, "twin"], state=State.BUSY, status="Updating")
    with pytest.raises(BusyError):
        return_of(Inventory("twin", {**inventory.found, component.key: component}), REGION)


def test_what_was_never_kept_is_named_as_missing() -> None:
    """The message says what there is."""
    inventory = inventory_of(cloud_with({}, OTHER))
    with pytest.raises(NotFoundError, match=history(inventory)[1].id):
        return_of(inventory, REGION, to="deadbeef")


def test_a_variant_of_another_name_is_not_returned_to() -> None:
    """Rules and alarms hang on it; the spec can be deployed."""
    inventory = inventory_of(cloud_with(FLEET, {**FLEET, "variant_name": "Other"}))
    with pytest.raises(ConflictError, match="a rollback keeps variants"):
        return_of(inventory, REGION)


def test_the_machine_of_a_scalable_variant_goes_back_between_removing_and_making_its_rule() -> None:
    """AWS refuses the change while the variant may scale; the bounds and the rule come back as they are now."""
    cloud = cloud_with(FLEET, {**FLEET, "instance": "ml.g6.xlarge", "autoscaling": {"max_copies": 4, "target": 9}})
    found = return_of(inventory_of(cloud), REGION)
    actions = {change.kind: change.action for change in found.plan.changes if change.action is not Action.KEEP}
    assert actions == {ENDPOINT: Action.UPDATE, SCALABLE_TARGET: Action.REPLACE, SCALING_POLICY: Action.REPLACE}
    endpoint, target = (
        next(change.resource for change in found.plan.changes if change.kind == kind and change.resource)
        for kind in (ENDPOINT, SCALABLE_TARGET)
    )
    assert endpoint.properties["RetainAllVariantProperties"] is True
    assert target.properties["MaxCapacity"] == 4


def test_a_rollback_is_watched_by_no_alarm() -> None:
    """Those that went off for the bad generation would undo the way back from it."""
    watched = {"update": {"alarms": {"errors_above": 1}}}
    found = return_of(inventory_of(cloud_with(watched, {**watched, **OTHER})), REGION)
    policies = [each.resource.properties.get("DeploymentConfig", {}) for each in found.plan.changes if each.resource]
    assert not any("AutoRollbackConfiguration" in policy for policy in policies)
    kept = {change.name: change.action for change in found.plan.changes}
    assert kept["twin-rollback-errors"] is Action.KEEP


def test_the_price_is_that_of_the_machines_that_come_back() -> None:
    """As for a deploy: list price, with where it is from; nothing made up for what the catalogue does not know."""
    cloud = cloud_with({}, OTHER)
    found = return_of(inventory_of(cloud), REGION)
    assert found.usd_per_hour == pytest.approx(resolved(twin()).usd_per_hour)
    assert found.price_note == resolved(twin()).price_note
    key = (ENDPOINT_CONFIG, found.generation.config)
    strange = {"ProductionVariants": [{"VariantName": "AllTraffic", "InstanceType": "ml.z9.large"}]}
    cloud.objects[key] = replace(cloud.objects[key], properties=strange)
    assert return_of(inventory_of(cloud), REGION).usd_per_hour is None


def test_history_says_what_differs_and_no_secret() -> None:
    """Newest first: what serves, then what served before with its differences from it."""
    now, before = history(inventory_of(cloud_with({}, {**OTHER, "resources": {"memory_mib": 2048}})))
    assert (now.state, before.state, now.differs) == (IN_USE, PREVIOUS, ())
    differs = {item.name: (item.here, item.in_use) for item in before.differs}
    assert differs["InstanceType"] == ("ml.g5.2xlarge", "ml.g6.xlarge")
    assert differs["memory_mib"] == ("1024", "2048")
    assert differs["HF_TOKEN"][0] is None
    assert "hf_" not in str(differs["HF_TOKEN"])
    assert before.made is not None
    assert now.made is not None
    assert before.made < now.made


def test_history_names_what_was_made_and_never_served() -> None:
    """It is no generation and has no id; the next deploy removes it."""
    cloud = cloud_with({}, OTHER)
    half = Found(MODEL, "twin-halfmade", tags={TAG_DEPLOYMENT: "twin"}, owned_by="twin")
    cloud.objects[half.key] = half
    *_, last = history(inventory_of(cloud))
    assert (last.id, last.state, last.models) == ("", UNUSED, ("twin-halfmade",))
