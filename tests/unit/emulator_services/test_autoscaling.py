"""Application Auto Scaling keeps and checks what AWS keeps and checks."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

from llm_deploy.emulator import ledger
from llm_deploy.emulator.autoscaling.rules import check_step_scaling
from llm_deploy.emulator.service import ServiceError
from tests.unit.emulator_services.wire import RefusedError, Wire

COMPONENT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/twin-ic",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/twin/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
PER_COPY = "SageMakerInferenceComponentInvocationsPerCopy"
PER_INSTANCE = "SageMakerVariantInvocationsPerInstance"
STEP = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 1}]}


def tracking(metric: str = PER_COPY, target: float = 5.0, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"TargetValue": target, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}, **more}


def registered(wire: Wire) -> str:
    wire.component("twin-ic")
    answer = wire.call("autoscaling", "RegisterScalableTarget", **COMPONENT, MinCapacity=0, MaxCapacity=3)
    return str(answer["ScalableTargetARN"])


def put_tracking(wire: Wire, name: str = "p", **configuration: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return wire.call(
        "autoscaling",
        "PutScalingPolicy",
        **COMPONENT,
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking(**configuration),
    )


def alarm_names(wire: Wire) -> list[str]:
    return [alarm["AlarmName"] for alarm in wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]]


def test_a_registered_target_is_described_with_everything(wire: Wire) -> None:
    """What was registered comes back, with the role and the ARN that AWS adds."""
    arn = registered(wire)
    (target,) = wire.call("autoscaling", "DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target.items() >= (COMPONENT | {"MinCapacity": 0, "MaxCapacity": 3, "ScalableTargetARN": arn}).items()
    assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")


def test_registering_again_changes_only_what_is_given(wire: Wire) -> None:
    """RegisterScalableTarget is also the update."""
    arn = registered(wire)
    again = wire.call("autoscaling", "RegisterScalableTarget", **COMPONENT, MaxCapacity=7)
    (target,) = wire.call("autoscaling", "DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (again["ScalableTargetARN"], target["MinCapacity"], target["MaxCapacity"]) == (arn, 0, 7)


@pytest.mark.parametrize(
    ("scalable", "bounds", "entry"),
    [
        (COMPONENT, {"MinCapacity": 3, "MaxCapacity": 2}, "autoscaling.min-above-max"),
        (VARIANT, {"MinCapacity": 0, "MaxCapacity": 2}, "autoscaling.min-too-small"),
        (COMPONENT, {"MinCapacity": 1}, "autoscaling.capacity-needed"),
    ],
)
def test_bounds_that_aws_refuses(wire: Wire, scalable: dict[str, str], bounds: dict[str, int], entry: str) -> None:
    """Min above max, a variant without instances, and a new target with one bound."""
    wire.component("twin-ic")
    wire.endpoint("twin")
    with pytest.raises(RefusedError) as refused:
        wire.call("autoscaling", "RegisterScalableTarget", **scalable, **bounds)
    assert refused.value.code == "ValidationException"
    assert refused.value.message == ledger.text(entry, least=1)


@pytest.mark.parametrize(
    "changed",
    [
        {"ResourceId": "inference-component/other"},
        {"ResourceId": "endpoint/twin/variant/Other", "ScalableDimension": VARIANT["ScalableDimension"]},
        {"ResourceId": "endpoint/Twin/variant/AllTraffic", "ScalableDimension": VARIANT["ScalableDimension"]},
        {"ScalableDimension": VARIANT["ScalableDimension"]},
        {"ScalableDimension": "ecs:service:DesiredCount"},
        {"ServiceNamespace": "ecs"},
        {"ResourceId": "twin"},
    ],
)
def test_what_does_not_exist_or_does_not_fit_is_not_registered(wire: Wire, changed: dict[str, str]) -> None:
    """The resource must exist, and namespace, resource and dimension must belong together."""
    wire.component("twin-ic")
    wire.endpoint("twin")
    with pytest.raises(RefusedError, match="ValidationException"):
        wire.call("autoscaling", "RegisterScalableTarget", **(COMPONENT | changed), MinCapacity=1, MaxCapacity=1)


def test_a_policy_needs_its_target(wire: Wire) -> None:
    """Ledger autoscaling.no-target: the prefix that clients look for."""
    wire.component("twin-ic")
    with pytest.raises(RefusedError, match=r"^ObjectNotFoundException: No scalable target registered for") as refused:
        put_tracking(wire)
    assert refused.value.status == 400


@pytest.mark.row("T9")
def test_a_tracking_policy_comes_with_two_alarms(wire: Wire) -> None:
    """Ledger autoscaling.alarms and autoscaling.alarm-periods: names, dimensions, periods and thresholds."""
    registered(wire)
    answer = put_tracking(wire, target=10.0)
    names = [alarm["AlarmName"] for alarm in answer["Alarms"]]
    assert [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}$", "UUID", name) for name in names] == [
        "TargetTracking-inference-component/twin-ic-AlarmHigh-UUID",
        "TargetTracking-inference-component/twin-ic-AlarmLow-UUID",
    ]
    high, low = wire.call("cloudwatch", "DescribeAlarms", AlarmNames=names)["MetricAlarms"]
    assert (high["MetricName"], high["Dimensions"]) == (
        "InvocationsPerCopy",
        [{"Name": "InferenceComponentName", "Value": "twin-ic"}],
    )
    assert (high["Threshold"], high["EvaluationPeriods"], high["Period"]) == (10.0, 3, 60)
    assert (low["Threshold"], low["EvaluationPeriods"], low["ComparisonOperator"]) == (9.0, 15, "LessThanThreshold")
    assert high["AlarmActions"] == [answer["PolicyARN"]]


def test_high_resolution_metrics_have_shorter_periods(wire: Wire) -> None:
    """Ledger autoscaling.alarm-periods: 3 x 10 s up, 90 x 10 s down."""
    registered(wire)
    put_tracking(wire, metric="SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution")
    high, low = wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert [(each["Period"], each["EvaluationPeriods"]) for each in (high, low)] == [(10, 3), (10, 90)]


def test_an_overwritten_policy_keeps_its_arn_and_its_alarms(wire: Wire) -> None:
    """A second deployment of the same spec must not look like a change, and one of another target like an update."""
    registered(wire)
    first, second = put_tracking(wire, target=5.0), put_tracking(wire, target=8.0)
    assert first == second
    high, _ = wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert high["Threshold"] == 8.0


def test_without_scale_in_there_is_no_low_alarm(wire: Wire) -> None:
    """Ledger autoscaling.no-low-alarm; turning it off later removes the alarm."""
    registered(wire)
    put_tracking(wire)
    answer = put_tracking(wire, DisableScaleIn=True)
    assert [alarm["AlarmName"] for alarm in answer["Alarms"]] == alarm_names(wire)
    assert len(alarm_names(wire)) == 1


def test_a_deleted_policy_takes_its_alarms_along(wire: Wire) -> None:
    """Nothing of it is left, and other alarms stay."""
    registered(wire)
    put_tracking(wire, "one")
    kept = [alarm["AlarmName"] for alarm in put_tracking(wire, "two")["Alarms"]]
    wire.call("autoscaling", "DeleteScalingPolicy", **COMPONENT, PolicyName="one")
    assert alarm_names(wire) == sorted(kept)
    with pytest.raises(RefusedError, match="ObjectNotFoundException"):
        wire.call("autoscaling", "DeleteScalingPolicy", **COMPONENT, PolicyName="one")


@pytest.mark.row("T12")
def test_deregistering_deletes_policies_alarms_and_schedules(wire: Wire) -> None:
    """Ledger autoscaling.deregister-deletes-policies."""
    registered(wire)
    put_tracking(wire)
    wire.call(
        "autoscaling",
        "PutScheduledAction",
        **COMPONENT,
        ScheduledActionName="night",
        Schedule="cron(0 22 * * ? *)",
        ScalableTargetAction={"MaxCapacity": 1},
    )
    wire.call("autoscaling", "DeregisterScalableTarget", **COMPONENT)
    assert alarm_names(wire) == []
    for operation, member in (
        ("DescribeScalableTargets", "ScalableTargets"),
        ("DescribeScalingPolicies", "ScalingPolicies"),
        ("DescribeScheduledActions", "ScheduledActions"),
    ):
        assert wire.call("autoscaling", operation, ServiceNamespace="sagemaker")[member] == []
    with pytest.raises(RefusedError, match="ObjectNotFoundException"):
        wire.call("autoscaling", "DeregisterScalableTarget", **COMPONENT)


def test_a_target_outlives_its_component(wire: Wire) -> None:
    """Ledger autoscaling.deregister-deletes-policies: deleting the scaled thing does not deregister it."""
    registered(wire)
    wire.cloud.store.delete("sagemaker:inference-component", "twin-ic")
    found = wire.call("autoscaling", "DescribeScalableTargets", ServiceNamespace="sagemaker")
    assert len(found["ScalableTargets"]) == 1


@pytest.mark.parametrize(
    "configuration",
    [
        tracking(PER_INSTANCE),
        tracking("ECSServiceAverageCPUUtilization"),
        tracking(target=0.0),
        tracking(ScaleInCooldown=-1),
        {"TargetValue": 5.0},
        {"TargetValue": 5.0, "CustomizedMetricSpecification": {"MetricName": "m", "Namespace": "n"}},
        tracking(CustomizedMetricSpecification={"MetricName": "m", "Namespace": "n", "Statistic": "Sum"}),
    ],
)
def test_tracking_configurations_that_aws_refuses(wire: Wire, configuration: dict[str, Any]) -> None:
    """Another dimension's metric, no target, no metric, an incomplete one, two."""
    registered(wire)
    with pytest.raises(RefusedError, match="ValidationException"):
        wire.call(
            "autoscaling",
            "PutScalingPolicy",
            **COMPONENT,
            PolicyName="p",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
        )
    assert alarm_names(wire) == []


