"""Managers for IAM: roles, managed policies, users and their access keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import ConflictError, FileWriteError, NotFoundError
from llm_deploy.resource import ACCESS_KEY, MANAGED_POLICY, ROLE, USER, Resource, owner, tag_list, tag_map
from llm_deploy.targets.sagemaker.iam import deployer_name, execution_role_name

Document = Mapping[str, Any]
SecretSink = Callable[[str, str], None]
"""Takes an access key's id and secret, once, when the key is made. AWS never shows the secret again."""

MAXIMUM_POLICY_VERSIONS = 5


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
            return [item for page in self.iam.get_paginator(operation).paginate(**request) for item in page[member]]

    def _found(self, name: str, properties: Document, tags: Mapping[str, str], arn: str) -> Found:
        return Found(self.kind, name, properties, tags, attributes={"Arn": arn}, owned_by=owner(tags))


@dataclass(frozen=True)
class RoleManager(IdentityManager):
    """Roles with inline policies."""

    kind: ClassVar[str] = ROLE

    def find(self, name: str) -> Found | None:
        """The role with its trust and its inline policies."""
        try:
            role = self._call("get_role", name, RoleName=name)["Role"]
        except NotFoundError:
            return None
        names = self._all("list_role_policies", "PolicyNames", RoleName=name)
        answers = [self._call("get_role_policy", name, RoleName=name, PolicyName=policy) for policy in names]
        properties = {
            "RoleName": name,
            "Description": role.get("Description", ""),
            "AssumeRolePolicyDocument": role["AssumeRolePolicyDocument"],
            "Policies": [{key: answer[key] for key in ("PolicyName", "PolicyDocument")} for answer in answers],
        }
        tags = tag_map(self._call("list_role_tags", name, RoleName=name)["Tags"])
        return self._found(name, properties, tags, role["Arn"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """The execution role of that name, when it carries the tag."""
        found = self.find(execution_role_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the role and put its policies."""
        properties = resource.properties
        self._call(
            "create_role",
            resource.name,
            RoleName=resource.name,
            Description=properties["Description"],
            AssumeRolePolicyDocument=_json(properties["AssumeRolePolicyDocument"]),
            Tags=tag_list(resource.tags),
        )
        self._put_policies(resource)

    def update(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - everything is put again
        """Put trust, policies and tags again."""
        name, trust = resource.name, _json(resource.properties["AssumeRolePolicyDocument"])
        self._call("update_assume_role_policy", name, RoleName=name, PolicyDocument=trust)
        self._call("update_role", name, RoleName=name, Description=resource.properties["Description"])
        self._put_policies(resource)
        self._call("tag_role", name, RoleName=name, Tags=tag_list(resource.tags))

    def delete(self, found: Found) -> None:
        """Remove its policies, then the role."""
        name = found.name
        try:
            for policy in self._all("list_role_policies", "PolicyNames", RoleName=name):
                self._call("delete_role_policy", name, RoleName=name, PolicyName=policy)
            for attached in self._all("list_attached_role_policies", "AttachedPolicies", RoleName=name):
                self._call("detach_role_policy", name, RoleName=name, PolicyArn=attached["PolicyArn"])
            self._call("delete_role", name, RoleName=name)
        except NotFoundError:
            return

    def _put_policies(self, resource: Resource) -> None:
        wanted = {policy["PolicyName"]: policy["PolicyDocument"] for policy in resource.properties["Policies"]}
        name = resource.name
        for policy in self._all("list_role_policies", "PolicyNames", RoleName=name):
            if policy not in wanted:
                self._call("delete_role_policy", name, RoleName=name, PolicyName=policy)
        for policy, document in wanted.items():
            self._call("put_role_policy", name, RoleName=name, PolicyName=policy, PolicyDocument=_json(document))


@dataclass(frozen=True)
class ManagedPolicyManager(IdentityManager):
    """Customer-managed policies, one version in force."""

    place_arn: str
    kind: ClassVar[str] = MANAGED_POLICY

    def find(self, name: str) -> Found | None:
        """The policy with the document of its default version."""
        arn = self._arn(name)
        try:
            policy = self._call("get_policy", name, PolicyArn=arn)["Policy"]
        except NotFoundError:
            return None
        version = self._call("get_policy_version", name, PolicyArn=arn, VersionId=policy["DefaultVersionId"])
        properties = {
            "ManagedPolicyName": name,
            "Description": policy.get("Description", ""),
            "PolicyDocument": version["PolicyVersion"]["Document"],
        }
        tags = tag_map(self._call("list_policy_tags", name, PolicyArn=arn)["Tags"])
        return self._found(name, properties, tags, arn)

    def owned(self, deployment: str) -> Sequence[Found]:
        """The deployer's policy, when it carries the tag."""
        found = self.find(deployer_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the policy."""
        self._call(
            "create_policy",
            resource.name,
            PolicyName=resource.name,
            Description=resource.properties["Description"],
            PolicyDocument=_json(resource.properties["PolicyDocument"]),
            Tags=tag_list(resource.tags),
        )

    def update(self, resource: Resource, found: Found) -> None:
        """Put a new version in force; the oldest makes room, since AWS keeps five at most."""
        arn, name = self._arn(resource.name), resource.name
        spare = [item for item in self._versions(arn) if not item["IsDefaultVersion"]]
        if len(spare) >= MAXIMUM_POLICY_VERSIONS - 1:
            oldest = min(spare, key=lambda item: item["CreateDate"])
            self._call("delete_policy_version", name, PolicyArn=arn, VersionId=oldest["VersionId"])
        document = _json(resource.properties["PolicyDocument"])
        self._call("create_policy_version", name, PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
        if dict(found.tags) != dict(resource.tags):
            self._call("tag_policy", name, PolicyArn=arn, Tags=tag_list(resource.tags))

    def delete(self, found: Found) -> None:
        """Remove the versions that are not in force, then the policy."""
        arn = self._arn(found.name)
        try:
            for version in self._versions(arn):
                if not version["IsDefaultVersion"]:
                    self._call("delete_policy_version", found.name, PolicyArn=arn, VersionId=version["VersionId"])
            self._call("delete_policy", found.name, PolicyArn=arn)
        except NotFoundError:
            return

    def _versions(self, arn: str) -> list[Any]:
        return self._all("list_policy_versions", "Versions", PolicyArn=arn)

    def _arn(self, name: str) -> str:
        return f"{self.place_arn}:policy/{name}"


@dataclass(frozen=True)
class UserManager(IdentityManager):
    """Users with attached managed policies."""

    kind: ClassVar[str] = USER

    def find(self, name: str) -> Found | None:
        """The user and what is attached to it."""
        try:
            user = self._call("get_user", name, UserName=name)["User"]
        except NotFoundError:
            return None
        tags = tag_map(self._call("list_user_tags", name, UserName=name)["Tags"])
        properties = {"UserName": name, "ManagedPolicyArns": self._attached(name)}
        return self._found(name, properties, tags, user["Arn"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """The deployer, when it carries the tag."""
        found = self.find(deployer_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the user and attach its policies."""
        self._call("create_user", resource.name, UserName=resource.name, Tags=tag_list(resource.tags))
        self._attach(resource)

    def update(self, resource: Resource, found: Found) -> None:  # noqa: ARG002 - attaching twice is no error
        """Attach what is missing and detach what is too much."""
        self._attach(resource)
        self._call("tag_user", resource.name, UserName=resource.name, Tags=tag_list(resource.tags))

    def delete(self, found: Found) -> None:
        """Detach everything and remove the user. Its keys are objects of their own and are gone by then."""
        name = found.name
        try:
            for arn in self._attached(name):
                self._call("detach_user_policy", name, UserName=name, PolicyArn=arn)
            self._call("delete_user", name, UserName=name)
        except NotFoundError:
            return

    def _attached(self, name: str) -> list[str]:
        attached = self._all("list_attached_user_policies", "AttachedPolicies", UserName=name)
        return [policy["PolicyArn"] for policy in attached]

    def _attach(self, resource: Resource) -> None:
        wanted, name = list(resource.properties["ManagedPolicyArns"]), resource.name
        for arn in self._attached(name):
            if arn not in wanted:
                self._call("detach_user_policy", name, UserName=name, PolicyArn=arn)
        for arn in wanted:
            self._call("attach_user_policy", name, UserName=name, PolicyArn=arn)


def _no_sink(key_id: str, secret: str) -> None:  # noqa: ARG001 - the refusal needs neither
    raise ConflictError("an access key would be made and its secret lost", hint="Run `llmdeploy create-roles`.")


@dataclass(frozen=True)
class AccessKeyManager(IdentityManager):
    """The deployer's one access key, named like its user."""

    sink: SecretSink = field(default=_no_sink, repr=False)
    kind: ClassVar[str] = ACCESS_KEY

    def find(self, name: str) -> Found | None:
        """The user's key; its owner is the user's."""
        user = UserManager(self.session).find(name)
        keys = self._all("list_access_keys", "AccessKeyMetadata", UserName=name) if user else []
        if user is None or not keys:
            return None
        key_ids = [key["AccessKeyId"] for key in keys]
        return Found(ACCESS_KEY, name, {"UserName": name}, attributes={"AccessKeyIds": key_ids}, owned_by=user.owned_by)

    def owned(self, deployment: str) -> Sequence[Found]:
        """The deployer's key."""
        found = self.find(deployer_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the key and hand its secret over; it is kept nowhere else."""
        key = self._call("create_access_key", resource.name, UserName=resource.name)["AccessKey"]
        try:
            self.sink(key["AccessKeyId"], key["SecretAccessKey"])
        except FileWriteError as error:
            self._delete(resource.name, [key["AccessKeyId"]])
            raise FileWriteError(
                f"the new access key could not be kept, so it was removed again: {error.message}", hint=error.hint
            ) from error

    def update(self, resource: Resource, found: Found) -> None:
        """A key has nothing that changes."""

    def delete(self, found: Found) -> None:
        """Remove every key of the user; the absent is no error."""
        self._delete(found.name, found.attributes["AccessKeyIds"])

    def _delete(self, name: str, key_ids: Sequence[str]) -> None:
        for key_id in key_ids:
            with suppress(NotFoundError):
                self._call("delete_access_key", name, UserName=name, AccessKeyId=key_id)


def _json(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))
