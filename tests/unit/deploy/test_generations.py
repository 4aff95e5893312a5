"""Generations: what is remembered, what is kept, where a rollback leads, and what any interruption leaves of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.deploy.generations import Generation, in_use, previous, to_return_to
from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.deploy.plan import Action, Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import DeployError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    TAG_CONTENT,
    TAG_DEPLOYMENT,
    TAG_DIALECT,
    TAG_MODEL,
    TAG_PREVIOUS,
    TAG_PREVIOUS_COMPONENT,
    TAG_SAMPLING,
    Resource,
    content_hash,
    content_name,
)
from llm_deploy.targets.sagemaker.returning import plan_back
from tests.fakes.cloud import FakeClock, FakeCloud, Killed

TYPES = ["model", "component"]


def wanted(kind: str, image: str, machine: str = "ml.g5.2xlarge", memory: int = 1024) -> tuple[Resource, ...]:
    """A deployment's list, as the strategy writes it, of either endpoint type."""
    tags = {TAG_DEPLOYMENT: "twin", TAG_MODEL: f"org/{image}", TAG_DIALECT: "tgi"}
    model_document = {"PrimaryContainer": {"Image": image}}
    model = content_name("twin", model_document)
    variant = {"VariantName": "AllTraffic", "InstanceType": machine, "InitialInstanceCount": 1}
    config_document = {"ProductionVariants": [variant if kind == "component" else {**variant, "ModelName": model}]}
    config = content_name("twin", config_document)
    found = [
        Resource("Model", MODEL, model, {"ModelName": model, **model_document}, tags),
        Resource("EndpointConfig", ENDPOINT_CONFIG, config, config_document, tags, ("Model",)),
        Resource(
            "Endpoint",
            ENDPOINT,
            "twin",
            {"EndpointName": "twin", "EndpointConfigName": config},
            {**tags, TAG_SAMPLING: f"temperature=0.{len(image)}"},
            ("EndpointConfig",),
        ),
    ]
    if kind == "component":
        specification = {
            "ModelName": model,
            "ComputeResourceRequirements": {
                "MinMemoryRequiredInMb": memory,
                "NumberOfCpuCoresRequired": 0.5,
                "NumberOfAcceleratorDevicesRequired": 1.0,
            },
        }
        document = {
            "InferenceComponentName": "twin",
            "EndpointName": "twin",
            "Specification": specification,
            "RuntimeConfig": {"CopyCount": 1},
        }
        component_tags = {**tags, TAG_CONTENT: content_hash(specification)}
        needed = ("Model", "Endpoint")
        found.append(Resource("Component", INFERENCE_COMPONENT, "twin", document, component_tags, needed))
    return tuple(found)


def service(cloud: FakeCloud) -> DeploymentService:
    return DeploymentService(cloud, FakeClock())


def seen(cloud: FakeCloud) -> Inventory:
    return service(cloud).inventory("twin")


def apply(cloud: FakeCloud, changes: Plan) -> None:
    for _ in service(cloud).apply(changes):
        pass


def deploy(cloud: FakeCloud, goal: tuple[Resource, ...]) -> None:
    apply(cloud, service(cloud).plan("twin", goal))


def roll_back(cloud: FakeCloud, *, forward: bool = False) -> None:
    """As `llmdeploy rollback`, or with `--to` the other one: everything from the cloud, nothing from a spec."""
    inventory = seen(cloud)
    generation = previous(inventory) if forward else to_return_to(inventory)
    assert generation is not None
    apply(cloud, plan_back(inventory, generation))


def serving(cloud: FakeCloud) -> dict[str, Any]:
    """What answers and what is said of it: everything that a client can tell."""
    endpoint = cloud.objects[ENDPOINT, "twin"]
    component = cloud.objects.get((INFERENCE_COMPONENT, "twin"))
    said = {key: endpoint.tags.get(key) for key in (TAG_MODEL, TAG_DIALECT, TAG_SAMPLING)}
    return {
        "config": endpoint.properties["EndpointConfigName"],
        "specification": component.properties["Specification"] if component else None,
        "copies": component.properties["RuntimeConfig"] if component else None,
        "content": component.tags.get(TAG_CONTENT) if component else None,
        **said,
    }


