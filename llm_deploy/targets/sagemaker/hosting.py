"""Managers for what SageMaker hosting is made of: models, endpoint configs, endpoints, inference components.

SageMaker's CloudFormation property names are the boto3 request members, so a resource's document is the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found, State
from llm_deploy.deploy.plan import compare, not_ours
from llm_deploy.errors import NotFoundError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MARKS,
    MODEL,
    TAG_BY,
    TAG_CONTENT,
    Resource,
    owner,
    tag_list,
)
from llm_deploy.targets.sagemaker.tags import tags_of

Document = Mapping[str, Any]

ADOPT = "If it is yours, `llmdeploy gc --adopt {name}` makes it llmdeploy's; else remove it with the tool that made it."
"""The way out where something that is not ours stands in the way of a removal."""

_ENDPOINT_STATES = {
    "InService": State.READY,
    "Creating": State.BUSY,
    "Updating": State.BUSY,
    "SystemUpdating": State.BUSY,
    "RollingBack": State.BUSY,
    "Deleting": State.DELETING,
    "Failed": State.FAILED,
    "UpdateRollbackFailed": State.MIXED,
    "OutOfService": State.FAILED,
}
"""`Failed`: only DeleteEndpoint works, so it is replaced. `UpdateRollbackFailed` still serves, a mix of configs, so it
is only ever updated again, also to the config that it names. Source: botocore's EndpointStatus and the developer guide
on each."""

_COMPONENT_STATES = {
    "InService": State.READY,
    "Creating": State.BUSY,
    "Updating": State.BUSY,
    "Deleting": State.DELETING,
    "Failed": State.FAILED,
}


UPDATE_ONLY = frozenset({"RetainAllVariantProperties"})
"""What CreateEndpoint does not take. A `DeploymentConfig` it takes, for later updates."""
UPDATE_ONLY_OF_COMPONENTS = frozenset({"DeploymentConfig"})
"""What CreateInferenceComponent does not take."""


def rollout_stage(pending: Document) -> str:
    """How far the rollout of an update is, from PendingDeploymentSummary; empty when nothing is told."""
    parts = []
    for variant in pending.get("ProductionVariants", ()):
        wanted, active = variant.get("DesiredInstanceCount"), variant.get("CurrentInstanceCount")
        share = f", {active} of {wanted} new machines take traffic" if active else ""
        parts += [f"{status['Status']}{share}" for status in variant.get("VariantStatus", ())[:1]]
    return "; ".join(parts)


@dataclass(frozen=True)
class HostingManager:
    """What the four kinds share: describe, list by name and tag, create with tags, delete.

    Attributes:
        verb: The stem of the API's operations: `create_<verb>`, `describe_<verb>`, ...
        noun: The stem of its members: `<noun>Name`, `<noun>Arn`.
    """

    session: Session
    kind: ClassVar[str]
    verb: ClassVar[str]
    noun: ClassVar[str]

    @property
    def sagemaker(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """The SageMaker client."""
        return self.session.client("sagemaker")

    def find(self, name: str) -> Found | None:
        """The object as described, with its tags; `None` when there is none."""
        try:
            described = self._call(f"describe_{self.verb}", name, **{f"{self.noun}Name": name})
            tags = tags_of(self.session, described[f"{self.noun}Arn"])
        except NotFoundError:
            return None
        return self._found(name, described, tags)

    def watch(self, name: str) -> Found | None:
        """The object without its tags: one call instead of two."""
        try:
            return self._found(name, self._call(f"describe_{self.verb}", name, **{f"{self.noun}Name": name}), {})
        except NotFoundError:
            return None

    def owned(self, deployment: str) -> Sequence[Found]:
        """Objects whose name begins with the deployment's and whose ownership tag names it."""
        return [found for found in self.survey(deployment, (), ()) if found.owned_by == deployment]

    def survey(self, deployment: str, names: Sequence[str], found: Sequence[Found]) -> Sequence[Found]:  # noqa: ARG002
        """What is ours, and what stands at the deployment's name or these: one list, then two calls for each object.

        A name that the list would show and does not is free, or so new that the list lags; then creating it clashes,
        which is noticed.
        """
        listed = list(self._candidates(deployment))
        looked_for = dict.fromkeys([*listed, *(name for name in names if not name.startswith(deployment))])
        items = [self.find(name) for name in looked_for]
        return [item for item in items if item and (item.owned_by == deployment or item.name in (*names, deployment))]

    def named(self, deployment: str) -> list[str]:
        """Names of objects, whosever, that may belong to a deployment by their name."""
        return list(self._candidates(deployment))

    def create(self, resource: Resource) -> Found | None:
        """Start making it. Immutable objects are there with the answer."""
        request, tags = self._creation(resource), {"Tags": tag_list(resource.tags)} if resource.tags else {}
        answer = self._call(f"create_{self.verb}", resource.name, **request, **tags)
        return self._found(resource.name, {**request, **answer}, resource.tags) if resource.immutable else None

    def sign(self, found: Found, by: str) -> None:
        """Write down who has just begun to change it."""
        self._call("add_tags", found.name, ResourceArn=found.attributes["Arn"], Tags=tag_list({TAG_BY: by}))

    def update(self, resource: Resource, found: Found) -> Found | None:
        """Immutable kinds never get here; the others say how."""
        raise NotImplementedError(f"{self.kind} has no update")

    def delete(self, found: Found) -> None:
        """Start removing it."""
        try:
            self._call(f"delete_{self.verb}", found.name, **{f"{self.noun}Name": found.name})
        except NotFoundError:
            return

    def _creation(self, resource: Resource) -> dict[str, Any]:
        return dict(resource.properties)

    def _properties(self, described: Document) -> Document:
        return described

    def _state(self, described: Document) -> tuple[State, str]:  # noqa: ARG002 - kinds with a status override it
        return State.READY, ""

    def _found(self, name: str, described: Document, tags: Mapping[str, str]) -> Found:
        state, status = self._state(described)
        return Found(
            kind=self.kind,
            name=name,
            properties=self._properties(described),
            tags=tags,
            state=state,
            status=status,
            reason=described.get("FailureReason"),
            stage=self._stage(described),
            attributes={"Arn": described[f"{self.noun}Arn"]},
            created_at=described.get("CreationTime"),
            owned_by=owner(tags),
        )

    def _candidates(self, deployment: str) -> Iterator[str]:
        # Only these are looked at: a narrow identity may not even describe what others named otherwise.
        yield from (name for name in self._listed(NameContains=deployment) if name.startswith(deployment))

    def _listed(self, **filters: str) -> Iterator[str]:
        operation = f"list_{self.verb}s"
        with aws_errors(f"list {self.verb.replace('_', ' ')}s"):
            for page in self.sagemaker.get_paginator(operation).paginate(**filters):
                yield from (item[f"{self.noun}Name"] for item in page[self._list_member()])

    def _list_member(self) -> str:
        return f"{self.noun}s"

    def _stage(self, described: Document) -> str:  # noqa: ARG002 - kinds whose changes have stages override it
        return ""

    def _set_tags(self, resource: Resource, found: Found, *, marks: bool) -> None:
        """Bring tags up to date: those that remember what is left, or else those that say what the object is.

        With the latter the former are written again, whatever was found: that was seen before the object moved.
        """
        again = {} if marks else {key: value for key, value in resource.tags.items() if key in MARKS}
        changed = again | {
            key: value
            for key, value in resource.tags.items()
            if found.tags.get(key) != value and (key in MARKS) is marks
        }
        if changed:
            self._call("add_tags", resource.name, ResourceArn=found.attributes["Arn"], Tags=tag_list(changed))

    def _call(self, operation: str, name: str, **request: Any) -> Any:  # noqa: ANN401 - requests are documents
        with aws_errors(f"{operation.replace('_', ' ')} '{name}'"):
            answer = getattr(self.sagemaker, operation)(**request)
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}


