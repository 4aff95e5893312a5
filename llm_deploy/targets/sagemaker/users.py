"""Managers for the user, where one is wished, and its one access key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from llm_deploy.aws import aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import ConflictError, FileWriteError, NotFoundError
from llm_deploy.resource import ACCESS_KEY, USER, Resource, tag_list, tag_map
from llm_deploy.targets.sagemaker.iam import deployer_name
from llm_deploy.targets.sagemaker.identities import IdentityManager, boundary_of

SecretSink = Callable[[str, str], None]
"""Takes an access key's id and secret, once, when the key is made. AWS never shows the secret again."""
Announcement = Callable[[], None]
"""Writes down that a key is about to be made: if its answer is lost, the next run knows that nobody has its secret."""


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
        tags = tag_map(self._all("list_user_tags", "Tags", UserName=name))
        properties = {"UserName": name, "ManagedPolicyArns": self._attached(name), **boundary_of(user)}
        return self._found(name, properties, tags, user["Arn"])

    def owned(self, deployment: str) -> Sequence[Found]:
        """The user, when it carries the tag."""
        found = self.find(deployer_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the user and attach its policies."""
        bounds = {key: resource.properties[key] for key in ("PermissionsBoundary",) if key in resource.properties}
        self._call("create_user", resource.name, UserName=resource.name, Tags=tag_list(resource.tags), **bounds)
        self._attach(resource)

    def update(self, resource: Resource, found: Found) -> None:
        """Attach what is missing, detach what is too much, and bound it as wished."""
        self._attach(resource)
        name, boundary = resource.name, resource.properties.get("PermissionsBoundary")
        if boundary:
            self._call("put_user_permissions_boundary", name, UserName=name, PermissionsBoundary=boundary)
        elif "PermissionsBoundary" in found.properties:
            self._call("delete_user_permissions_boundary", name, UserName=name)
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
        """ARNs, sorted: AWS has no order of its own."""
        attached = self._all("list_attached_user_policies", "AttachedPolicies", UserName=name)
        return sorted(policy["PolicyArn"] for policy in attached)

    def _attach(self, resource: Resource) -> None:
        wanted, name = list(resource.properties["ManagedPolicyArns"]), resource.name
        for arn in self._attached(name):
            if arn not in wanted:
                self._call("detach_user_policy", name, UserName=name, PolicyArn=arn)
        for arn in wanted:  # attaching twice is no error
            self._call("attach_user_policy", name, UserName=name, PolicyArn=arn)


def _no_sink(key_id: str, secret: str) -> None:  # noqa: ARG001 - the refusal needs neither
    raise ConflictError("an access key would be made and its secret lost", hint="Run `llmdeploy create-roles`.")


def _unannounced() -> None:
    """Nobody keeps keys here."""


@dataclass(frozen=True)
class AccessKeyManager(IdentityManager):
    """The user's one access key, named like its user."""

    sink: SecretSink = field(default=_no_sink, repr=False)
    announce: Announcement = field(default=_unannounced, repr=False)
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
        """The user's key."""
        found = self.find(deployer_name(deployment))
        return (found,) if found and found.owned_by == deployment else ()

    def create(self, resource: Resource) -> None:
        """Make the key and hand its secret over; it is kept nowhere else.

        The call is sent once: sent again after a lost answer, it would make a second key.
        """
        self._announce()
        with aws_errors(f"create access key '{resource.name}'"):
            key = self.session.once().client("iam").create_access_key(UserName=resource.name)["AccessKey"]
        try:
            self.sink(key["AccessKeyId"], key["SecretAccessKey"])
        except FileWriteError as error:
            self._delete(resource.name, [key["AccessKeyId"]])
            raise FileWriteError(
                f"the new access key could not be kept, so it was removed again: {error.message}", hint=error.hint
            ) from error

    def _announce(self) -> None:
        try:
            self.announce()
        except FileWriteError as error:
            raise FileWriteError(
                f"no access key was made, since it could not be kept: {error.message}", hint=error.hint
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
