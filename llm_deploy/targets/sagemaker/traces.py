"""Managers for what AWS itself makes beside a deployment and may leave behind: log groups, alarms of autoscaling.

Neither carries a tag of ours. Both are found by the names that AWS gives them, and are only ever found and removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import NotFoundError
from llm_deploy.resource import LOG_GROUP, TRACKING_ALARM, Resource
from llm_deploy.targets.sagemaker.autoscaling import ScalingPolicyManager
from llm_deploy.targets.sagemaker.hosting import InferenceComponentManager

Document = Mapping[str, Any]

ALARMS = "TargetTracking-"
_ALARM_NAME = re.compile(rf"{ALARMS}(?P<resource>.+)-Alarm(?:High|Low)-[0-9a-f-]+")
"""Source: captured alarms of Application Auto Scaling."""


@dataclass(frozen=True)
class TraceManager:
    """What both kinds share: AWS makes them, we do not, and only their names say which deployment they are of."""

    session: Session
    deployment: str
    kind: ClassVar[str]

    def create(self, resource: Resource) -> None:
        """Never asked for."""
        raise NotImplementedError(f"{self.kind} '{resource.name}' is made by AWS")

    def update(self, resource: Resource, found: Found) -> None:
        """Never asked for."""
        raise NotImplementedError(f"{self.kind} '{resource.name}' is made by AWS")


@dataclass(frozen=True)
class LogGroupManager(TraceManager):
    """The log groups that a removal was asked to take as well. They outlive what wrote them, and keep their price."""

    kind: ClassVar[str] = LOG_GROUP
    names: frozenset[str] = frozenset()

    def find(self, name: str) -> Found | None:
        """The group of this name."""
        with aws_errors(f"look for the log group {name}"):
            pages = self._logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
            groups = [group for page in pages for group in page["logGroups"]]
        return next((self._group(group) for group in groups if group["logGroupName"] == name), None)

    def owned(self, deployment: str) -> Sequence[Found]:  # noqa: ARG002 - the names were chosen by the caller
        """Those of the named groups that exist."""
        found = (self.find(name) for name in sorted(self.names))
        return tuple(item for item in found if item is not None)

    def delete(self, found: Found) -> None:
        """Remove the group with all that is in it."""
        try:
            with aws_errors(f"delete the log group {found.name}"):
                self._logs.delete_log_group(logGroupName=found.name)
        except NotFoundError:
            return

    def _group(self, group: Document) -> Found:
        created_at = datetime.fromtimestamp(group["creationTime"] / 1000, UTC)
        return Found(self.kind, group["logGroupName"], group, created_at=created_at, owned_by=self.deployment)

    @property
    def _logs(self) -> Any:  # noqa: ANN401 - botocore makes its client classes at run time
        return self.session.client("logs")


@dataclass(frozen=True)
class TrackingAlarmManager(TraceManager):
    """Alarms of target-tracking policies that are gone. AWS removes them with the policy; this proves it."""

    kind: ClassVar[str] = TRACKING_ALARM

    def find(self, name: str) -> Found | None:
        """The alarm of this name."""
        return next((alarm for alarm in self._alarms(name) if alarm.name == name), None)

    def owned(self, deployment: str) -> Sequence[Found]:
        """Alarms on a deployment's endpoint and components that no policy uses any more."""
        components = {found.name for found in InferenceComponentManager(self.session).owned(deployment)} | {deployment}
        resources = [f"endpoint/{deployment}/variant/", *(f"inference-component/{name}-" for name in components)]
        found = [alarm for resource in resources for alarm in self._alarms(ALARMS + resource)]
        used = self._used({resource for alarm in found if (resource := alarm_resource(alarm.name))})
        names = {f"inference-component/{name}" for name in components}
        return tuple(
            alarm
            for alarm in found
            if alarm.name not in used
            and (resource := alarm_resource(alarm.name)) is not None
            and (resource in names or resource.startswith("endpoint/"))
        )

    def delete(self, found: Found) -> None:
        """Remove it; the absent is passed over."""
        with aws_errors(f"delete alarm '{found.name}'"):
            self._cloudwatch.delete_alarms(AlarmNames=[found.name])

    def _used(self, resource_ids: set[str]) -> set[str]:
        policies = ScalingPolicyManager(self.session)
        return {name for resource_id in resource_ids for name in policies.alarms_of(resource_id)}

    def _alarms(self, prefix: str) -> Iterator[Found]:
        with aws_errors(f"list alarms '{prefix}*'"):
            pages = self._cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
            alarms = [alarm for page in pages for alarm in page["MetricAlarms"]]
        yield from (self._alarm(alarm) for alarm in alarms)

    def _alarm(self, alarm: Document) -> Found:
        created_at = alarm.get("AlarmConfigurationUpdatedTimestamp")
        return Found(self.kind, alarm["AlarmName"], alarm, created_at=created_at, owned_by=self.deployment)

    @property
    def _cloudwatch(self) -> Any:  # noqa: ANN401 - as above
        return self.session.client("cloudwatch")


def alarm_resource(name: str) -> str | None:
    """The resource id in the name of an alarm of autoscaling; `None` for any other alarm."""
    match = _ALARM_NAME.fullmatch(name)
    return match["resource"] if match else None