def names(cloud: FakeCloud, kind: str) -> set[str]:
    return {name for found, name in cloud.objects if found == kind}


@pytest.mark.parametrize("kind", TYPES)
def test_a_rollback_gives_back_exactly_what_served(kind: str) -> None:
    """Config, component document and what clients read; the earlier spec then has nothing to do."""
    cloud = FakeCloud()
    deploy(cloud, wanted(kind, "a"))
    before = serving(cloud)
    deploy(cloud, wanted(kind, "bb", "ml.g6.xlarge", 2048))
    after = serving(cloud)
    assert before != after
    roll_back(cloud)
    assert serving(cloud) == before
    assert service(cloud).plan("twin", wanted(kind, "a")).empty
    roll_back(cloud)
    assert serving(cloud) == before, "the same command again changes nothing"
    roll_back(cloud, forward=True)
    assert serving(cloud) == after
    assert service(cloud).plan("twin", wanted(kind, "bb", "ml.g6.xlarge", 2048)).empty


@pytest.mark.parametrize("kind", TYPES)
def test_there_is_nothing_to_return_to_before_the_first_change(kind: str) -> None:
    """One generation, deployed twice, is one generation."""
    cloud = FakeCloud()
    for _ in range(2):
        deploy(cloud, wanted(kind, "a"))
    assert previous(seen(cloud)) is None
    assert to_return_to(seen(cloud)) is None


@pytest.mark.parametrize("kind", TYPES)
def test_two_generations_are_kept_whatever_came_before(kind: str) -> None:
    """The one in use and the one before, with their configs and models."""
    cloud = FakeCloud()
    for image in ("a", "bb", "ccc", "dddd"):
        deploy(cloud, wanted(kind, image, f"ml.g5.{len(image)}xlarge"))
    assert len(names(cloud, MODEL)) == len(names(cloud, ENDPOINT_CONFIG)) == 2
    roll_back(cloud)
    assert serving(cloud)[TAG_MODEL] == "org/ccc"


def test_parts_that_change_at_different_times_make_whole_generations() -> None:
    """First the component, then the machines: back is to the machines before, with the component as it is."""
    cloud = FakeCloud()
    deploy(cloud, wanted("component", "a"))
    deploy(cloud, wanted("component", "bb"))
    middle = serving(cloud)
    deploy(cloud, wanted("component", "bb", "ml.g6.xlarge"))
    roll_back(cloud)
    assert serving(cloud) == middle


def test_memory_alone_makes_a_generation_and_copies_alone_do_not() -> None:
    """A component's document is remembered; how many copies there are is a matter of load, and comes back with it."""
    cloud = FakeCloud()
    first = wanted("component", "a")
    deploy(cloud, first)
    *rest, component = first
    more = replace(component, properties={**component.properties, "RuntimeConfig": {"CopyCount": 3}})
    deploy(cloud, (*rest, more))
    assert previous(seen(cloud)) is None
    deploy(cloud, wanted("component", "a", memory=4096))
    roll_back(cloud)
    assert serving(cloud)["copies"] == {"CopyCount": 3}
    assert serving(cloud)["specification"]["ComputeResourceRequirements"]["MinMemoryRequiredInMb"] == 1024


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_said_of_an_endpoint_changes_after_it_has_moved(kind: str) -> None:
    """Clients read the dialect from the tags while a rollout takes its minutes; the mark alone comes first."""
    cloud = FakeCloud()
    deploy(cloud, wanted(kind, "a"))
    cloud.calls.clear()
    deploy(cloud, wanted(kind, "bb"))
    verbs = [(verb, found.rsplit("::", 1)[-1]) for verb, found, _ in cloud.calls if verb != "create"]
    moved = "Endpoint" if kind == "model" else "InferenceComponent"
    assert verbs[:2] == [("tag", "Endpoint"), ("update", moved)]
    assert {verb for verb, _ in verbs[2:]} == {"tag"}