def test_a_customised_metric_is_what_the_alarms_watch(wire: Wire) -> None:
    """Asynchronous endpoints scale on a metric of their own, and queries may be combined."""
    registered(wire)
    metric = {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": "twin"}],
        "Statistic": "Average",
    }
    query = {
        "Id": "backlog",
        "MetricStat": {"Metric": {"MetricName": "m", "Namespace": "n"}, "Stat": "Average"},
        "ReturnData": True,
    }
    for name, specification in (("one", metric), ("many", {"Metrics": [query]})):
        configuration = {"TargetValue": 5.0, "CustomizedMetricSpecification": specification}
        wire.call(
            "autoscaling",
            "PutScalingPolicy",
            **COMPONENT,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
        )
    alarms = wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert {alarm.get("MetricName") for alarm in alarms} == {"ApproximateBacklogSizePerInstance", None}
    assert sum("Metrics" in alarm for alarm in alarms) == 2


def test_a_policy_without_a_type_is_a_step_policy_without_alarms(wire: Wire) -> None:
    """Step policies are triggered by alarms that their owner makes."""
    registered(wire)
    answer = wire.call(
        "autoscaling", "PutScalingPolicy", **COMPONENT, PolicyName="out", StepScalingPolicyConfiguration=STEP
    )
    assert answer["Alarms"] == []
    (policy,) = wire.call("autoscaling", "DescribeScalingPolicies", ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert (policy["PolicyType"], policy["StepScalingPolicyConfiguration"]) == ("StepScaling", STEP)


@pytest.mark.parametrize(
    "given",
    [
        {"PolicyType": "PredictiveScaling"},
        {"PolicyType": "StepScaling", "TargetTrackingScalingPolicyConfiguration": tracking()},
        {"PolicyType": "TargetTrackingScaling"},
    ],
)
def test_a_policy_has_the_configuration_of_its_type(wire: Wire, given: dict[str, Any]) -> None:
    """Type and configuration must agree, and predictive scaling is not for SageMaker."""
    registered(wire)
    with pytest.raises(RefusedError, match="ValidationException"):
        wire.call("autoscaling", "PutScalingPolicy", **COMPONENT, PolicyName="p", **given)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8, unique=True), st.booleans(), st.booleans())
