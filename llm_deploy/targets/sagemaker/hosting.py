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
from llm_deploy.errors import ConflictError, NotFoundError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
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
    "UpdateRollbackFailed": State.READY,
    "OutOfService": State.FAILED,
}
"""`Failed`: only DeleteEndpoint works, so it is replaced. `UpdateRollbackFailed` still serves, a mix of configs, so it
is only ever updated again. Source: botocore's EndpointStatus and the developer guide on each."""

_COMPONENT_STATES = {
    "InService": State.READY,
    "Creating": State.BUSY,
    "Updating": State.BUSY,
    "Deleting": State.DELETING,
    "Failed": State.FAILED,
}


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

    def owned(self, deployment: str) -> Sequence[Found]:
        """Objects whose name begins with the deployment's and whose ownership tag names it."""
        found = (self.find(name) for name in self._candidates(deployment))
        return tuple(item for item in found if item is not None and item.owned_by == deployment)

    def named(self, deployment: str) -> list[str]:
        """Names of objects, whosever, that may belong to a deployment by their name."""
        return list(self._candidates(deployment))

    def create(self, resource: Resource) -> None:
        """Start making it; a name that is taken by ourselves is fine, by anybody else a ConflictError."""
        request = self._creation(resource) | ({"Tags": tag_list(resource.tags)} if resource.tags else {})
        try:
            self._call(f"create_{self.verb}", resource.name, **request)
        except ConflictError:
            standing = self.find(resource.name)
            if standing is None or standing.owned_by != owner(resource.tags):
                raise
        # A clash with our own object is a second run of ours that was a little quicker: the wait goes on with it.

    def update(self, resource: Resource, found: Found) -> None:
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

    def _set_tags(self, resource: Resource, found: Found) -> None:
        changed = {key: value for key, value in resource.tags.items() if found.tags.get(key) != value}
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
        """Point the endpoint at another config (blue/green by AWS), and bring its tags up to date."""
        if any(not difference.path.startswith("Tags.") for difference in compare(resource, found)):
            self._call("update_endpoint", resource.name, **dict(resource.properties))
        self._set_tags(resource, found)

    def _creation(self, resource: Resource) -> dict[str, Any]:
        return {key: value for key, value in resource.properties.items() if key not in resource.write_only}

    def _state(self, described: Document) -> tuple[State, str]:
        status = described["EndpointStatus"]
        return _ENDPOINT_STATES.get(status, State.BUSY), status


@dataclass(frozen=True)
class InferenceComponentManager(HostingManager):
    """Inference components: copies of a model on an endpoint. AWS does not delete them with their endpoint."""

    kind: ClassVar[str] = INFERENCE_COMPONENT
    verb: ClassVar[str] = "inference_component"
    noun: ClassVar[str] = "InferenceComponent"

    def owned(self, deployment: str) -> Sequence[Found]:
        """As for every kind, and a stranger's component on our endpoint stops everything: deleting would orphan it."""
        mine = super().owned(deployment)
        names = {found.name for found in mine}
        strangers = [name for name in self._listed(EndpointNameEquals=deployment) if name not in names]
        for name in strangers:
            found = self.find(name)
            if found is not None and found.owned_by != deployment and self._endpoint_is_ours(deployment):
                raise not_ours(found, deployment, way_out=ADOPT.format(name=name))
        return mine

    def update(self, resource: Resource, found: Found) -> None:
        """Move the component to another model, size or number of copies; AWS does it copy by copy."""
        paths = [
            difference.path.replace(f"Tags.{TAG_CONTENT}", "Specification") for difference in compare(resource, found)
        ]
        changes = {
            member: resource.properties[member]
            for member in ("Specification", "RuntimeConfig")
            if any(path.startswith(member) for path in paths)
        }
        if changes:
            request = {"InferenceComponentName": resource.name, **changes}
            self._call("update_inference_component", resource.name, **request)
        self._set_tags(resource, found)

    def _properties(self, described: Document) -> Document:
        runtime = described.get("RuntimeConfig", {})
        wanted = runtime.get("DesiredCopyCount", runtime.get("CurrentCopyCount"))
        return {**described, "RuntimeConfig": {**runtime, "CopyCount": wanted}}

    def _state(self, described: Document) -> tuple[State, str]:
        status = described["InferenceComponentStatus"]
        return _COMPONENT_STATES.get(status, State.BUSY), status

    def _candidates(self, deployment: str) -> Iterator[str]:
        on_endpoint = self._listed(EndpointNameEquals=deployment)
        yield from dict.fromkeys([*super()._candidates(deployment), *on_endpoint])

    def _endpoint_is_ours(self, deployment: str) -> bool:
        endpoint = EndpointManager(self.session).find(deployment)
        return endpoint is not None and endpoint.owned_by == deployment