@pytest.mark.parametrize("kind", TYPES)
def test_an_update_that_the_cloud_undoes_leaves_nothing_to_undo_and_the_one_before_within_reach(kind: str) -> None:
    """A, then B, then C that is rolled back: B serves, is described as B, and A is still there to go to."""
    cloud = FakeCloud()
    deploy(cloud, wanted(kind, "a"))
    first = serving(cloud)
    deploy(cloud, wanted(kind, "bb"))
    second = serving(cloud)
    key = (ENDPOINT if kind == "model" else INFERENCE_COMPONENT, "twin")
    cloud.rolling_back[key] = cloud.objects[key]
    with pytest.raises(DeployError, match=r"was rolled back: it is InService .*an alarm went off"):
        deploy(cloud, wanted(kind, "ccc"))
    assert serving(cloud) == second
    assert len(names(cloud, MODEL)) == 3, "what was made for the update is left as it is"
    deploy(cloud, wanted(kind, "bb"))
    assert len(names(cloud, MODEL)) == 2, "and goes with the next deploy"
    roll_back(cloud)
    assert serving(cloud) == second, "there is nothing to undo"
    roll_back(cloud, forward=True)
    assert serving(cloud) == first


def test_a_rollback_that_the_cloud_undoes_can_be_tried_again() -> None:
    """It leads to the same place, not back and forth."""
    cloud = FakeCloud()
    deploy(cloud, wanted("model", "a"))
    first = serving(cloud)
    deploy(cloud, wanted("model", "bb"))
    cloud.rolling_back[ENDPOINT, "twin"] = cloud.objects[ENDPOINT, "twin"]
    with pytest.raises(DeployError, match="was rolled back"):
        roll_back(cloud)
    roll_back(cloud)
    assert serving(cloud) == first


def test_a_mix_of_old_and_new_is_mended_by_another_update_and_returned_from() -> None:
    """AWS's UpdateRollbackFailed: an error when it ends an update, and never `=` in a plan."""
    cloud = FakeCloud()
    deploy(cloud, wanted("model", "a"))
    first = serving(cloud)
    changes = service(cloud).plan("twin", wanted("model", "bb"))
    steps = service(cloud).apply(changes)
    for step in steps:
        if step.kind == ENDPOINT and step.status == "Creating":
            mixed = replace(cloud.objects[ENDPOINT, "twin"], state=State.MIXED, status="UpdateRollbackFailed")
            cloud.objects[ENDPOINT, "twin"] = mixed
            break
    with pytest.raises(DeployError, match="UpdateRollbackFailed"):
        list(steps)
    again = service(cloud).plan("twin", wanted("model", "bb"))
    assert next(change for change in again.changes if change.kind == ENDPOINT).action is Action.UPDATE
    assert to_return_to(seen(cloud)) == Generation(str(first["config"]), None, str(first[TAG_SAMPLING]))


def test_what_is_gone_is_not_offered() -> None:
    """A config that somebody deleted is no place to go."""
    cloud = FakeCloud()
    deploy(cloud, wanted("model", "a"))
    config = cloud.objects[ENDPOINT, "twin"].properties["EndpointConfigName"]
    deploy(cloud, wanted("model", "bb"))
    del cloud.objects[ENDPOINT_CONFIG, config]
    assert to_return_to(seen(cloud)) is None


@given(text=st.text(max_size=80), other=st.text(max_size=80))
def test_marks_that_others_wrote_are_no_generation_and_no_error(text: str, other: str) -> None:
    """Anybody who may tag may write anything there."""
    endpoint = Found(
        ENDPOINT,
        "twin",
        {"EndpointConfigName": "c"},
        {TAG_DEPLOYMENT: "twin", TAG_PREVIOUS: text, TAG_PREVIOUS_COMPONENT: other},
        owned_by="twin",
    )
    inventory = Inventory("twin", {endpoint.key: endpoint})
    assert in_use(inventory) == Generation("c")
    assert previous(inventory) is None
    assert to_return_to(inventory) is None


