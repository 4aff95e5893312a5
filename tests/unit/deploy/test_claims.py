"""What a deployment claims: what serves, what is being made, the generation before; everything else is garbage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from llm_deploy.deploy.claims import Unclaimed, unclaimed
from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    LOG_GROUP,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_OF_CLOUDFORMATION,
    TRACKING_ALARM,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR_S = 3600.0


def ours(kind: str, name: str, age_h: float = 24, **properties: object) -> Found:
    """An object of the deployment `twin`."""
    return Found(kind, name, properties, created_at=NOW - timedelta(hours=age_h), owned_by="twin")


def config(name: str, model: str, age_h: float = 24) -> Found:
    return ours(ENDPOINT_CONFIG, name, age_h, ProductionVariants=[{"ModelName": model}])


ENDPOINT_UP = ours(ENDPOINT, "twin", EndpointConfigName="c3")
GENERATIONS = [item for n in (1, 2, 3) for item in (ours(MODEL, f"m{n}", 30 - n), config(f"c{n}", f"m{n}", 30 - n))]


def judged(*objects: Found, older_than_s: float = HOUR_S) -> tuple[Unclaimed, ...]:
    inventory = Inventory("twin", {found.key: found for found in objects})
    return unclaimed(inventory, NOW, older_than_s)


def garbage(*objects: Found, older_than_s: float = HOUR_S) -> set[str]:
    return {item.found.name for item in judged(*objects, older_than_s=older_than_s) if not item.spared}


def test_the_generation_in_use_and_the_one_before_are_claimed() -> None:
    """A generation is a config and its models; older ones are garbage."""
    assert garbage(ENDPOINT_UP, *GENERATIONS) == {"c1", "m1"}


def test_without_an_endpoint_nothing_is_claimed() -> None:
    """Also not the newest, nor a component that says InService."""
    component = ours(INFERENCE_COMPONENT, "twin", EndpointName="twin", Specification={"ModelName": "m3"})
    assert garbage(component, *GENERATIONS) == {"twin", "c1", "c2", "c3", "m1", "m2", "m3"}


def test_an_endpoint_that_is_not_ours_makes_no_deployment() -> None:
    """Somebody took the name; what is tagged for it is as unclaimed as before."""
    assert garbage(replace(ENDPOINT_UP, owned_by=None), *GENERATIONS) == {"c1", "c2", "c3", "m1", "m2", "m3"}


def test_a_components_model_is_in_use() -> None:
    """Also where it is the oldest, after a rollback."""
    endpoint = ours(ENDPOINT, "twin", EndpointConfigName="c1")
    component = ours(INFERENCE_COMPONENT, "twin", EndpointName="twin", Specification={"ModelName": "m1"})
    objects = [ours(ENDPOINT_CONFIG, "c1"), *(ours(MODEL, f"m{n}", 30 - n) for n in (1, 2, 3))]
    assert garbage(endpoint, component, *objects) == {"m2"}


def test_a_shadow_variants_model_is_in_use() -> None:
    """It serves copies of the requests; without its model the endpoint could not scale or be updated."""
    shadow = {"ProductionVariants": [{"ModelName": "m3"}], "ShadowProductionVariants": [{"ModelName": "m1"}]}
    models = [ours(MODEL, f"m{n}", 30 - n) for n in (1, 2, 3, 4)]
    assert garbage(ENDPOINT_UP, ours(ENDPOINT_CONFIG, "c3", 24, **shadow), *models) == {"m2"}, "m4 is one to go back to"


@pytest.mark.parametrize("state", [State.BUSY, State.DELETING])
@pytest.mark.parametrize("busy", [ENDPOINT, INFERENCE_COMPONENT])
def test_while_something_is_under_way_everything_is_claimed(state: State, busy: str) -> None:
    """Nobody can tell which generation an update is making."""
    component = ours(INFERENCE_COMPONENT, "twin", EndpointName="twin", Specification={"ModelName": "m3"})
    objects = [replace(found, state=state) if found.kind == busy else found for found in (ENDPOINT_UP, component)]
    assert garbage(*objects, *GENERATIONS) == set()


def test_the_config_that_an_update_moves_to_is_in_use() -> None:
    """Also where the endpoint says that it rests, between two looks."""
    endpoint = ours(ENDPOINT, "twin", EndpointConfigName="c1", PendingDeploymentSummary={"EndpointConfigName": "c3"})
    assert garbage(endpoint, *GENERATIONS) == set()


def test_rules_on_what_stands_are_claimed_and_rules_on_nothing_are_not() -> None:
    """Targets, policies and logs go with the endpoint or the component that they are named after."""
    objects = [
        ours(SCALABLE_TARGET, "endpoint/twin/variant/v"),
        ours(SCALING_POLICY, "endpoint/twin/variant/v|p"),
        ours(LOG_GROUP, "/aws/sagemaker/Endpoints/twin"),
        ours(SCALABLE_TARGET, "inference-component/gone"),
        ours(SCALING_POLICY, "inference-component/gone|p"),
        ours(LOG_GROUP, "/aws/sagemaker/InferenceComponents/gone"),
        ours(TRACKING_ALARM, "TargetTracking-inference-component/gone-AlarmHigh-1"),
    ]
    assert garbage(ENDPOINT_UP, *GENERATIONS[2:], *objects) == {found.name for found in objects[3:]}


def test_young_objects_are_spared() -> None:
    """Between the model and the endpoint of a first deploy there is no endpoint that could claim the model."""
    assert garbage(ours(MODEL, "old", 24), ours(MODEL, "new", 0.5)) == set()
    assert {item.spared for item in judged(ours(MODEL, "old", 24), ours(MODEL, "new", 0.5))} == {
        "young: somebody may be deploying it",
        "others of its deployment are young: somebody may be deploying it",
    }
    assert garbage(ours(MODEL, "old", 24), ours(MODEL, "new", 0.5), older_than_s=0) == {"old", "new"}


def test_of_a_deployment_that_stands_only_the_young_themselves_are_spared() -> None:
    """Its endpoint claims what is in use, so an old superseded object is garbage whatever else is new."""
    assert garbage(ENDPOINT_UP, *GENERATIONS, ours(MODEL, "new", 0.5)) == {"c1", "m1"}


def test_what_a_stack_owns_is_spared() -> None:
    """Only the stack's deletion may remove it, else the stack is broken."""
    (found,) = judged(replace(ours(MODEL, "m"), tags={TAG_OF_CLOUDFORMATION: "my-stack"}))
    assert found.spared == "of the stack my-stack"


