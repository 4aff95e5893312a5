"""The types of Application Auto Scaling, and CloudWatch's alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.stacks.calls import CloudCalls, RefusedError, ResourceError
from llm_deploy.emulator.backend.stacks.providers import (
    Document,
    Made,
    Stop,
    generated_name,
    tag_changes,
    tag_list,
    tag_map,
)

TRIPLE = ("ResourceId", "ScalableDimension", "ServiceNamespace")


@dataclass(frozen=True, slots=True)
class ScalableTargetType:
    """Scalable targets. `Ref` is the triple that identifies one. Ledger: `cfn.ref-of-scaling`."""

    calls: CloudCalls
    kind: str = "AWS::ApplicationAutoScaling::ScalableTarget"

    def create(self, logical_id: str, properties: Document) -> Made:
        """Register it. Registering twice would change the other one's bounds, so that is refused."""
        del logical_id
        if self.exists(properties):
            raise already_exists(self.kind, "|".join(str(properties[name]) for name in TRIPLE))
        tags = {"Tags": tag_map(properties)} if properties.get("Tags") else {}
        self.calls.call("scaling", "RegisterScalableTarget", {**_bounds(properties), **tags})
        self._schedule(properties, {}, properties)
        return self.made(properties)

    def settle(self, physical_id: str, properties: Document, stop: Stop) -> None:
        """It is ready at once."""

    def update(self, physical_id: str, old: Document, new: Document, stop: Stop) -> None:
        """Change bounds, schedules and tags."""
        del physical_id, stop
        self.calls.call("scaling", "RegisterScalableTarget", _bounds(new))
        self._schedule(new, old, new)
        wanted, unwanted = tag_changes(old, new)
        arn = self._target(new)["ScalableTargetARN"] if wanted or unwanted else ""
        if wanted:
            self.calls.call("scaling", "TagResource", {"ResourceARN": arn, "Tags": dict(wanted)})
        if unwanted:
            self.calls.call("scaling", "UntagResource", {"ResourceARN": arn, "TagKeys": list(unwanted)})

    def delete(self, physical_id: str, properties: Document) -> None:
        """Deregister it; its policies and schedules go with it."""
        del properties
        try:
            self.calls.call("scaling", "DeregisterScalableTarget", _triple_of(physical_id))
        except RefusedError as error:
            if not error.not_found:
                raise

    def made(self, identifier: Mapping[str, str]) -> Made:
        """The target of a triple. Asks nobody."""
        physical_id = "|".join(str(identifier[name]) for name in TRIPLE)
        return Made(physical_id, {"Id": physical_id})

    def exists(self, identifier: Mapping[str, str]) -> bool:
        """Whether the triple is registered."""
        return bool(self._target(identifier))

    def _target(self, identifier: Mapping[str, str]) -> Document:
        asked = {
            "ServiceNamespace": identifier["ServiceNamespace"],
            "ScalableDimension": identifier["ScalableDimension"],
            "ResourceIds": [identifier["ResourceId"]],
        }
        found = self.calls.call("scaling", "DescribeScalableTargets", asked)["ScalableTargets"]
        return dict(found[0]) if found else {}

    def _schedule(self, properties: Document, old: Document, new: Document) -> None:
        """Ledger: `cfn.schedules`."""
        triple = {name: properties[name] for name in TRIPLE}
        found = self.calls.call("scaling", "DescribeScheduledActions", triple)["ScheduledActions"]
        standing = {action["ScheduledActionName"] for action in found}
        wanted = {action["ScheduledActionName"]: action for action in new.get("ScheduledActions", [])}
        for action in wanted.values():
            self.calls.call("scaling", "PutScheduledAction", {**triple, **action})
        for action in old.get("ScheduledActions", []):
            if action["ScheduledActionName"] in standing - wanted.keys():
                name = {"ScheduledActionName": action["ScheduledActionName"]}
                self.calls.call("scaling", "DeleteScheduledAction", {**triple, **name})


