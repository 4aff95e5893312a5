"""Managers for IAM roles: those of a deployment, and the one that AWS links to a service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import CloudError, NotFoundError
from llm_deploy.resource import ROLE, SERVICE_LINKED_ROLE, Resource, owner, tag_list, tag_map

Document = Mapping[str, Any]

LIST_PAGE = 1000
"""Most that IAM lists at once, so that a large account takes few calls."""


@dataclass(frozen=True)
class IdentityManager:
    """What the IAM kinds share."""

    session: Session
    kind: ClassVar[str]

    @property
    def iam(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """The IAM client."""
        return self.session.client("iam")

    def _call(self, operation: str, name: str, **request: Any) -> Any:  # noqa: ANN401 - requests are documents
        with aws_errors(f"{operation.replace('_', ' ')} '{name}'"):
            return getattr(self.iam, operation)(**request)

    def _all(self, operation: str, member: str, **request: str) -> list[Any]:
        with aws_errors(operation.replace("_", " ")):
            pages = self.iam.get_paginator(operation).paginate(**request, PaginationConfig={"PageSize": LIST_PAGE})
            return [item for page in pages for item in page[member]]

    def _names(self, operation: str, member: str, noun: str, deployment: str, **request: str) -> Iterator[str]:
        """Names that begin as those of a deployment do; whose they are, their tags say."""
        names = (item[noun] for item in self._all(operation, member, **request))
        return (name for name in names if name.startswith(f"{deployment}-"))

    def _found(self, name: str, properties: Document, tags: Mapping[str, str], arn: str) -> Found:
        return Found(self.kind, name, properties, tags, attributes={"Arn": arn}, owned_by=owner(tags))


@dataclass(frozen=True)
class RoleManager(IdentityManager):
    """Roles with inline policies and attached ones."""

    kind: ClassVar[str] = ROLE

    def find(self, name: str) -> Found | None:
        """The role with its trust and its policies."""
        try:
            role = self._call("get_role", name, RoleName=name)["Role"]
            properties = {
                "RoleName": name,
                "Description": role.get("Description", ""),
                "AssumeRolePolicyDocument": role["AssumeRolePolicyDocument"],
                "MaxSessionDuration": role["MaxSessionDuration"],
                "Policies": [self._inline(name, policy) for policy in self._inline_names(name)],
                "ManagedPolicyArns": self._attached(name),
                **boundary_of(role),
            }
            tags = tag_map(self._all("list_role_tags", "Tags", RoleName=name))
        except NotFoundError:
            return None
        return self._found(name, properties, tags, role["Arn"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """The roles that carry the deployment's tag."""
        names = self._names("list_roles", "Roles", "RoleName", deployment)
        found = (self.find(name) for name in names)
        return tuple(item for item in found if item and item.owned_by == deployment)

    def create(self, resource: Resource) -> None:
        """Make the role, then put and attach its policies."""
        document = resource.properties
        optional = {key: document[key] for key in ("MaxSessionDuration", "PermissionsBoundary") if key in document}
        self._call(
            "create_role",
            resource.name,
            RoleName=resource.name,
            Description=document["Description"],
            AssumeRolePolicyDocument=as_json(document["AssumeRolePolicyDocument"]),
            Tags=tag_list(resource.tags),
            **optional,
        )
        self._set_policies(resource)

    def update(self, resource: Resource, found: Found) -> None:
        """Put trust, bounds, policies and tags again."""
        name, document = resource.name, resource.properties
        trust = as_json(document["AssumeRolePolicyDocument"])
        self._call("update_assume_role_policy", name, RoleName=name, PolicyDocument=trust)
        length = {key: document[key] for key in ("MaxSessionDuration",) if key in document}
        self._call("update_role", name, RoleName=name, Description=document["Description"], **length)
        self._set_boundary(resource, found)
        self._set_policies(resource)
        self._call("tag_role", name, RoleName=name, Tags=tag_list(resource.tags))

    def delete(self, found: Found) -> None:
        """Remove its policies, then the role."""
        name = found.name
        try:
            for policy in self._inline_names(name):
                self._call("delete_role_policy", name, RoleName=name, PolicyName=policy)
            for arn in self._attached(name):
                self._call("detach_role_policy", name, RoleName=name, PolicyArn=arn)
            self._call("delete_role", name, RoleName=name)
        except NotFoundError:
            return

    def _inline_names(self, name: str) -> list[str]:
        return self._all("list_role_policies", "PolicyNames", RoleName=name)

    def _inline(self, name: str, policy: str) -> dict[str, Any]:
        answer = self._call("get_role_policy", name, RoleName=name, PolicyName=policy)
        return {key: answer[key] for key in ("PolicyName", "PolicyDocument")}

    def _attached(self, name: str) -> list[str]:
        """ARNs, sorted: AWS has no order of its own."""
        attached = self._all("list_attached_role_policies", "AttachedPolicies", RoleName=name)
        return sorted(policy["PolicyArn"] for policy in attached)

    def _set_policies(self, resource: Resource) -> None:
        name = resource.name
        inline = {policy["PolicyName"]: policy["PolicyDocument"] for policy in resource.properties.get("Policies", ())}
        for policy in self._inline_names(name):
            if policy not in inline:
                self._call("delete_role_policy", name, RoleName=name, PolicyName=policy)
        for policy, document in inline.items():
            self._call("put_role_policy", name, RoleName=name, PolicyName=policy, PolicyDocument=as_json(document))
        wanted, attached = set(resource.properties.get("ManagedPolicyArns", ())), set(self._attached(name))
        for arn in sorted(attached - wanted):
            self._call("detach_role_policy", name, RoleName=name, PolicyArn=arn)
        for arn in sorted(wanted - attached):
            self._call("attach_role_policy", name, RoleName=name, PolicyArn=arn)

    def _set_boundary(self, resource: Resource, found: Found) -> None:
        name, boundary = resource.name, resource.properties.get("PermissionsBoundary")
        if boundary:
            self._call("put_role_permissions_boundary", name, RoleName=name, PermissionsBoundary=boundary)
        elif "PermissionsBoundary" in found.properties:
            self._call("delete_role_permissions_boundary", name, RoleName=name)


