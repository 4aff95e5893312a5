"""Managers for Application Auto Scaling: what may scale, and by which rule.

Neither survives usefully without the endpoint or component it hangs on, and AWS does not remove them with it; so
ownership follows the name of that thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import SCALABLE_TARGET, SCALING_POLICY, Resource, owner
from llm_deploy.targets.sagemaker.hosting import EndpointManager, InferenceComponentManager

NAMESPACE = "sagemaker"
GONE = ""
"""In place of an owner: the endpoint or component of a target does not exist any more."""
DIMENSIONS = {
    "inference-component": "sagemaker:inference-component:DesiredCopyCount",
    "endpoint": "sagemaker:variant:DesiredInstanceCount",
}

Document = Mapping[str, Any]


def scaled(resource_id: str) -> tuple[str, str]:
    """What is scaled: `endpoint` or `inference-component`, and its name."""
    what, _, rest = resource_id.partition("/")
    return what, rest.split("/")[0]


def _dimension(resource_id: str) -> str:
    return DIMENSIONS[resource_id.partition("/")[0]]


@dataclass(frozen=True)
class AutoscalingManager:
    """What both kinds share: finding out which resource ids belong to a deployment.

    Attributes:
        everywhere: Read the tags of all targets, a call each, to find those too whose resource has another name than
            its deployment and is gone. A deletion has to know of them; a deploy does not.
    """

    session: Session
    everywhere: bool = False

    @property
    def autoscaling(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """The Application Auto Scaling client."""
        return self.session.client("application-autoscaling")

    def targets_of(self, deployment: str) -> Iterator[Document]:
        """The scalable targets on a deployment's endpoint or components; on ones that are gone, those with our tag."""
        components = {found.name for found in InferenceComponentManager(self.session).owned(deployment)} | {deployment}
        for target in self.registered():
            what, name = scaled(target["ResourceId"])
            likely = name == deployment if what == "endpoint" else name in components
            if self.owner_of(target["ResourceId"]) == deployment if likely else self._was_ours(target, deployment):
                yield target

    def registered(self) -> list[Document]:
        """Every scalable target of the region, whosever."""
        with aws_errors("list scalable targets"):
            pages = self.autoscaling.get_paginator("describe_scalable_targets").paginate(ServiceNamespace=NAMESPACE)
            return [target for page in pages for target in page["ScalableTargets"]]

    def tags(self, arn: str) -> dict[str, str]:
        """A scalable target's tags."""
        with aws_errors(f"read the tags of {arn}"):
            found: dict[str, str] = self.autoscaling.list_tags_for_resource(ResourceARN=arn)["Tags"]
        return found

    def owner_of(self, resource_id: str) -> str | None:
        """The deployment of what a target hangs on; of one that hangs on nothing, what its own tag says."""
        hangs_on = self.hangs_on(resource_id)
        if hangs_on != GONE:
            return hangs_on
        target = self.target(resource_id)
        return owner(self.tags(target["ScalableTargetARN"])) if target else None

    def target(self, resource_id: str) -> Document | None:
        """The target registered for a resource id."""
        with aws_errors(f"describe scalable target '{resource_id}'"):
            answer = self.autoscaling.describe_scalable_targets(
                ServiceNamespace=NAMESPACE, ResourceIds=[resource_id], ScalableDimension=_dimension(resource_id)
            )
        return next(iter(answer["ScalableTargets"]), None)

    def _was_ours(self, target: Document, deployment: str) -> bool:
        """Whether our tag is on a target whose resource is gone."""
        if not self.everywhere:
            return False
        try:
            tagged = owner(self.tags(target["ScalableTargetARN"])) == deployment
        except (AccessDeniedError, NotFoundError):
            return False  # somebody else's, or gone by now
        return tagged and self.hangs_on(target["ResourceId"]) == GONE

    def hangs_on(self, resource_id: str) -> str | None:
        """The deployment that owns the endpoint or component of a resource id; `GONE` when there is no such thing."""
        what, name = scaled(resource_id)
        manager = EndpointManager if what == "endpoint" else InferenceComponentManager
        found = manager(self.session).find(name)
        return found.owned_by if found else GONE


