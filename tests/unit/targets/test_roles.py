"""Whose keys make the identities, and what becomes of the files that hold the new ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError, SpecError
from llm_deploy.resource import ACCESS_KEY
from llm_deploy.settings import Settings
from llm_deploy.spec import Place
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.roles import Roles, administrator
from llm_deploy.targets.sagemaker.iam import RolesWish
from llm_deploy.targets.sagemaker.identities import AccessKeyManager

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
SETTINGS = Settings(
    _env_file=None, AWS_ACCESS_KEY=SecretStr("AKIAX"), AWS_SECRET_KEY=SecretStr("s"), AWS_PROFILE="of-env"
)


@dataclass
class FakeIam:
    """An IAM that deletes access keys: some are gone already, one it refuses.

    Attributes:
        keys: The keys that exist.
        protected: What may not be deleted.
    """

    keys: set[str]
    protected: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def delete_access_key(self, *, UserName: str, AccessKeyId: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Delete one, as IAM does."""
        self.asked.append(AccessKeyId)
        if AccessKeyId in self.protected:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": UserName}}, "DeleteAccessKey")
        if AccessKeyId not in self.keys:
            raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": UserName}}, "DeleteAccessKey")
        self.keys.remove(AccessKeyId)
        return {}


def roles_in(folder: Path) -> Roles:
    """The twin's roles, with files in this folder."""
    return Roles(Connection("sagemaker", Session("eu-central-1"), SETTINGS), RolesWish(PLACE, "twin"), folder)


def test_the_deployers_own_keys_do_not_make_or_remove_roles() -> None:
    """`--write-env` puts them into .env, and they have no right to; a profile of .env still counts."""
    found = administrator(SETTINGS, profile=None, use_env_keys=False)
    assert (found.AWS_ACCESS_KEY, found.AWS_SECRET_KEY, found.AWS_PROFILE) == (None, None, "of-env")


def test_a_profile_or_the_keys_can_be_asked_for() -> None:
    """One of them, not both."""
    assert administrator(SETTINGS, profile="admin", use_env_keys=False).AWS_PROFILE == "admin"
    assert administrator(SETTINGS, profile=None, use_env_keys=True) == SETTINGS
    with pytest.raises(SpecError, match="give one"):
        administrator(SETTINGS, profile="admin", use_env_keys=True)


def test_a_linked_env_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is written, and is its owner's alone afterwards."""
    shared = tmp_path / "shared.env"
    shared.write_text("# mine\n")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".env").symlink_to(shared)
    roles = roles_in(folder)
    roles.write_files(write_env=True)
    assert (folder / ".env").is_symlink()
    assert f"AWS_ARN_ROLE={roles.role_arn}" in shared.read_text()
    assert shared.stat().st_mode & 0o777 == 0o600
    roles.remove_files()
    assert (folder / ".env").is_symlink()
    assert shared.read_text() == "# mine\nAWS_REGION=eu-central-1\n"


def test_a_key_that_is_gone_already_does_not_end_a_deletion() -> None:
    """The others are deleted all the same; a refusal is still an error."""
    iam = FakeIam({"AKIA2"})
    manager = AccessKeyManager(Session("eu-central-1", _clients={"iam": iam}))
    manager.delete(Found(ACCESS_KEY, "d", attributes={"AccessKeyIds": ["AKIA1", "AKIA2"]}))
    assert (iam.asked, iam.keys) == (["AKIA1", "AKIA2"], set())
    iam.protected = frozenset({"AKIA3"})
    with pytest.raises(AccessDeniedError):
        manager.delete(Found(ACCESS_KEY, "d", attributes={"AccessKeyIds": ["AKIA3"]}))


def test_every_policy_of_the_plan_is_shown(tmp_path: Path) -> None:
    """The trust, what the role may do, what the deployer may do."""
    assert [title for title, _ in roles_in(tmp_path).policies()] == [
        "who may assume llmdeploy-twin-execution",
        "what llmdeploy-twin-execution may do",
        "what llmdeploy-twin-deployer may do",
    ]
