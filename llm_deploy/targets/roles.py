"""Making and removing the identities, and the files that the seed keeps them in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_deploy.deploy.apply import Step
from llm_deploy.deploy.inventory import Managers
from llm_deploy.deploy.plan import Action, Change, Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import ConflictError, FileWriteError, SpecError
from llm_deploy.resource import ACCESS_KEY, MANAGED_POLICY, ROLE
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import iam, wishes
from llm_deploy.targets.sagemaker.managers import identity_managers

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import DeploymentSpec

USER_FILE = "sagemaker_user_credentials.json"
ROLE_FILE = "sagemaker_execution_role.json"
ENV_FILE = ".env"
ENV_KEY = "AWS_ACCESS_KEY"


def kept_role_arn(folder: Path = Path()) -> str | None:
    """The execution role that `create-roles` noted down in this folder."""
    arn = _document(folder / ROLE_FILE).get("RoleArn")
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None


def administrator(settings: Settings, *, profile: str | None, use_env_keys: bool) -> Settings:
    """The settings to make or remove identities with: AWS_ACCESS_KEY is not used unless that is asked for.

    After `create-roles --write-env` it is the deploy identity's, which has no right to do either.

    Raises:
        SpecError: Both a profile and the keys are asked for.
    """
    if profile is not None and use_env_keys:
        raise SpecError("--profile and --use-env-keys are two answers to one question; give one.")
    changed: dict[str, Any] = {} if profile is None else {"AWS_PROFILE": profile}
    if not use_env_keys:
        changed |= {"AWS_ACCESS_KEY": None, "AWS_SECRET_KEY": None}
    return settings.model_copy(update=changed)


def wish_for(
    connection: Connection, *, prefix: str | None, spec: DeploymentSpec | None, model_bucket: str | None, user: bool
) -> iam.RolesWish:
    """What roles are wanted; flags win over the spec. Raises SpecError before the cloud is asked anything."""
    chosen = wishes.prefix_for(prefix, spec, connection.settings.SAGEMAKER_ENDPOINT_INFERENCE)
    bucket, folder = wishes.weights_for(model_bucket, spec)
    key = wishes.key_for(spec)
    return iam.RolesWish(
        connection.place,
        chosen,
        model_bucket=bucket,
        model_prefix=folder,
        kms_key=key,
        subnet_ids=spec.network.subnets if spec else (),
        security_group_ids=spec.network.security_group_ids if spec else (),
        user=user,
    )


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
        plan = self._service().plan(self.wish.deployment, iam.resources(self.wish))
        return replace(plan, changes=tuple(self._with_its_secret(change) for change in plan.changes))

    def policies(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every policy document that `plan` is about, with a title for people."""
        for resource in iam.resources(self.wish):
            if resource.kind == ROLE:
                yield f"who may assume {resource.name}", resource.properties["AssumeRolePolicyDocument"]
                for policy in resource.properties["Policies"]:
                    yield f"what {resource.name} may do", policy["PolicyDocument"]
            elif resource.kind == MANAGED_POLICY:
                yield f"what {resource.name} may do", resource.properties["PolicyDocument"]

    def apply(self, plan: Plan, *, timeout_s: float) -> Iterator[Step]:
        """Make it."""
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

    def _with_its_secret(self, change: Change) -> Change:
        """The change as it is, unless it keeps a key: its secret must be in our file, or it is replaced on request."""
        if change.kind != ACCESS_KEY or change.action is not Action.KEEP or change.found is None:
            return change
        key_ids = change.found.attributes["AccessKeyIds"]
        if self.new_key:
            return replace(change, action=Action.REPLACE, note=self._note_on(key_ids))
        self._check_key(key_ids)
        return change

    def _note_on(self, key_ids: list[str]) -> str:
        env = self.folder / ENV_FILE
        stale = f"; {env} has it, --write-env renews it there" if _variables(env).get(ENV_KEY) in key_ids else ""
        return f"{', '.join(key_ids)} stops working at once{stale}"

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

    def _read(self, name: str) -> dict[str, Any]:
        return _document(self.folder / name)

    def _write(self, name: str, document: dict[str, Any]) -> Path:
        """Write a file that only its owner may read, whole or not at all. Raises FileWriteError."""
        path, partial = self.folder / name, self.folder / f".{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
                file.write("\n")
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()  # it may hold a part of a secret
            raise FileWriteError(
                f"{path} cannot be written: {error.strerror}", hint="Choose another folder with --output."
            ) from error
        return path

    def _write_env(self, key: dict[str, Any] | None) -> Path:
        from dotenv import set_key  # noqa: PLC0415 - only this option needs it

        path = _target(self.folder / ENV_FILE)
        values = {"AWS_ARN_ROLE": self.role_arn, "AWS_REGION": self.connection.region}
        if key is not None:
            values |= {ENV_KEY: key["AccessKeyId"], "AWS_SECRET_KEY": key["SecretAccessKey"]}
        path.touch(0o600)
        path.chmod(0o600)
        for name, value in values.items():
            set_key(path, name, value, quote_mode="never")
        path.chmod(0o600)
        return path

    def _clear_env(self) -> None:
        """Take role and keys out of `.env` where they are the ones that are gone."""
        from dotenv import unset_key  # noqa: PLC0415 - as above

        path, key = _target(self.folder / ENV_FILE), self._kept_key() or {}
        if not path.is_file():
            return
        held = _variables(path)
        gone = {"AWS_ARN_ROLE": self.role_arn, ENV_KEY: key.get("AccessKeyId")}
        gone["AWS_SECRET_KEY"] = key.get("SecretAccessKey")
        for name, value in gone.items():
            if value is not None and held.get(name) == value:
                unset_key(path, name, quote_mode="never")
        path.chmod(0o600)


def _target(path: Path) -> Path:
    """What a symbolic link leads to: python-dotenv would put a file in the link's place."""
    return path.resolve()


def _variables(path: Path) -> dict[str, str | None]:
    from dotenv import dotenv_values  # noqa: PLC0415 - as above

    return dotenv_values(path, interpolate=False) if path.is_file() else {}


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
