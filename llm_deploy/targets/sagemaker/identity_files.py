"""The files that the seed keeps identities in: the role's ARN, the user's key, and `.env` where that is asked for."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_deploy.errors import FileWriteError
from llm_deploy.targets.sagemaker import iam

USER_FILE = "sagemaker_user_credentials.json"
ROLE_FILE = "sagemaker_execution_role.json"
ENV_FILE = ".env"
ENV_KEY = "AWS_ACCESS_KEY"
ENV_SECRET = "AWS_SECRET_KEY"  # noqa: S105 - a variable's name
ENV_EXECUTION_ROLE = "AWS_ARN_ROLE"
ENV_DEPLOY_ROLE = "LLMDEPLOY_ROLE_ARN"


def kept_role_arn(folder: Path = Path()) -> str | None:
    """The execution role that `create-roles` noted down in this folder."""
    arn = _document(folder / ROLE_FILE).get("RoleArn")
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None


@dataclass(frozen=True)
class IdentityFiles:
    """The files of one wish in one folder. What describes other roles, or another user, is left alone."""

    folder: Path
    wish: iam.RolesWish

    def write(self, *, env_region: str | None) -> list[Path]:
        """Write the role's file; with a region, `.env` too. The key's file was written when the key was made."""
        role_arn = self.wish.execution_role_arn
        written = [self._write(ROLE_FILE, {"RoleArn": role_arn, "DeployRoleArn": self.wish.deploy_role_arn})]
        if self.kept_key():
            written.append(self.folder / USER_FILE)
        if env_region is not None:
            written.append(self._write_env(env_region))
        return written

    def remove(self) -> list[Path]:
        """Remove what describes what is gone; so in `.env`."""
        self._clear_env()
        removed = []
        if _document(self.folder / ROLE_FILE).get("RoleArn") == self.wish.execution_role_arn:
            removed.append(ROLE_FILE)
        if self.kept_key():
            removed.append(USER_FILE)
        for name in removed:
            (self.folder / name).unlink()
        return [self.folder / name for name in removed]

    def keep_key(self, key_id: str, secret: str) -> None:
        """Write the key's file. Raises FileWriteError."""
        name = iam.deployer_name(self.wish.deployment)
        self._write(USER_FILE, {"UserName": name, "AccessKeyId": key_id, "SecretAccessKey": secret})

    def kept_key(self) -> dict[str, Any]:
        """The user's key as it was kept; empty where it was not, or is another user's."""
        kept = _document(self.folder / USER_FILE)
        return kept if kept.get("UserName") == iam.deployer_name(self.wish.deployment) else {}

    def env_key(self) -> str | None:
        """The access key in `.env`."""
        return _variables(self.folder / ENV_FILE).get(ENV_KEY)

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

    def _write_env(self, region: str) -> Path:
        """Deploying goes by the user's key where there is one to use, else by the deploy role; not by both."""
        from dotenv import set_key, unset_key  # noqa: PLC0415 - only this option needs it

        path, key = _target(self.folder / ENV_FILE), self.kept_key()
        values = {ENV_EXECUTION_ROLE: self.wish.execution_role_arn, "AWS_REGION": region}
        if key and (self.wish.user or self.env_key() == key["AccessKeyId"]):
            values |= {ENV_KEY: key["AccessKeyId"], ENV_SECRET: key["SecretAccessKey"]}
        else:
            values[ENV_DEPLOY_ROLE] = self.wish.deploy_role_arn
        path.touch(0o600)
        path.chmod(0o600)
        for name, value in values.items():
            set_key(path, name, value, quote_mode="never")
        if ENV_KEY in values and _variables(path).get(ENV_DEPLOY_ROLE) == self.wish.deploy_role_arn:
            # The user has the policies itself and may not assume the role.
            unset_key(path, ENV_DEPLOY_ROLE, quote_mode="never")
        path.chmod(0o600)
        return path

    def _clear_env(self) -> None:
        """Take roles and keys out of `.env` where they are the ones that are gone."""
        from dotenv import unset_key  # noqa: PLC0415 - as above

        path, key = _target(self.folder / ENV_FILE), self.kept_key()
        if not path.is_file():
            return
        held = _variables(path)
        gone = {
            ENV_EXECUTION_ROLE: self.wish.execution_role_arn,
            ENV_DEPLOY_ROLE: self.wish.deploy_role_arn,
            ENV_KEY: key.get("AccessKeyId"),
            ENV_SECRET: key.get("SecretAccessKey"),
        }
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
