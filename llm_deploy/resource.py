"""A named document, and how names follow from content.

A deployment is a list of `Resource`s. Their `kind` is the CloudFormation type name and their `properties` are in
CloudFormation's casing, which for SageMaker are the boto3 request members as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "AWS::SageMaker::Model"
ENDPOINT_CONFIG = "AWS::SageMaker::EndpointConfig"
ENDPOINT = "AWS::SageMaker::Endpoint"
INFERENCE_COMPONENT = "AWS::SageMaker::InferenceComponent"
SCALABLE_TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
SCALING_POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"
ALARM = "AWS::CloudWatch::Alarm"
TRACKING_ALARM = "AWS::ApplicationAutoScaling::TrackingAlarm"
"""What Application Auto Scaling makes for a target-tracking policy and removes with it. The word is ours: nobody else
makes one."""
LOG_GROUP = "AWS::Logs::LogGroup"
ROLE = "AWS::IAM::Role"
MANAGED_POLICY = "AWS::IAM::ManagedPolicy"
USER = "AWS::IAM::User"
ACCESS_KEY = "AWS::IAM::AccessKey"
SERVICE_LINKED_ROLE = "AWS::IAM::ServiceLinkedRole"

IMMUTABLE_KINDS = frozenset({MODEL, ENDPOINT_CONFIG})
"""AWS has no update for these; a changed document is another object under another name."""

TAG_DEPLOYMENT = "llmdeploy:deployment"
"""The ownership tag: its value is the deployment's name. What does not carry it is not ours."""
TAG_ENDPOINT_TYPE = "llmdeploy:endpoint-type"
TAG_DIALECT = "llmdeploy:dialect"
TAG_MODEL = "llmdeploy:model"
TAG_CONTENT = "llmdeploy:content"
"""Hash of a mutable object's document, so that a property which a spec drops is noticed: what AWS describes may hold
defaults and cannot tell."""
TAG_NETWORK = "llmdeploy:network"
"""Hash of the VPC settings, or `none`."""
TAG_MACHINE = "llmdeploy:machine"
"""The machine behind a scalable variant."""
TAG_OF_CLOUDFORMATION = "aws:cloudformation:stack-name"
TAG_STACK = "llmdeploy:stack"
"""The CloudFormation stack that holds an object. CloudFormation's own tag for that is not on every kind.
Source: registry schemas, `cloudFormationSystemTags`: models and alarms have it, endpoints and components do not."""
TAG_TTL = "llmdeploy:ttl"
"""How long an endpoint is to live after it was last deployed: `8h`, `2d12h`, or `none`."""
TAG_BY = "llmdeploy:by"
"""Who began the last change of an endpoint or component, and when: the tail of the caller's ARN and a time. Said to
whoever comes in between; no plan compares it."""
TAG_SAMPLING = "llmdeploy:sampling"
"""Default sampling parameters for the deployment's clients: `temperature=0.01 top_p=0.9 max_new_tokens=150`."""
TAG_PREVIOUS = "llmdeploy:previous"
TAG_PREVIOUS_COMPONENT = "llmdeploy:previous-component"
"""On an endpoint: the generation that its last update leaves; `deploy.generations` writes and reads it."""
TAG_EARLIER = "llmdeploy:earlier"
TAG_EARLIER_COMPONENT = "llmdeploy:earlier-component"
"""On an endpoint: what was the previous generation before its last update began. It counts when that never happened."""
TAG_REACHED = "llmdeploy:reached"
"""On an endpoint: what its last update was to lead to, written when it has. It tells an update that is over from one
that was cut off."""
MARKS = frozenset({TAG_PREVIOUS, TAG_PREVIOUS_COMPONENT, TAG_EARLIER, TAG_EARLIER_COMPONENT})
"""Tags that are written before an object changes; all others say what it is, and are written after."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An attribute that only the cloud knows (a generated id): `Ref("Role", "Arn")`. Apply fills it in."""

    resource: str
    attribute: str


ACCOUNT_OF_STACK = "${AWS::AccountId}"
PARTITION_OF_STACK = "${AWS::Partition}"
"""In place of a `Place`'s account and partition: whatever account a template is deployed to. The renderer makes
references of them; nothing else may hold them, so a spec that does is refused."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A text that whoever deploys a template gives. It stands in documents for templates only, never in a plan."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One object that a deployment wants to exist.

    Attributes:
        id: The logical name inside the list, as in a template.
        kind: CloudFormation type name.
        name: The physical name, chosen by us.
        properties: The document without its tags.
        tags: Tags that the object is to carry.
        depends_on: Logical ids that must be ready first.
        purpose: One line for the plan: what this object is for.
        write_only: Dotted paths that are sent but, like all below them, never compared: AWS does not return them, or
            autoscaling owns them.
        create_only: Dotted paths (tags are `Tags.<key>`) that cannot change in place; a difference there is refused.
        replace_on: Tags whose change means that the object is removed before, and made again after, what it hangs on
            changes: AWS refuses to change the machine of a variant that may scale.
        rollout: How the cloud carries out a change of it, for the plan.
    """

    id: str
    kind: str
    name: str
    properties: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    purpose: str = ""
    write_only: frozenset[str] = frozenset()
    create_only: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    rollout: str = ""

    @property
    def immutable(self) -> bool:
        """Whether a change of the document means another object."""
        return self.kind in IMMUTABLE_KINDS


def content_hash(document: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that change whenever the document does; tags and names are not to be in it."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=_plain).encode()).hexdigest()[:8]


def content_name(base: str, document: Mapping[str, Any]) -> str:
    """The name of an immutable object: its deployment's name and its content's hash."""
    return f"{base}-{content_hash(document)}"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in the list form of most AWS calls, sorted so that requests are reproducible."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def tag_map(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The inverse of `tag_list`."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def owner(tags: Mapping[str, str]) -> str | None:
    """The deployment that these tags claim an object for, or `None`."""
    return tags.get(TAG_DEPLOYMENT)


def stack_of(tags: Mapping[str, str]) -> str | None:
    """The CloudFormation stack that holds an object, ours or another tool's, or `None`."""
    return tags.get(TAG_STACK) or tags.get(TAG_OF_CLOUDFORMATION)


def in_dependency_order(resources: Sequence[Resource]) -> tuple[Resource, ...]:
    """Each resource after all that it depends on; otherwise the given order.

    Raises:
        ValueError: A dependency is missing from the list or runs in a circle.
    """
    done: dict[str, Resource] = {}
    waiting = list(resources)
    while waiting:
        ready = [resource for resource in waiting if all(needed in done for needed in resource.depends_on)]
        if not ready:
            stuck = ", ".join(resource.id for resource in waiting)
            raise ValueError(f"dependencies that are missing or circular: {stuck}")
        done |= {resource.id: resource for resource in ready}
        waiting = [resource for resource in waiting if resource.id not in done]
    return tuple(done.values())


def _plain(value: object) -> object:
    if isinstance(value, Ref):
        return {"Ref": [value.resource, value.attribute]}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not a document value: {type(value).__name__}")
