"""The manager of the alarms that roll updates back. CloudWatch makes, overwrites and forgets them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import ALARM, Resource, owner, tag_list, tag_map
from llm_deploy.targets.sagemaker.rollouts import alarm_names

Document = Mapping[str, Any]


@dataclass(frozen=True)
class AlarmManager:
    """Alarms, whose names follow from the deployment's, so that nobody else's need be looked at."""

    session: Session
    kind: ClassVar[str] = ALARM

    @property
    def cloudwatch(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """The CloudWatch client."""
        return self.session.client("cloudwatch")

    def find(self, name: str) -> Found | None:
        """The alarm with its tags and its state."""
        return next((self._found(alarm) for alarm in self._described([name])), None)

    def owned(self, deployment: str) -> Sequence[Found]:
        """The alarms that a deployment made."""
        found = (self._found(alarm) for alarm in self._described(alarm_names(deployment)))
        return tuple(item for item in found if item is not None and item.owned_by == deployment)

    def owners(self, prefix: str = "") -> set[str]:
        """The deployments that alarms name in their tags, of all alarms named as ours are, and with this prefix."""
        name = {"AlarmNamePrefix": prefix} if prefix else {}
        with aws_errors("list alarms"):
            pages = self.cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"], **name)
            alarms = [alarm for page in pages for alarm in page["MetricAlarms"]]
        named = (alarm for alarm in alarms if alarm["AlarmName"].endswith(alarm_names("")))
        return {mine for alarm in named if (mine := self._owner(alarm)) is not None}

    def create(self, resource: Resource) -> None:
        """Put it, with its tags."""
        with aws_errors(f"put alarm '{resource.name}'"):
            self.cloudwatch.put_metric_alarm(**resource.properties, Tags=tag_list(resource.tags))

    def update(self, resource: Resource, found: Found) -> None:
        """Put it again; putting takes tags of a new alarm only."""
        with aws_errors(f"change alarm '{resource.name}'"):
            self.cloudwatch.put_metric_alarm(**resource.properties)
            changed = {key: value for key, value in resource.tags.items() if found.tags.get(key) != value}
            if changed:
                self.cloudwatch.tag_resource(ResourceARN=found.attributes["Arn"], Tags=tag_list(changed))

    def delete(self, found: Found) -> None:
        """Remove it; CloudWatch passes over what is gone."""
        with aws_errors(f"delete alarm '{found.name}'"):
            self.cloudwatch.delete_alarms(AlarmNames=[found.name])

    def gone_off(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the named alarms that are in ALARM now, with CloudWatch's reason."""
        wanted = list(names)
        if not wanted:
            return {}
        return {
            alarm["AlarmName"]: alarm.get("StateReason", "")
            for alarm in self._described(wanted)
            if alarm["StateValue"] == "ALARM"
        }

    def _described(self, names: Iterable[str]) -> list[Document]:
        with aws_errors("describe alarms"):
            answer = self.cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm"])
        found: list[Document] = answer["MetricAlarms"]
        return found

    def _owner(self, alarm: Document) -> str | None:
        try:
            found = self._found(alarm)
        except AccessDeniedError:
            return None  # somebody else's, for a narrow identity may read the tags of its own alone
        return None if found is None else found.owned_by

    def _found(self, alarm: Document) -> Found | None:
        try:
            with aws_errors(f"read the tags of alarm '{alarm['AlarmName']}'"):
                answer = self.cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
        except NotFoundError:
            return None
        tags = tag_map(answer["Tags"])
        return Found(
            ALARM,
            alarm["AlarmName"],
            properties=alarm,
            tags=tags,
            status=alarm["StateValue"],
            attributes={"Arn": alarm["AlarmArn"]},
            created_at=alarm.get("AlarmConfigurationUpdatedTimestamp"),
            owned_by=owner(tags),
        )