@dataclass(frozen=True)
class ModelManager(HostingManager):
    """Models: image, environment, weights, role. Immutable."""

    kind: ClassVar[str] = MODEL
    verb: ClassVar[str] = "model"
    noun: ClassVar[str] = "Model"


@dataclass(frozen=True)
class EndpointConfigManager(HostingManager):
    """Endpoint configs: variants and instances. Immutable."""

    kind: ClassVar[str] = ENDPOINT_CONFIG
    verb: ClassVar[str] = "endpoint_config"
    noun: ClassVar[str] = "EndpointConfig"


@dataclass(frozen=True)
class EndpointManager(HostingManager):
    """Endpoints: what bills. Created and updated by the name of a config."""

    kind: ClassVar[str] = ENDPOINT
    verb: ClassVar[str] = "endpoint"
    noun: ClassVar[str] = "Endpoint"

    def update(self, resource: Resource, found: Found) -> None:
        """Remember what is left, then point the endpoint at another config."""
        self._set_tags(resource, found, marks=True)
        moves = any(not difference.path.startswith("Tags.") for difference in compare(resource, found))
        if moves or found.state is State.MIXED:
            self._call("update_endpoint", resource.name, **dict(resource.properties))

    def finish(self, resource: Resource, found: Found) -> None:
        """Say what it serves now, and once more what was left: another run may have marked it meanwhile."""
        self._set_tags(resource, found, marks=False)

    def _candidates(self, deployment: str) -> Iterator[str]:
        yield deployment  # an endpoint has its deployment's name

    def _creation(self, resource: Resource) -> dict[str, Any]:
        return {key: value for key, value in resource.properties.items() if key not in UPDATE_ONLY}

    def _stage(self, described: Document) -> str:
        return rollout_stage(described.get("PendingDeploymentSummary", {}))

    def _state(self, described: Document) -> tuple[State, str]:
        status = described["EndpointStatus"]
        return _ENDPOINT_STATES.get(status, State.BUSY), status


