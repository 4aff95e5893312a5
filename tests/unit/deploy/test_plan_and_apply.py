"""Plan and apply over a cloud in memory: what is decided, in which order, and what any interruption leads to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.deploy.inventory import Found, State
from llm_deploy.deploy.plan import Action, Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import ConflictError, DeployError, NotYetError, WaitTimeoutError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_DEPLOYMENT,
    TAG_ENDPOINT_TYPE,
    TAG_MACHINE,
    Resource,
    content_name,
)
from tests.fakes.cloud import FakeClock, FakeCloud, Killed

TAGS = {TAG_DEPLOYMENT: "twin", TAG_ENDPOINT_TYPE: "inference-component"}


def wanted(image: str = "tgi:1", instance: str = "ml.g5.2xlarge", *, scaled: bool = True) -> tuple[Resource, ...]:
    """A deployment's list, as a strategy writes it."""
    model_document = {"Image": image}
    model = content_name("twin", model_document)
    config_document = {"InstanceType": instance}
    config = content_name("twin", config_document)
    resources = [
        Resource("Model", MODEL, model, {"ModelName": model, **model_document}, TAGS),
        Resource("EndpointConfig", ENDPOINT_CONFIG, config, config_document, TAGS, ("Model",)),
        Resource(
            "Endpoint",
            ENDPOINT,
            "twin",
            {"EndpointConfigName": config},
            TAGS,
            ("EndpointConfig",),
            create_only=frozenset({f"Tags.{TAG_ENDPOINT_TYPE}"}),
        ),
        Resource(
            "Component",
            INFERENCE_COMPONENT,
            "twin",
            {"Specification": {"ModelName": model}},
            TAGS,
            ("Model", "Endpoint"),
        ),
    ]
    if scaled:
        resources += [
            Resource("Target", SCALABLE_TARGET, "inference-component/twin", {"Max": 2}, TAGS, ("Component",)),
            Resource("Policy", SCALING_POLICY, "inference-component/twin|p", {"Target": 5.0}, TAGS, ("Target",)),
        ]
    return tuple(resources)


def service(cloud: FakeCloud) -> DeploymentService:
    return DeploymentService(cloud, FakeClock())


def deploy(cloud: FakeCloud, resources: tuple[Resource, ...]) -> Plan:
    plan = service(cloud).plan("twin", resources)
    for _ in service(cloud).apply(plan):
        pass
    return plan


def delete(cloud: FakeCloud) -> None:
    plan = service(cloud).plan_deletion("twin")
    for _ in service(cloud).delete(plan):
        pass


def actions(plan: Plan) -> str:
    return "".join(change.action.value for change in plan.changes)


def test_a_first_run_creates_everything_and_a_second_run_has_nothing_to_do() -> None:
    """The same spec twice is all `=`, because names follow from content."""
    cloud = FakeCloud()
    assert actions(deploy(cloud, wanted())) == "++++++"
    before = len(cloud.calls)
    again = service(cloud).plan("twin", wanted())
    assert actions(again) == "======"
    assert again.empty
    assert len(cloud.calls) == before


def test_planning_changes_nothing() -> None:
    """A dry run reads only."""
    cloud = FakeCloud()
    service(cloud).plan("twin", wanted())
    assert cloud.calls == []


def test_what_depends_on_an_object_is_started_when_that_object_is_ready() -> None:
    """A component is created after its endpoint has settled, a policy after its target."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    assert [kind for _, kind, _ in cloud.calls] == [
        MODEL,
        ENDPOINT_CONFIG,
        ENDPOINT,
        INFERENCE_COMPONENT,
        SCALABLE_TARGET,
        SCALING_POLICY,
    ]


def test_a_changed_spec_makes_new_immutable_objects_and_updates_the_rest_in_place() -> None:
    """Blue/green by construction: a new model and config, the endpoint and component moved to them."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    plan = deploy(cloud, wanted("tgi:2", "ml.g6.xlarge"))
    assert actions(plan) == "++~~==" + "=="
    assert cloud.objects[ENDPOINT, "twin"].properties["EndpointConfigName"] == plan.changes[1].name


def test_two_generations_are_kept_and_older_ones_go_after_the_switch() -> None:
    """The model in use and the one before stay; removal comes after everything has been switched."""
    cloud = FakeCloud()
    for number in range(4):
        deploy(cloud, wanted(f"tgi:{number}"))
    models = {name for kind, name in cloud.objects if kind == MODEL}
    assert models == {content_name("twin", {"Image": f"tgi:{number}"}) for number in (2, 3)}
    verbs = [(verb, kind) for verb, kind, _ in cloud.calls]
    assert verbs[-1] == ("delete", MODEL)


def kept_models(cloud: FakeCloud) -> set[str]:
    return {name for kind, name in cloud.objects if kind == MODEL}


def named(*images: str) -> set[str]:
    return {content_name("twin", {"Image": image}) for image in images}


