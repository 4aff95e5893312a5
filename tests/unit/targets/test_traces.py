"""What AWS leaves beside a deployment: alarms of policies that are gone, log groups that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.targets.sagemaker.traces import LogGroupManager, TrackingAlarmManager, alarm_resource

ID = "0a1b2c3d-0000-1111-2222-333344445555"
TWIN = f"TargetTracking-inference-component/twin-AlarmHigh-{ID}"


@dataclass
class FakeAws:
    """CloudWatch, Logs, autoscaling and SageMaker in one: alarms, groups, and the alarms that policies use."""

    alarms: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    used: dict[str, list[str]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    operation: str = ""

    def get_paginator(self, operation: str) -> FakeAws:
        """A paginator for one of the lists."""
        return FakeAws(self.alarms, self.groups, self.used, self.deleted, operation)

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - requests are documents
        """The one page of an answer."""
        if self.operation == "describe_alarms":
            names = [name for name in self.alarms if name.startswith(request["AlarmNamePrefix"])]
            yield {"MetricAlarms": [{"AlarmName": name} for name in names]}
        elif self.operation == "describe_log_groups":
            names = [name for name in self.groups if name.startswith(request["logGroupNamePrefix"])]
            yield {"logGroups": [{"logGroupName": name, "creationTime": 1_700_000_000_000} for name in names]}
        elif self.operation == "describe_scaling_policies":
            alarms = [{"AlarmName": name} for name in self.used.get(request["ResourceId"], ())]
            yield {"ScalingPolicies": [{"Alarms": alarms}]}
        else:
            yield {"InferenceComponents": []}

    def delete_alarms(self, **request: list[str]) -> None:
        """Passes over what is not there."""
        self.deleted += request["AlarmNames"]

    def delete_log_group(self, **request: str) -> None:
        """Refuses what is not there."""
        if request["logGroupName"] not in self.groups:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "DeleteLogGroup")
        self.deleted.append(request["logGroupName"])


def session(aws: FakeAws) -> Session:
    names = ("sagemaker", "application-autoscaling", "cloudwatch", "logs")
    return Session("eu-central-1", _clients=dict.fromkeys(names, aws))


def test_only_alarms_that_no_policy_uses_are_left() -> None:
    """An alarm goes with its policy; one whose policy is gone is what AWS forgot."""
    on_endpoint = f"TargetTracking-endpoint/twin/variant/v-AlarmLow-{ID}"
    aws = FakeAws(alarms=[TWIN, on_endpoint], used={"endpoint/twin/variant/v": [on_endpoint]})
    manager = TrackingAlarmManager(session(aws), "twin")
    (found,) = manager.owned("twin")
    assert (found.name, found.owned_by) == (TWIN, "twin")
    manager.delete(found)
    assert aws.deleted == [TWIN]


def test_alarms_of_names_that_only_begin_alike_are_others() -> None:
    """`twin-2` is another component, and an alarm that a person named so is no alarm of autoscaling."""
    alarms = [
        f"TargetTracking-inference-component/twin-2-AlarmHigh-{ID}",
        f"TargetTracking-endpoint/twin-2/variant/v-AlarmHigh-{ID}",
        "TargetTracking-inference-component/twin-mine",
    ]
    assert TrackingAlarmManager(session(FakeAws(alarms=alarms)), "twin").owned("twin") == ()


def test_the_name_of_an_alarm_tells_its_resource() -> None:
    """Whatever hyphens the component's name has."""
    assert alarm_resource(TWIN) == "inference-component/twin"
    assert alarm_resource(f"TargetTracking-inference-component/a-AlarmHigh-b-AlarmLow-{ID}") == (
        "inference-component/a-AlarmHigh-b"
    )
    assert alarm_resource("my-alarm") is None


def test_only_the_groups_that_were_asked_for_are_found() -> None:
    """By their whole name, and with their age, which the guard against young objects needs."""
    mine = "/aws/sagemaker/Endpoints/twin"
    aws = FakeAws(groups=[mine, f"{mine}-2"])
    manager = LogGroupManager(session(aws), "twin", frozenset({mine, "/aws/sagemaker/Endpoints/absent"}))
    (found,) = manager.owned("twin")
    assert (found.name, found.created_at) == (mine, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert LogGroupManager(session(aws), "twin").owned("twin") == ()
    manager.delete(found)
    aws.groups.clear()
    manager.delete(found)
    assert aws.deleted == [mine], "the absent is no error"
