"""What a spec's `update` becomes: AWS's documents, alarms in the right place, and words for the plan."""

from __future__ import annotations

from typing import Any

import pytest

from llm_deploy.resource import ALARM, Resource
from llm_deploy.targets.sagemaker.hosting import rollout_stage
from llm_deploy.targets.sagemaker.strategy import resources
from tests.specs import resolved, twin

FOUR = {"type": "ml.g5.2xlarge", "initial_count": 4}
FLEET = {"endpoint_type": "model", "instance": FOUR}
BOTH = {"errors_above": 3, "latency_p99_above_ms": 4000}


def named(**changes: Any) -> dict[str, Resource]:  # noqa: ANN401 - a spec's fields are of many types
    return {resource.id: resource for resource in resources(resolved(twin(**changes)))}


def policy(update: dict[str, Any], **changes: Any) -> Any:  # noqa: ANN401 - as above
    """DeploymentConfig of the endpoint."""
    return named(update=update, **{**FLEET, **changes})["Endpoint"].properties.get("DeploymentConfig")


def test_without_a_wish_aws_does_it_its_own_way() -> None:
    """Model-based: nothing is sent, which is all at once."""
    assert policy({}) is None


def test_canary_linear_and_all_at_once_are_blue_green() -> None:
    """Type, size, waits and limit where AWS wants them."""
    assert policy({"strategy": "canary", "size_count": 1, "termination_wait_s": 60, "max_execution_s": 3600}) == {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "WaitIntervalInSeconds": 300,
                "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
            },
            "TerminationWaitInSeconds": 60,
            "MaximumExecutionTimeoutInSeconds": 3600,
        }
    }
    assert policy({"strategy": "linear"})["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == {
        "Type": "LINEAR",
        "WaitIntervalInSeconds": 300,
        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
    }
    assert policy({"strategy": "all-at-once", "wait_s": 60})["BlueGreenUpdatePolicy"] == {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60}
    }


def test_rolling_counts_machines_or_copies() -> None:
    """The same wish in the unit of the endpoint type, with a way back in parts."""
    wish = {"strategy": "rolling", "size_count": 1, "wait_s": 30, "rollback_count": 2}
    assert policy(wish)["RollingUpdatePolicy"] == {
        "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
        "WaitIntervalInSeconds": 30,
        "RollbackMaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 2},
    }
    component = named(update=wish, resources={"copies": 4}, instance=FOUR)["InferenceComponent"]
    batch = component.properties["DeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"]
    assert batch == {"Type": "COPY_COUNT", "Value": 1}


def test_the_endpoint_of_components_has_no_policy_of_its_own() -> None:
    """What is wished for is how copies change; the machines below change as AWS does it."""
    assert "DeploymentConfig" not in named(update={"alarms": BOTH})["Endpoint"].properties


@pytest.mark.parametrize(
    ("changes", "dimensions"),
    [
        (FLEET, {"EndpointName": "twin", "VariantName": "AllTraffic"}),
        ({"inference_component_name": "twin-a"}, {"InferenceComponentName": "twin-a"}),
    ],
)
def test_alarms_watch_what_sagemaker_reports(changes: dict[str, Any], dimensions: dict[str, str]) -> None:
    """Namespace, dimensions by endpoint type, microseconds, and no datapoint is no bad one."""
    found = named(update={"alarms": {**BOTH, "periods": 2}}, **changes)
    errors, latency = found["ErrorAlarm"].properties, found["LatencyAlarm"].properties
    for alarm in (errors, latency):
        assert alarm["Namespace"] == "AWS/SageMaker"
        assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == dimensions
        assert (alarm["TreatMissingData"], alarm["Period"], alarm["EvaluationPeriods"]) == ("notBreaching", 60, 2)
        assert alarm["AlarmName"].startswith("twin-")
    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("Invocation5XXErrors", "Sum", 3.0)
    assert (latency["MetricName"], latency["ExtendedStatistic"]) == ("ModelLatency", "p99")
    assert latency["Threshold"] == 4_000_000.0


@pytest.mark.parametrize(("changes", "watched"), [(FLEET, "Endpoint"), ({}, "InferenceComponent")])
def test_alarms_are_made_before_what_names_them(changes: dict[str, Any], watched: str) -> None:
    """Existing and made alarms are both named, and the made ones are depended on."""
    found = named(update={"alarms": {**BOTH, "existing": ["team"]}}, **changes)
    names = [
        each["AlarmName"]
        for each in found[watched].properties["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    ]
    assert names == ["team", "twin-rollback-errors", "twin-rollback-latency"]
    assert {"ErrorAlarm", "LatencyAlarm"} <= set(found[watched].depends_on)
    assert sum(resource.kind == ALARM for resource in found.values()) == 2


@pytest.mark.parametrize(
    ("update", "changes", "way", "room"),
    [
        ({}, FLEET, "all at once", "4"),
        (
            {"strategy": "canary", "alarms": BOTH},
            FLEET,
            "canary: 25 % of the machines first, the rest after 300 s; 2 alarms roll it back",
            "4",
        ),
        (
            {"strategy": "rolling", "size_count": 1, "wait_s": 60},
            FLEET,
            "rolling: 1 machine at a time, 60 s after each step; no alarm watches it (update.alarms)",
            "1",
        ),
        (
            {"strategy": "linear", "wait_s": 0},
            {**FLEET, "autoscaling": {"min_copies": 2, "max_copies": 8}},
            "linear: 25 % of the machines at a time",
            "2 to 8",
        ),
    ],
)
def test_the_plan_says_how_and_what_room_it_takes(
    update: dict[str, Any], changes: dict[str, Any], way: str, room: str
) -> None:
    """From the spec alone: blue/green needs a second fleet, rolling one batch."""
    says = named(update=update, **changes)["Endpoint"].rollout
    assert says == f"{way}; needs {room} more ml.g5.2xlarge during the update"


def test_the_plan_says_how_components_change() -> None:
    """Copies, not machines; and the machines' own change apart."""
    found = named(resources={"copies": 4}, instance=FOUR)
    assert found["InferenceComponent"].rollout == (
        "rolling: 50 % of the copies at a time; needs room for 2 more copies during the update"
    )
    assert found["Endpoint"].rollout == "all at once; needs 4 more ml.g5.2xlarge during the update"


def test_the_stage_of_a_rollout_is_told_in_machines() -> None:
    """As PendingDeploymentSummary has it; an endpoint without one tells none."""
    baking = {
        "VariantName": "a",
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 4,
        "VariantStatus": [{"Status": "Baking"}],
    }
    starting = {**baking, "CurrentInstanceCount": 0, "VariantStatus": [{"Status": "Creating"}]}
    assert rollout_stage({"ProductionVariants": [baking]}) == "Baking, 1 of 4 new machines take traffic"
    assert rollout_stage({"ProductionVariants": [starting]}) == "Creating"
    assert rollout_stage({}) == ""