def test_what_serves_is_kept_and_not_what_was_made_last() -> None:
    """Back to an earlier spec and then on to a new one: the generation to go back to is the one that served."""
    cloud = FakeCloud()
    for image in ("a", "b", "a", "c"):
        deploy(cloud, wanted(image))
    assert kept_models(cloud) == named("a", "c")


def test_an_update_that_failed_is_not_the_generation_to_go_back_to() -> None:
    """Good, failed, good again: the failed one goes, the one that served stays."""
    cloud = FakeCloud()
    deploy(cloud, wanted("good"))
    serving = cloud.objects[INFERENCE_COMPONENT, "twin"]
    deploy(cloud, wanted("failed"))
    cloud.objects[INFERENCE_COMPONENT, "twin"] = serving  # AWS rolled the component back
    deploy(cloud, wanted("better"))
    assert kept_models(cloud) == named("good", "better")


def test_what_hangs_on_an_endpoint_that_is_gone_is_made_anew_with_it() -> None:
    """AWS keeps a component whose endpoint somebody deleted, and says InService; it serves nothing."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    del cloud.objects[ENDPOINT, "twin"]
    plan = service(cloud).plan("twin", wanted())
    assert actions(plan) == "==+±±±"


def test_a_rule_that_others_put_on_our_component_is_left_alone_until_the_component_goes() -> None:
    """A deploy removes what carries our tag; a deletion removes what hangs on what goes."""
    cloud = FakeCloud()
    deploy(cloud, wanted(scaled=False))
    theirs = Found(SCALABLE_TARGET, "inference-component/twin", {"Max": 9}, owned_by="twin")
    cloud.objects[theirs.key] = theirs
    assert actions(deploy(cloud, wanted(scaled=False))) == "===="
    delete(cloud)
    assert cloud.objects == {}


def test_a_machine_under_a_scalable_variant_changes_between_removing_and_making_the_rule() -> None:
    """AWS refuses the change while the variant may scale: deregister, update, register."""
    cloud = FakeCloud()

    def scaled_by(machine: str) -> tuple[Resource, ...]:
        return tuple(
            replace(resource, tags={**TAGS, TAG_MACHINE: machine}, replace_on=frozenset({TAG_MACHINE}))
            if resource.kind == SCALABLE_TARGET
            else resource
            for resource in wanted(instance=machine)
        )

    deploy(cloud, scaled_by("ml.g5.2xlarge"))
    cloud.calls.clear()
    deploy(cloud, scaled_by("ml.g6.xlarge"))
    assert [(verb, kind.rsplit("::", 1)[-1]) for verb, kind, _ in cloud.calls] == [
        ("delete", "ScalingPolicy"),
        ("delete", "ScalableTarget"),
        ("create", "EndpointConfig"),
        ("tag", "Endpoint"),
        ("update", "Endpoint"),
        ("create", "ScalableTarget"),
        ("create", "ScalingPolicy"),
        ("tag", "Endpoint"),
    ]


def test_an_object_that_vanishes_while_it_is_waited_for_ends_the_run() -> None:
    """Somebody deleted it from another terminal; waiting for an hour would help nobody."""
    cloud = FakeCloud()
    steps = service(cloud).apply(service(cloud).plan("twin", wanted()))
    for step in steps:
        if step.kind == ENDPOINT and step.status == "Creating":
            del cloud.objects[ENDPOINT, "twin"]
            break
    with pytest.raises(DeployError, match="is gone"):
        list(steps)


def test_what_the_spec_no_longer_wants_is_removed() -> None:
    """A spec without autoscaling takes target and policy away."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    plan = deploy(cloud, wanted(scaled=False))
    assert actions(plan) == "--===="
    assert not any(kind in {SCALABLE_TARGET, SCALING_POLICY} for kind, _ in cloud.objects)


def test_an_object_that_is_not_ours_is_never_taken_over() -> None:
    """A name that carries no tag of ours is a ConflictError before anything is changed."""
    cloud = FakeCloud(objects={(ENDPOINT, "twin"): Found(ENDPOINT, "twin", status="InService")})
    with pytest.raises(ConflictError, match="not ours"):
        deploy(cloud, wanted())
    assert cloud.calls == []


