"""Manager for managed policies of the account: one version in force, AWS keeps five at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import NotFoundError
from llm_deploy.resource import MANAGED_POLICY, Resource, tag_list, tag_map
from llm_deploy.targets.sagemaker.identities import IdentityManager, as_json

MAXIMUM_POLICY_VERSIONS = 5
_ATTACHED = {"PolicyRoles": "RoleName", "PolicyUsers": "UserName", "PolicyGroups": "GroupName"}


@dataclass(frozen=True)
class ManagedPolicyManager(IdentityManager):
    """Customer-managed policies, one version in force.

    Attributes:
        place_arn: `arn:aws:iam::123456789012`: a managed policy is asked for by its ARN.
    """

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
        tags = tag_map(self._all("list_policy_tags", "Tags", PolicyArn=arn))
        return self._found(name, properties, tags, arn)

    def owned(self, deployment: str) -> Sequence[Found]:
        """The policies that carry the deployment's tag."""
        names = self._names("list_policies", "Policies", "PolicyName", deployment, Scope="Local")
        found = (self.find(name) for name in names)
        return tuple(item for item in found if item and item.owned_by == deployment)

    def users_of(self, name: str) -> list[str]:
        """Who has the policy: `role/x`, `user/y`, `group/z`; what a deletion takes it from."""
        arn = self._arn(name)
        return [
            f"{noun.removesuffix('Name').lower()}/{entity[noun]}"
            for member, noun in _ATTACHED.items()
            for entity in self._all("list_entities_for_policy", member, PolicyArn=arn)
        ]

    def create(self, resource: Resource) -> None:
        """Make the policy."""
        self._call(
            "create_policy",
            resource.name,
            PolicyName=resource.name,
            Description=resource.properties["Description"],
            PolicyDocument=as_json(resource.properties["PolicyDocument"]),
            Tags=tag_list(resource.tags),
        )

    def update(self, resource: Resource, found: Found) -> None:
        """Put a new version in force; the oldest makes room, since AWS keeps five at most."""
        arn, name = self._arn(resource.name), resource.name
        spare = [item for item in self._versions(arn) if not item["IsDefaultVersion"]]
        if len(spare) >= MAXIMUM_POLICY_VERSIONS - 1:
            oldest = min(spare, key=lambda item: item["CreateDate"])
            self._call("delete_policy_version", name, PolicyArn=arn, VersionId=oldest["VersionId"])
        document = as_json(resource.properties["PolicyDocument"])
        self._call("create_policy_version", name, PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
        if dict(found.tags) != dict(resource.tags):
            self._call("tag_policy", name, PolicyArn=arn, Tags=tag_list(resource.tags))

    def delete(self, found: Found) -> None:
        """Take it from everyone who has it, remove the versions that are not in force, then the policy."""
        arn = self._arn(found.name)
        try:
            for holder in self.users_of(found.name):
                kind, _, name = holder.partition("/")
                whose = {f"{kind.capitalize()}Name": name}
                self._call(f"detach_{kind}_policy", found.name, PolicyArn=arn, **whose)
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
