"""Making and removing the identities, and the files that the seed keeps them in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_deploy.deploy.apply import Step
from llm_deploy.deploy.inventory import Managers
from llm_deploy.deploy.plan import Action, Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import ConflictError, SpecError
from llm_deploy.resource import ACCESS_KEY, Resource
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.managers import identity_managers

USER_FILE = "sagemaker_user_credentials.json"
ROLE_FILE = "sagemaker_execution_role.json"
ENV_FILE = ".env"


def kept_role_arn(folder: Path = Path()) -> str | None:
    """The execution role that `create-roles` noted down in this folder."""
    arn = _document(folder / ROLE_FILE).get("RoleArn")
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None


def wish_for(connection: Connection, *, prefix: str | None, model_bucket: str | None, user: bool) -> iam.RolesWish:
    """What roles are wanted. Raises SpecError for a prefix or an S3 prefix that is none."""
    chosen = prefix or connection.settings.SAGEMAKER_ENDPOINT_INFERENCE
    if not chosen.replace("-", "").isalnum() or not chosen.isascii() or len(chosen) > 30:  # noqa: PLR2004 - IAM's 64, less our suffixes
        raise SpecError(f"--prefix {chosen}: expected 1 to 30 letters, digits and hyphens.")
    if model_bucket is None:
        return iam.RolesWish(connection.place, chosen, user=user)
    bucket, _, folder = model_bucket.removeprefix("s3://").partition("/")
    if not model_bucket.startswith("s3://") or not bucket or not folder.strip("/"):
        raise SpecError(f"--model-bucket {model_bucket}: expected s3://bucket/prefix/.")
    return iam.RolesWish(connection.place, chosen, model_bucket=bucket, model_prefix=folder.strip("/"), user=user)


@dataclass(frozen=True)
class Roles:
    """The identities of one wish on one connection, and the folder of their files."""

    connection: Connection
    wish: iam.RolesWish
    folder: Path
    new_key: bool = False

    @property
    def managers(self) -> Managers:
        """The IAM managers; a new key goes straight to its file."""
        return identity_managers(self.connection.session, self.wish.place, self._keep_key)

    @property
    def role_arn(self) -> str:
        """The execution role's ARN."""
        place, name = self.wish.place, iam.execution_role_name(self.wish.deployment)
        return f"arn:{place.partition}:iam::{place.account}:role/{name}"

    def plan(self) -> Plan:
        """What has to be made. Raises ConflictError when there is a key whose secret is not in our file."""
        plan = self._service().plan(self.wish.deployment, self._resources())
        for change in plan.changes:
            if change.kind == ACCESS_KEY and change.action is Action.KEEP and change.found and not self.new_key:
                self._check_key(change.found.attributes["AccessKeyIds"])
        return plan

    def apply(self, plan: Plan, *, timeout_s: float) -> Iterator[Step]:
        """Make it."""
        if self.new_key:
            self._forget_key()
            plan = self._service().plan(self.wish.deployment, self._resources())
        yield from self._service().apply(plan, timeout_s=timeout_s)

    def plan_deletion(self) -> Plan:
        """What has to be removed."""
        return self._service().plan_deletion(self.wish.deployment)

    def delete(self, plan: Plan, *, timeout_s: float) -> Iterator[Step]:
        """Remove it, and search again."""
        yield from self._service().delete(plan, timeout_s=timeout_s)

    def write_files(self, *, write_env: bool) -> list[Path]:
        """Write the role's file, and `.env` when asked; the key's file was written when the key was made."""
        written = [self._write(ROLE_FILE, {"RoleArn": self.role_arn})]
        key = self._kept_key()
        if key is not None:
            written.append(self.folder / USER_FILE)
        if write_env:
            written.append(self._write_env(key))
        return written

    def remove_files(self) -> list[Path]:
        """Remove the files that describe what is gone, and only those: a file of another role stays. So in `.env`."""
        self._clear_env()
        removed = []
        if self._read(ROLE_FILE).get("RoleArn") == self.role_arn:
            removed.append(ROLE_FILE)
        if self._read(USER_FILE).get("UserName") == iam.deployer_name(self.wish.deployment):
            removed.append(USER_FILE)
        for name in removed:
            (self.folder / name).unlink()
        return [self.folder / name for name in removed]

    def _service(self) -> DeploymentService:
        return DeploymentService(self)

    def _resources(self) -> tuple[Resource, ...]:
        return iam.resources(self.wish)

    def _keep_key(self, key_id: str, secret: str) -> None:
        name = iam.deployer_name(self.wish.deployment)
        self._write(USER_FILE, {"UserName": name, "AccessKeyId": key_id, "SecretAccessKey": secret})

    def _kept_key(self) -> dict[str, Any] | None:
        kept = self._read(USER_FILE)
        return kept if kept.get("UserName") == iam.deployer_name(self.wish.deployment) else None

    def _check_key(self, key_ids: list[str]) -> None:
        kept = self._kept_key()
        if kept is None or kept.get("AccessKeyId") not in key_ids:
            raise ConflictError(
                f"the user has a key ({', '.join(key_ids)}) whose secret is not in {self.folder / USER_FILE}; "
                "AWS never shows it again.",
                hint="Run this in the folder that has the file, or add --new-key: the old key stops working at once.",
            )

    def _forget_key(self) -> None:
        manager = self.managers[ACCESS_KEY]
        found = manager.find(iam.deployer_name(self.wish.deployment))
        if found is not None and found.owned_by == self.wish.deployment:
            manager.delete(found)

    def _read(self, name: str) -> dict[str, Any]:
        return _document(self.folder / name)

    def _write(self, name: str, document: dict[str, Any]) -> Path:
        """Write a file that only its owner may read, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, partial = self.folder / name, self.folder / f".{name}.partial"
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
        partial.replace(path)
        return path

    def _write_env(self, key: dict[str, Any] | None) -> Path:
        from dotenv import set_key  # noqa: PLC0415 - only this option needs it

        path = self.folder / ENV_FILE
        values = {"AWS_ARN_ROLE": self.role_arn, "AWS_REGION": self.connection.region}
        if key is not None:
            values |= {"AWS_ACCESS_KEY": key["AccessKeyId"], "AWS_SECRET_KEY": key["SecretAccessKey"]}
        path.touch(0o600)
        path.chmod(0o600)
        for name, value in values.items():
            set_key(path, name, value, quote_mode="never")
        path.chmod(0o600)
        return path

    def _clear_env(self) -> None:
        """Take role and keys out of `.env` where they are the ones that are gone."""
        from dotenv import dotenv_values, unset_key  # noqa: PLC0415 - as above

        path, key = self.folder / ENV_FILE, self._kept_key() or {}
        if not path.is_file():
            return
        held = dotenv_values(path, interpolate=False)
        gone = {"AWS_ARN_ROLE": self.role_arn, "AWS_ACCESS_KEY": key.get("AccessKeyId")}
        gone["AWS_SECRET_KEY"] = key.get("SecretAccessKey")
        for name, value in gone.items():
            if value is not None and held.get(name) == value:
                unset_key(path, name, quote_mode="never")
        path.chmod(0o600)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