@dataclass(frozen=True)
class ServiceLinkedRoleManager(IdentityManager):
    """Roles that AWS links to one of its services: made where they are absent, never changed, never removed."""

    kind: ClassVar[str] = SERVICE_LINKED_ROLE

    def find(self, name: str) -> Found | None:
        """The role. It belongs to the account, so nobody's deployment owns it."""
        try:
            role = self._call("get_role", name, RoleName=name)["Role"]
        except NotFoundError:
            return None
        service = role["Path"].strip("/").rpartition("/")[2]
        return Found(self.kind, name, {"AWSServiceName": service}, attributes={"Arn": role["Arn"]})

    def owned(self, deployment: str) -> Sequence[Found]:  # noqa: ARG002 - the protocol's signature
        """None: other deployments, and other tools, scale under the same role."""
        return ()

    def create(self, resource: Resource) -> None:
        """Make it; that somebody else was quicker is no error."""
        try:
            self._call("create_service_linked_role", resource.name, **resource.properties)
        except CloudError:  # `InvalidInput`: the name is taken
            if self.find(resource.name) is None:
                raise

    def update(self, resource: Resource, found: Found) -> None:
        """AWS keeps these up to date itself."""

    def delete(self, found: Found) -> None:
        """It stays."""


def boundary_of(identity: Document) -> dict[str, str]:
    """The permissions boundary of a described role or user, as CloudFormation has it."""
    boundary = identity.get("PermissionsBoundary")
    return {"PermissionsBoundary": boundary["PermissionsBoundaryArn"]} if boundary else {}


def as_json(document: Document) -> str:
    """A policy document as IAM takes it."""
    return json.dumps(document, separators=(",", ":"))