@given(
    memory=st.integers(128, 33_554_432),
    cpus=st.integers(1, 4096).map(lambda quarters: quarters / 4),
    accelerators=st.integers(1, 64),
    startup=st.none() | st.integers(60, 3600),
    copies=st.integers(0, 10_000),
)
def test_a_components_document_survives_its_mark(
    memory: int, cpus: float, accelerators: int, startup: int | None, copies: int
) -> None:
    """Every value within AWS's bounds comes back as it was, and both marks fit AWS's 256 characters."""
    name = "n" * 54 + "-15fa9409"
    base = wanted("component", "a")
    *rest, component = base
    specification: dict[str, Any] = {
        "ModelName": name,
        "ComputeResourceRequirements": {
            "MinMemoryRequiredInMb": memory,
            "MaxMemoryRequiredInMb": memory,
            "NumberOfCpuCoresRequired": cpus,
            "NumberOfAcceleratorDevicesRequired": float(accelerators),
        },
    }
    if startup is not None:
        specification["StartupParameters"] = {
            "ModelDataDownloadTimeoutInSeconds": startup,
            "ContainerStartupHealthCheckTimeoutInSeconds": startup,
        }
    properties = {**component.properties, "Specification": specification, "RuntimeConfig": {"CopyCount": copies}}
    cloud = FakeCloud()
    deploy(cloud, (*rest, replace(component, properties=properties)))
    model = cloud.objects[MODEL, rest[0].name]
    cloud.objects[MODEL, name] = replace(model, name=name)
    deploy(cloud, wanted("component", "bb"))
    cloud.objects[MODEL, name] = replace(model, name=name)
    tags = cloud.objects[ENDPOINT, "twin"].tags
    assert max(len(tags[TAG_PREVIOUS]), len(tags[TAG_PREVIOUS_COMPONENT])) <= 256
    generation = to_return_to(seen(cloud))
    assert generation is not None
    assert generation.specification == specification
    assert generation.copies == copies


KILLS = st.lists(st.integers(min_value=0, max_value=30), max_size=6)


def stormily(cloud: FakeCloud, kills: list[int], act: Any) -> None:  # noqa: ANN401 - any of the two verbs
    """Do something, killed as often as drawn, and then once to its end."""
    for kill in kills:
        cloud.kill_after = cloud.total_calls + kill
        try:
            act()
        except Killed:
            continue
        break
    else:
        cloud.kill_after = None
        act()
    cloud.kill_after = None


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(TYPES), kills=KILLS, effect_first=st.booleans(), machine=st.booleans())
def test_an_update_cut_off_anywhere_remembers_what_one_that_was_not_does(
    kind: str,
    kills: list[int],
    effect_first: bool,  # noqa: FBT001 - drawn by hypothesis
    machine: bool,  # noqa: FBT001 - as above
) -> None:
    """Same objects, same documents, same tags with the marks among them; and the same place to return to."""
    other = "ml.g6.xlarge" if machine else "ml.g5.2xlarge"
    calm, stormy = FakeCloud(), FakeCloud(effect_first=effect_first)
    for cloud in (calm, stormy):
        deploy(cloud, wanted(kind, "a"))
        deploy(cloud, wanted(kind, "bb"))
    deploy(calm, wanted(kind, "ccc", other))
    stormily(stormy, kills, lambda: deploy(stormy, wanted(kind, "ccc", other)))
    assert stormy.settled() == calm.settled()
    roll_back(stormy)
    assert serving(stormy)[TAG_MODEL] == "org/bb"


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(TYPES), kills=KILLS, effect_first=st.booleans())
def test_a_rollback_cut_off_anywhere_and_run_again_ends_like_one_that_was_not(
    kind: str,
    kills: list[int],
    effect_first: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Running it again goes on with it: it never turns round half way."""
    calm, stormy = FakeCloud(), FakeCloud(effect_first=effect_first)
    for cloud in (calm, stormy):
        deploy(cloud, wanted(kind, "a"))
        deploy(cloud, wanted(kind, "bb", "ml.g6.xlarge", 2048))
    roll_back(calm)
    stormily(stormy, kills, lambda: roll_back(stormy))
    assert stormy.settled() == calm.settled()