def test_the_endpoint_type_cannot_change_in_place() -> None:
    """The refusal names both ways out; nothing is deleted silently."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    other = tuple(
        replace(resource, tags={**resource.tags, TAG_ENDPOINT_TYPE: "model"}) if resource.kind == ENDPOINT else resource
        for resource in wanted()
    )
    with pytest.raises(
        ConflictError, match="has endpoint-type 'inference-component'; AWS cannot change it to 'model'"
    ) as caught:
        deploy(cloud, other)
    assert "another name" in (caught.value.hint or "")
    assert "delete-endpoint" in (caught.value.hint or "")


def test_a_failed_object_ends_the_run_with_its_reason_and_is_replaced_by_the_next_run() -> None:
    """Failed endpoints can only be deleted; running again does that, and what stood on it is made again."""
    cloud = FakeCloud(failing={"twin"})
    with pytest.raises(DeployError, match="told to fail"):
        deploy(cloud, wanted())
    cloud.failing.clear()
    plan = deploy(cloud, wanted())
    assert plan.changes[2].action is Action.REPLACE
    assert all(found.state is State.READY for found in cloud.objects.values())


def test_a_deadline_ends_the_wait_and_leaves_the_work_to_the_next_run() -> None:
    """A time-out undoes nothing; the message says that the cloud goes on."""
    cloud = FakeCloud()
    clocked = DeploymentService(cloud, FakeClock())
    plan = clocked.plan("twin", wanted())
    with pytest.raises(WaitTimeoutError, match="still"):
        for _ in clocked.apply(plan, timeout_s=0.1):
            pass
    deploy(cloud, wanted())
    assert service(cloud).plan("twin", wanted()).empty


def test_without_waiting_a_run_starts_what_it_can_and_the_next_one_finishes() -> None:
    """--no-wait stops at the first object that takes time."""
    cloud = FakeCloud()
    plan = service(cloud).plan("twin", wanted())
    for _ in service(cloud).apply(plan, wait=False):
        pass
    assert [kind for _, kind, _ in cloud.calls] == [MODEL, ENDPOINT_CONFIG, ENDPOINT]
    deploy(cloud, wanted())
    assert service(cloud).plan("twin", wanted()).empty


def test_an_update_that_the_cloud_rolled_back_silently_is_an_error() -> None:
    """InService on the old config is a failure of the update, whatever the status says."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    old = cloud.objects[ENDPOINT, "twin"]
    plan = service(cloud).plan("twin", wanted(instance="ml.g6.xlarge"))
    steps = service(cloud).apply(plan)
    for step in steps:
        if step.kind == ENDPOINT and step.status == "Creating":
            cloud.objects[ENDPOINT, "twin"] = old
            break
    with pytest.raises(DeployError, match="was rolled back"):
        list(steps)


def test_deletion_goes_backwards_and_proves_that_nothing_is_left() -> None:
    """Policies and targets first, then components, endpoint, config, model; then a search."""
    cloud = FakeCloud()
    deploy(cloud, wanted())
    cloud.calls.clear()
    delete(cloud)
    assert [kind for _, kind, _ in cloud.calls] == [
        SCALING_POLICY,
        SCALABLE_TARGET,
        INFERENCE_COMPONENT,
        ENDPOINT,
        ENDPOINT_CONFIG,
        MODEL,
    ]
    assert cloud.objects == {}


def test_deleting_what_is_not_there_is_no_error() -> None:
    """Deletion is safe to repeat."""
    cloud = FakeCloud()
    delete(cloud)
    assert cloud.calls == []


def test_what_is_refused_for_now_is_tried_again_and_not_for_ever() -> None:
    """A role made a moment ago cannot be assumed yet: exactly that error is waited out, for a minute."""
    cloud = FakeCloud(refusals=5)
    deploy(cloud, wanted())
    assert service(cloud).plan("twin", wanted()).empty
    with pytest.raises(NotYetError):
        deploy(FakeCloud(refusals=1000), wanted())


@settings(max_examples=150, deadline=None)
@given(
    kills=st.lists(st.integers(min_value=0, max_value=40), max_size=6),
    effect_first=st.booleans(),
    changed=st.booleans(),
)
def test_interrupted_anywhere_and_run_again_a_deploy_ends_like_one_that_was_not(
    kills: list[int],
    effect_first: bool,  # noqa: FBT001 - drawn by hypothesis
    changed: bool,  # noqa: FBT001 - as above
) -> None:
    """Any number of kills at any calls, the call's effect done or not: the same cloud in the end."""
    goal = wanted("tgi:2") if changed else wanted()
    calm, stormy = FakeCloud(), FakeCloud(effect_first=effect_first)
    for cloud in (calm, stormy):
        if changed:
            deploy(cloud, wanted())
    for kill in kills:
        stormy.kill_after = stormy.total_calls + kill
        try:
            deploy(stormy, goal)
        except Killed:
            continue
    stormy.kill_after = None
    deploy(calm, goal)
    deploy(stormy, goal)
    assert stormy.settled() == calm.settled()
    assert service(stormy).plan("twin", goal).empty


@settings(max_examples=150, deadline=None)
@given(kills=st.lists(st.integers(min_value=0, max_value=40), max_size=6), effect_first=st.booleans())
def test_interrupted_anywhere_and_run_again_a_deletion_ends_in_nothing(
    kills: list[int],
    effect_first: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Also when the deployment itself was cut off half made."""
    cloud = FakeCloud(effect_first=effect_first)
    for position, kill in enumerate(kills):
        cloud.kill_after = cloud.total_calls + kill
        try:
            deploy(cloud, wanted()) if position == 0 else delete(cloud)
        except Killed:
            continue
    cloud.kill_after = None
    delete(cloud)
    assert cloud.objects == {}