def test_steps_that_tile_a_range_are_accepted(cuts: list[int], open_below: bool, open_above: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
    """Any tiling without gap and overlap is one that AWS takes, in any order."""
    edges: list[int | None] = [*([None] if open_below else []), *sorted(cuts), *([None] if open_above else [])]
    steps = [_step(low, high) for low, high in itertools.pairwise(edges)]
    if steps:
        check_step_scaling({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps[::-1]})


@given(st.integers(-50, 50), st.integers(1, 20), st.integers(1, 20), st.integers(-20, 20).filter(bool))
def test_a_gap_or_an_overlap_is_refused(start: int, first: int, second: int, shift: int) -> None:
    """Two intervals that do not meet exactly are refused."""
    middle = start + first
    low = middle + shift
    assume(low + second != start)
    steps = [_step(start, middle), _step(low, low + second)]
    with pytest.raises(ServiceError):
        check_step_scaling({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps})


def _step(low: int | None, high: int | None) -> dict[str, float]:
    step: dict[str, float] = {"ScalingAdjustment": 1}
    if low is not None:
        step["MetricIntervalLowerBound"] = low
    if high is not None:
        step["MetricIntervalUpperBound"] = high
    return step


def test_tags_belong_to_the_target(wire: Wire) -> None:
    """Ownership tags are written, read, changed, and gone with the target."""
    wire.component("twin-ic")
    arn = wire.call(
        "autoscaling", "RegisterScalableTarget", **COMPONENT, MinCapacity=1, MaxCapacity=1, Tags={"owner": "a"}
    )["ScalableTargetARN"]
    wire.call("autoscaling", "TagResource", ResourceARN=arn, Tags={"more": "b"})
    wire.call("autoscaling", "UntagResource", ResourceARN=arn, TagKeys=["owner"])
    assert wire.call("autoscaling", "ListTagsForResource", ResourceARN=arn)["Tags"] == {"more": "b"}
    wire.call("autoscaling", "DeregisterScalableTarget", **COMPONENT)
    with pytest.raises(RefusedError, match="ResourceNotFoundException"):
        wire.call("autoscaling", "ListTagsForResource", ResourceARN=arn)


def test_policies_are_paged_and_filtered(wire: Wire) -> None:
    """Every policy is seen once, whatever the page's size, even when one goes in between."""
    registered(wire)
    for index in range(5):
        put_tracking(wire, f"p{index}")
    first = wire.call("autoscaling", "DescribeScalingPolicies", ServiceNamespace="sagemaker", MaxResults=2)
    wire.call("autoscaling", "DeleteScalingPolicy", **COMPONENT, PolicyName="p1")
    second = wire.call(
        "autoscaling", "DescribeScalingPolicies", ServiceNamespace="sagemaker", NextToken=first["NextToken"]
    )
    names = [policy["PolicyName"] for page in (first, second) for policy in page["ScalingPolicies"]]
    assert names == ["p0", "p1", "p2", "p3", "p4"]
    with pytest.raises(RefusedError, match="InvalidNextTokenException"):
        wire.call("autoscaling", "DescribeScalingPolicies", ServiceNamespace="sagemaker", NextToken="no token")


@pytest.mark.parametrize(
    ("schedule", "good"),
    [
        ("at(2026-12-01T08:00:00)", True),
        ("rate(5 minutes)", True),
        ("cron(0 8 ? * MON-FRI *)", True),
        ("rate(0 minutes)", False),
        ("0 8 * * *", False),
        ("at(tomorrow)", False),
    ],
)
def test_schedules_are_expressions(wire: Wire, schedule: str, good: bool) -> None:  # noqa: FBT001 - a parameter
    """Ledger autoscaling.schedule."""
    registered(wire)

    def put() -> None:
        action = {"MinCapacity": 1, "MaxCapacity": 2}
        wire.call(
            "autoscaling",
            "PutScheduledAction",
            **COMPONENT,
            ScheduledActionName="a",
            Schedule=schedule,
            ScalableTargetAction=action,
        )

    if good:
        put()
    else:
        with pytest.raises(RefusedError, match="ValidationException"):
            put()
    found = wire.call("autoscaling", "DescribeScheduledActions", ServiceNamespace="sagemaker")["ScheduledActions"]
    assert len(found) == good