@dataclass(frozen=True, slots=True)
class ScalingPolicyType:
    """Scaling policies. `Ref` is the ARN with the dimension. Ledger: `cfn.ref-of-scaling`."""

    calls: CloudCalls
    kind: str = "AWS::ApplicationAutoScaling::ScalingPolicy"

    def create(self, logical_id: str, properties: Document) -> Made:
        """Put it; putting twice would overwrite another one, so that is refused."""
        del logical_id
        request = _with_triple(properties)
        asked = {name: request[name] for name in TRIPLE} | {"PolicyNames": [request["PolicyName"]]}
        if self.calls.call("scaling", "DescribeScalingPolicies", asked)["ScalingPolicies"]:
            raise already_exists(self.kind, str(request["PolicyName"]))
        arn = self.calls.call("scaling", "PutScalingPolicy", request)["PolicyARN"]
        return self.made({"Arn": arn, "ScalableDimension": request["ScalableDimension"]})

    def settle(self, physical_id: str, properties: Document, stop: Stop) -> None:
        """It is ready at once."""

    def update(self, physical_id: str, old: Document, new: Document, stop: Stop) -> None:
        """Put it again: same name, same ARN."""
        del physical_id, old, stop
        self.calls.call("scaling", "PutScalingPolicy", _with_triple(new))

    def delete(self, physical_id: str, properties: Document) -> None:
        """Delete it, unless its target took it along."""
        del physical_id
        request = _with_triple(properties)
        names = {name: request[name] for name in (*TRIPLE, "PolicyName")}
        try:
            self.calls.call("scaling", "DeleteScalingPolicy", names)
        except RefusedError as error:
            if not error.not_found:
                raise

    def made(self, identifier: Mapping[str, str]) -> Made:
        """The policy of an ARN and a dimension. Asks nobody."""
        arn = identifier["Arn"]
        return Made(f"{arn}|{identifier['ScalableDimension']}", {"Arn": arn})

    def exists(self, identifier: Mapping[str, str]) -> bool:
        """Whether there is a policy of this ARN."""
        asked = {"ServiceNamespace": identifier["ScalableDimension"].partition(":")[0]}
        found = self.calls.call("scaling", "DescribeScalingPolicies", asked)["ScalingPolicies"]
        return any(policy["PolicyARN"] == identifier["Arn"] for policy in found)


@dataclass(frozen=True, slots=True)
class AlarmType:
    """Metric alarms. `Ref` is the name."""

    calls: CloudCalls
    region: str
    account: str
    kind: str = "AWS::CloudWatch::Alarm"

    def create(self, logical_id: str, properties: Document) -> Made:
        """Put it; putting twice would overwrite another one, so that is refused."""
        name = properties.get("AlarmName") or generated_name(logical_id)
        if self.exists({"AlarmName": name}):
            raise already_exists(self.kind, name)
        self.calls.call("metrics", "PutMetricAlarm", {**properties, "AlarmName": name})
        return self.made({"AlarmName": name})

    def settle(self, physical_id: str, properties: Document, stop: Stop) -> None:
        """It is ready at once."""

    def update(self, physical_id: str, old: Document, new: Document, stop: Stop) -> None:
        """Put it again, and change its tags, which putting leaves alone."""
        del stop
        request = {key: value for key, value in new.items() if key != "Tags"}
        self.calls.call("metrics", "PutMetricAlarm", {**request, "AlarmName": physical_id})
        wanted, unwanted = tag_changes(old, new)
        arn = self.made({"AlarmName": physical_id}).attributes["Arn"]
        if wanted:
            self.calls.call("metrics", "TagResource", {"ResourceARN": arn, "Tags": tag_list(wanted)})
        if unwanted:
            self.calls.call("metrics", "UntagResource", {"ResourceARN": arn, "TagKeys": list(unwanted)})

    def delete(self, physical_id: str, properties: Document) -> None:
        """Delete it."""
        del properties
        if self.exists({"AlarmName": physical_id}):
            self.calls.call("metrics", "DeleteAlarms", {"AlarmNames": [physical_id]})

    def made(self, identifier: Mapping[str, str]) -> Made:
        """The alarm of a name. Asks nobody."""
        name = identifier["AlarmName"]
        return Made(name, {"Arn": f"arn:aws:cloudwatch:{self.region}:{self.account}:alarm:{name}"})

    def exists(self, identifier: Mapping[str, str]) -> bool:
        """Whether there is an alarm of this name."""
        asked = {"AlarmNames": [identifier["AlarmName"]]}
        return bool(self.calls.call("metrics", "DescribeAlarms", asked)["MetricAlarms"])


def already_exists(kind: str, identifier: str) -> ResourceError:
    """The refusal of a name that is taken. Ledger: `cfn.already-exists`."""
    return ResourceError(ledger.text("cfn.already-exists", kind=kind, identifier=identifier))


def _bounds(properties: Document) -> Document:
    return {key: value for key, value in properties.items() if key not in {"Tags", "ScheduledActions"}}


def _triple_of(physical_id: str) -> Document:
    return dict(zip(TRIPLE, physical_id.split("|"), strict=True))


def _with_triple(properties: Document) -> Document:
    """The triple, from itself or from the id of the target."""
    given = {key: value for key, value in properties.items() if key != "ScalingTargetId"}
    target = properties.get("ScalingTargetId")
    return {**(_triple_of(target) if target else {}), **given}