@dataclass(frozen=True)
class ScalableTargetManager(AutoscalingManager):
    """Scalable targets, named by their resource id."""

    kind: ClassVar[str] = SCALABLE_TARGET

    def find(self, name: str) -> Found | None:
        """The target registered for a resource id."""
        target = self.target(name)
        return self._found(target, self.owner_of(name)) if target else None

    def owned(self, deployment: str) -> Sequence[Found]:
        """Targets on the deployment's endpoint and components."""
        found = (self._found(target, deployment) for target in self.targets_of(deployment))
        return tuple(item for item in found if item is not None)

    def create(self, resource: Resource) -> None:
        """Register it; registering twice changes the bounds."""
        with aws_errors(f"register scalable target '{resource.name}'"):
            self.autoscaling.register_scalable_target(**resource.properties, Tags=dict(resource.tags))

    def update(self, resource: Resource, found: Found) -> None:
        """Change the bounds and the tags; registering takes tags of a new target only."""
        with aws_errors(f"change scalable target '{resource.name}'"):
            self.autoscaling.register_scalable_target(**resource.properties)
            if dict(found.tags) != dict(resource.tags):
                self.autoscaling.tag_resource(ResourceARN=found.attributes["Arn"], Tags=dict(resource.tags))

    def delete(self, found: Found) -> None:
        """Deregister it, and with it every policy on it."""
        request = {key: found.properties[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        try:
            with aws_errors(f"deregister scalable target '{found.name}'"):
                self.autoscaling.deregister_scalable_target(**request)
        except NotFoundError:
            return

    def _found(self, target: Document, deployment: str | None) -> Found | None:
        try:
            tags = self.tags(target["ScalableTargetARN"])
        except NotFoundError:
            return None  # gone between two calls
        return Found(
            SCALABLE_TARGET,
            target["ResourceId"],
            properties=target,
            tags=tags,
            attributes={"Arn": target["ScalableTargetARN"]},
            created_at=target.get("CreationTime"),
            owned_by=deployment,
        )


@dataclass(frozen=True)
class ScalingPolicyManager(AutoscalingManager):
    """Scaling policies, named `<resource id>|<policy name>` because policy names are unique per target only."""

    kind: ClassVar[str] = SCALING_POLICY

    def find(self, name: str) -> Found | None:
        """The policy of this name on this target."""
        resource_id, _, policy = name.partition("|")
        found = [item for item in self._policies(resource_id) if item["PolicyName"] == policy]
        return self._found(found[0], self.owner_of(resource_id)) if found else None

    def owned(self, deployment: str) -> Sequence[Found]:
        """Every policy on the deployment's targets; a policy has no tags and is as much ours as its target."""
        targets = ScalableTargetManager(self.session, self.everywhere).owned(deployment)
        return tuple(
            replace(self._found(policy, deployment), tags=target.tags)
            for target in targets
            for policy in self._policies(target.name)
        )

    def create(self, resource: Resource) -> None:
        """Put it; putting twice replaces it. AWS makes the two alarms of a target-tracking policy itself."""
        with aws_errors(f"put scaling policy '{resource.name}'"):
            self.autoscaling.put_scaling_policy(**resource.properties)

    def update(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - putting again is the update
        """Replace the policy's configuration."""
        self.create(resource)

    def delete(self, found: Found) -> None:
        """Delete it, and with it the alarms that AWS made for it."""
        members = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension")
        try:
            with aws_errors(f"delete scaling policy '{found.name}'"):
                self.autoscaling.delete_scaling_policy(**{key: found.properties[key] for key in members})
        except NotFoundError:
            return

    def alarms_of(self, resource_id: str) -> set[str]:
        """Names of the alarms that AWS made for the policies on a resource id."""
        return {alarm["AlarmName"] for policy in self._policies(resource_id) for alarm in policy["Alarms"]}

    def _policies(self, resource_id: str) -> Iterator[Document]:
        with aws_errors(f"list scaling policies of '{resource_id}'"):
            pages = self.autoscaling.get_paginator("describe_scaling_policies").paginate(
                ServiceNamespace=NAMESPACE, ResourceId=resource_id, ScalableDimension=_dimension(resource_id)
            )
            yield from [policy for page in pages for policy in page["ScalingPolicies"]]

    def _found(self, policy: Document, deployment: str | None) -> Found:
        return Found(
            SCALING_POLICY,
            f"{policy['ResourceId']}|{policy['PolicyName']}",
            properties=policy,
            attributes={"Arn": policy["PolicyARN"], "Alarms": [alarm["AlarmName"] for alarm in policy["Alarms"]]},
            created_at=policy.get("CreationTime"),
            owned_by=deployment,
        )