def test_what_a_deleted_stack_left_is_garbage() -> None:
    """Its tags stay on what it retained, and nobody else would ever remove it. Its age counts as of all else."""
    left = [replace(ours(MODEL, name), tags={TAG_OF_CLOUDFORMATION: name}) for name in ("gone", "standing")]
    inventory = Inventory("twin", {found.key: found for found in left}, released=frozenset({"gone"}))
    assert {item.found.name: item.spared for item in unclaimed(inventory, NOW, HOUR_S)} == {
        "gone": "",
        "standing": "of the stack standing",
    }
    young = replace(left[0], created_at=NOW)
    (found,) = unclaimed(replace(inventory, found={young.key: young}), NOW, HOUR_S)
    assert found.spared == "young: somebody may be deploying it"


@given(
    used=st.integers(0, 5),
    ages_h=st.lists(st.floats(0, 100, allow_nan=False), min_size=6, max_size=6),
    guard_h=st.floats(0, 100, allow_nan=False),
)
def test_what_serves_and_what_is_young_is_never_garbage(used: int, ages_h: list[float], guard_h: float) -> None:
    """Whatever the ages and whichever generation serves."""
    endpoint = ours(ENDPOINT, "twin", EndpointConfigName=f"c{used}")
    objects = [
        item
        for n, age_h in enumerate(ages_h)
        for item in (ours(MODEL, f"m{n}", age_h), config(f"c{n}", f"m{n}", age_h))
    ]
    found = garbage(endpoint, *objects, older_than_s=guard_h * HOUR_S)
    assert not found & {"twin", f"c{used}", f"m{used}"}
    assert not found & {f"{kind}{n}" for n, age_h in enumerate(ages_h) if age_h < guard_h for kind in "cm"}
    assert len(found) <= 2 * (len(ages_h) - 2)