@dataclass(frozen=True)
class InferenceComponentManager(HostingManager):
    """Inference components: copies of a model on an endpoint. AWS does not delete them with their endpoint."""

    kind: ClassVar[str] = INFERENCE_COMPONENT
    verb: ClassVar[str] = "inference_component"
    noun: ClassVar[str] = "InferenceComponent"

    def survey(self, deployment: str, names: Sequence[str], found: Sequence[Found]) -> Sequence[Found]:
        """As for every kind, and a stranger's component on our endpoint stops everything: deleting would orphan it."""
        on_endpoint = dict.fromkeys(self._listed(EndpointNameEquals=deployment))
        named = (name for name in names if not name.startswith(deployment))
        looked_for = dict.fromkeys([*on_endpoint, *self._candidates(deployment), *named])
        items = [item for item in map(self.find, looked_for) if item is not None]
        for item in items:
            if item.name in on_endpoint and item.owned_by != deployment and self._is_ours(deployment, found):
                raise not_ours(item, deployment, way_out=ADOPT.format(name=item.name))
        return [item for item in items if item.owned_by == deployment or item.name in (*names, deployment)]

    def update(self, resource: Resource, found: Found) -> None:
        """Move the component to another model, size or number of copies; AWS does it copy by copy."""
        paths = [difference.path for difference in compare(resource, found)]
        same = found.properties.get("Specification") == resource.properties["Specification"]
        if f"Tags.{TAG_CONTENT}" in paths and not same:
            paths.append("Specification")  # the wanted one lacks something that AWS still has
        changes = {
            member: resource.properties[member]
            for member in ("Specification", "RuntimeConfig")
            if any(path.startswith(member) for path in paths)
        }
        if "Specification" in changes and "DeploymentConfig" in resource.properties:
            changes["DeploymentConfig"] = resource.properties["DeploymentConfig"]
        if changes:
            request = {"InferenceComponentName": resource.name, **changes}
            self._call("update_inference_component", resource.name, **request)

    def finish(self, resource: Resource, found: Found) -> None:
        """Say what it serves now."""
        self._set_tags(resource, found, marks=False)

    def _creation(self, resource: Resource) -> dict[str, Any]:
        return {key: value for key, value in resource.properties.items() if key not in UPDATE_ONLY_OF_COMPONENTS}

    def _properties(self, described: Document) -> Document:
        runtime = described.get("RuntimeConfig", {})
        wanted = runtime.get("DesiredCopyCount", runtime.get("CurrentCopyCount"))
        return {**described, "RuntimeConfig": {**runtime, "CopyCount": wanted}}

    def _state(self, described: Document) -> tuple[State, str]:
        status = described["InferenceComponentStatus"]
        return _COMPONENT_STATES.get(status, State.BUSY), status

    def _is_ours(self, deployment: str, found: Sequence[Found]) -> bool:
        known = [item for item in found if item.key == (ENDPOINT, deployment)]
        endpoint = known[0] if known else EndpointManager(self.session).find(deployment)
        return endpoint is not None and endpoint.owned_by == deployment
