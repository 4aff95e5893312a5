"""Whose keys make the identities, and what becomes of the files that hold the new ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.iam import RolesWish
from llm_deploy.targets.sagemaker.identity_files import IdentityFiles
from llm_deploy.targets.sagemaker.users import AccessKeyManager

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
DEPLOY_ROLE = "arn:aws:iam::123456789012:role/llmdeploy-twin-deployer"
SETTINGS = Settings(
    _env_file=None,
    AWS_ACCESS_KEY=SecretStr("AKIAX"),
    AWS_SECRET_KEY=SecretStr("s"),
    AWS_PROFILE="of-env",
    LLMDEPLOY_ROLE_ARN=DEPLOY_ROLE,
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


def test_the_deploy_identity_does_not_make_or_remove_roles() -> None:
    """`--write-env` puts it into .env, and it has no right to; a profile of .env still counts."""
    found = administrator(SETTINGS, profile=None, use_env_keys=False)
    assert (found.AWS_ACCESS_KEY, found.AWS_SECRET_KEY, found.AWS_PROFILE) == (None, None, "of-env")
    assert found.LLMDEPLOY_ROLE_ARN is None


def test_a_profile_or_the_keys_can_be_asked_for() -> None:
    """One of them, not both."""
    assert administrator(SETTINGS, profile="admin", use_env_keys=False).AWS_PROFILE == "admin"
    kept = administrator(SETTINGS, profile=None, use_env_keys=True)
    assert (kept.AWS_ACCESS_KEY, kept.LLMDEPLOY_ROLE_ARN) == (SETTINGS.AWS_ACCESS_KEY, None)
    with pytest.raises(SpecError, match="give one"):
        administrator(SETTINGS, profile="admin", use_env_keys=True)


def test_a_role_of_another_account_is_not_for_a_target_with_its_own() -> None:
    """A .env for a real account does not lead the local cloud to a role that it cannot have."""
    assert SETTINGS.role_in("123456789012") == DEPLOY_ROLE
    assert SETTINGS.role_in("000000000000") is None


def test_a_linked_env_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is written, and is its owner's alone afterwards."""
    shared = tmp_path / "shared.env"
    shared.write_text("# mine\n")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".env").symlink_to(shared)
    files = roles_in(folder).files
    files.write(env_region="eu-central-1")
    assert (folder / ".env").is_symlink()
    assert f"AWS_ARN_ROLE={files.wish.execution_role_arn}" in shared.read_text()
    assert shared.stat().st_mode & 0o777 == 0o600
    files.remove()
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


def test_env_names_one_way_to_deploy(tmp_path: Path) -> None:
    """The deploy role; or the user's key, which may not assume it, once it is asked for or is there already."""
    wish = RolesWish(PLACE, "twin")
    env = tmp_path / ".env"

    def written(wish: RolesWish) -> set[str]:
        IdentityFiles(tmp_path, wish).write(env_region="eu-central-1")
        return {line.partition("=")[0] for line in env.read_text().splitlines()}

    assert written(wish) == {"AWS_ARN_ROLE", "AWS_REGION", "LLMDEPLOY_ROLE_ARN"}
    IdentityFiles(tmp_path, wish).keep_key("AKIA1", "s1")
    with_key = {"AWS_ARN_ROLE", "AWS_REGION", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"}
    assert written(replace(wish, user=True)) == with_key
    assert written(wish) == with_key, "a user of an earlier run goes on being used"
    IdentityFiles(tmp_path, wish).remove()
    assert env.read_text() == "AWS_REGION=eu-central-1\n"


def test_every_policy_of_the_plan_is_shown(tmp_path: Path) -> None:
    """Both trusts, what each role may do, and what every statement is for."""
    shown = list(roles_in(tmp_path).policies())
    titles = [each.title.partition(", ")[0] for each in shown]
    assert titles == [
        "who may assume llmdeploy-twin-execution",
        "what llmdeploy-twin-execution may do",
        "who may assume llmdeploy-twin-deployer",
        *["what llmdeploy-twin-deployer may do"] * len(iam.DEPLOY_POLICIES),
    ]
    for each in shown:
        if each.title.startswith("what"):
            assert {statement["Sid"] for statement in each.document["Statement"]} <= each.needs.keys()
