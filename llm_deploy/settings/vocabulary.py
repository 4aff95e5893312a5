"""The variables: the seed's vocabulary with its reference defaults, and a few of our own and of AWS."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv.parser import parse_stream
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_deploy.errors import SpecError
from llm_deploy.settings.caller import (
    DEFAULT_REGION,
    DEFAULT_TARGET,
    DEFAULT_WIRE,
    REGION_PATTERN,
    ROLE_PATTERN,
    TARGET_PATTERN,
    TEMPORARY_KEY_PREFIX,
    URL_PATTERN,
)

LARGEST_FILE_BYTES = 64 * 1024

NEEDED_BY_ALL = ("AWS_", "LLMDEPLOY_", "HUGGINGFACE_")
"""Variables that every command needs begin so; the others describe a deployment."""

EXPECTED = {
    REGION_PATTERN: "expected a region such as eu-central-1",
    ROLE_PATTERN: "expected a role's whole ARN, such as arn:aws:iam::123456789012:role/llmdeploy-execution",
    URL_PATTERN: "expected an address such as http://127.0.0.1:4599",
    TARGET_PATTERN: "expected a target: sagemaker or local",
}

Count = Annotated[int, Field(ge=1, le=100_000_000)]


class Settings(BaseSettings):
    """Every variable that `llmdeploy` reads; environment over `.env` over default. Build it with `load_settings`.

    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rest of AWS's own variables are read by boto3 itself and are not
    repeated here; AWS_SESSION_TOKEN belongs to AWS_ACCESS_KEY as well as to them.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        case_sensitive=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    AWS_REGION: Annotated[
        str,
        Field(validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"), pattern=REGION_PATTERN),
    ] = DEFAULT_REGION
    """Region of everything that is made. AWS_DEFAULT_REGION is read as well."""
    AWS_ACCESS_KEY: SecretStr | None = None
    """Access key to deploy with, as `llmdeploy create-roles --user --write-env` writes it; else boto3's own search."""
    AWS_SECRET_KEY: SecretStr | None = None
    """The secret half of AWS_ACCESS_KEY."""
    AWS_SESSION_TOKEN: SecretStr | None = None
    """Session token of a temporary AWS_ACCESS_KEY (one that begins with ASIA); any other key is used without it."""
    AWS_ARN_ROLE: Annotated[str, Field(pattern=ROLE_PATTERN, max_length=2048)] | None = None
    """ARN of the execution role of the containers; else `sagemaker_execution_role.json` of `llmdeploy create-roles`."""
    AWS_PROFILE: str | None = None
    """Profile of ~/.aws/config to use when no key is set here."""
    AWS_ENDPOINT_URL: Annotated[str, Field(pattern=URL_PATTERN)] | None = None
    """Another address for every AWS service: the local cloud, for foreign programs."""

    HF_MODEL_ID: str = "mlabonne/TwinLlama-3.1-8B-DPO"
    """The model: owner/name, owner/name@revision or s3://bucket/prefix/."""
    HUGGINGFACE_ACCESS_TOKEN: SecretStr | None = None
    """Token of the Hugging Face Hub. It is not sent to the container unless a spec allows it."""
    GPU_INSTANCE_TYPE: str = "ml.g5.2xlarge"
    """Machine behind the endpoint."""
    SM_NUM_GPUS: Count = 1
    """GPUs of one copy: the tensor parallel degree. Must agree with GPUS where both are set."""
    MAX_INPUT_LENGTH: Count = 2048
    """Longest prompt, in tokens."""
    MAX_TOTAL_TOKENS: Count = 4096
    """Longest prompt and answer together, in tokens."""
    MAX_BATCH_TOTAL_TOKENS: Count = 4096
    """Most tokens of all running requests together."""
    MAX_BATCH_PREFILL_TOKENS: Count | None = None
    """Most prompt tokens that are processed at once; left to the engine by default."""
    HF_MODEL_QUANTIZE: str | None = None
    """Quantisation, in the engine's word; none by default."""
    COPIES: Count = 1
    """Copies of the model at the start."""
    GPUS: Count = 1
    """GPUs of one copy."""
    CPUS: Annotated[float, Field(ge=0.25, le=1024)] = 2
    """Virtual CPUs of one copy."""
    SAGEMAKER_ENDPOINT_INFERENCE: str = "twin"
    """Name of the endpoint."""
    SAGEMAKER_ENDPOINT_CONFIG_INFERENCE: str = "twin"
    """Part of the endpoint configuration's name, which always begins with the endpoint's name and ends with a hash of
    its content; the endpoint's name alone when not set."""
    TEMPERATURE_INFERENCE: Annotated[float, Field(ge=0, le=100)] = 0.01
    """Sampling temperature of this deployment's clients."""
    TOP_P_INFERENCE: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Nucleus sampling of this deployment's clients."""
    MAX_NEW_TOKENS_INFERENCE: Count = 150
    """Longest answer that this deployment's clients ask for, in tokens."""

    LLMDEPLOY_TARGET: Annotated[str, Field(pattern=TARGET_PATTERN)] = DEFAULT_TARGET
    """Where to deploy to, and where the Python client looks: sagemaker, or local (the local cloud). `--target` wins."""
    LLMDEPLOY_ROLE_ARN: Annotated[str, Field(pattern=ROLE_PATTERN, max_length=2048)] | None = None
    """ARN of the role to deploy as, which the sign-in then only assumes; `llmdeploy create-roles --write-env` writes
    it."""

    LLMDEPLOY_CLIENT: Literal["fast", "botocore"] = DEFAULT_WIRE
    """How the Python client calls SageMaker: fast (its own path, where that is right), or botocore for everything."""

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _problems: tuple[str, ...] = PrivateAttr(default=())

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with variables that describe a deployment (`GPUS=all`); they have their defaults here.

        Such words are common, so that they are an error only where the variables are asked for.
        """
        return self._problems

    @property
    def session_token(self) -> SecretStr | None:
        """AWS_SESSION_TOKEN where it is AWS_ACCESS_KEY's.

        A token in the environment often is another sign-in's, and AWS refuses a lasting key that comes with one.
        """
        key = self.AWS_ACCESS_KEY
        return self.AWS_SESSION_TOKEN if key and key.get_secret_value().startswith(TEMPORARY_KEY_PREFIX) else None

    def role_in(self, account: str) -> str | None:
        """LLMDEPLOY_ROLE_ARN where it is of this account, for targets that have an account of their own."""
        role = self.LLMDEPLOY_ROLE_ARN
        return role if role and role.split(":")[4] == account else None

    def origin(self, name: str) -> str | None:
        """Where a variable was set: `.env:3 GPUS`, `environment GPUS`, or `None` for its default."""
        return self._origins.get(name)

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Self:
        if (self.AWS_ACCESS_KEY is None) != (self.AWS_SECRET_KEY is None):
            missing = "AWS_ACCESS_KEY" if self.AWS_ACCESS_KEY is None else "AWS_SECRET_KEY"
            raise PydanticCustomError("pair", "{name} is missing: set both keys or none", {"name": missing})
        return self


def load_settings(env_file: Path | str | None = ".env") -> Settings:
    """Settings from a `.env` file (if it exists) and the process's environment, which wins.

    Raises:
        SpecError: A value is wrong or the file is malformed; file, line and variable are named, never the value.
    """
    path = None if env_file is None else Path(env_file)
    lines = _lines(path) if path is not None and path.is_file() else {}
    origins = _origins(path, lines)
    problems: tuple[str, ...] = ()
    try:
        settings = Settings(_env_file=path)
    except ValidationError as error:
        settings, problems = _without_deployment(error, path, origins)
    settings._origins, settings._problems = origins, problems  # noqa: SLF001 - ours; frozen models take them only so
    return settings


def _without_deployment(
    error: ValidationError, path: Path | None, origins: Mapping[str, str]
) -> tuple[Settings, tuple[str, ...]]:
    """Settings with defaults for wrong variables that describe a deployment, and what is wrong with these."""
    wrong = {str(item["loc"][0]) if item["loc"] else "" for item in error.errors(include_url=False)}
    report = _report(error, origins, path)
    if not all(name in Settings.model_fields and not name.startswith(NEEDED_BY_ALL) for name in wrong):
        raise SpecError("\n".join(report)) from None  # the cause would carry the values
    defaults = {name: Settings.model_fields[name].default for name in wrong}
    try:
        return Settings(_env_file=path, **defaults), report
    except ValidationError as other:
        raise SpecError("\n".join([*report, *_report(other, origins, path)])) from None


def _lines(path: Path) -> dict[str, int]:
    """The line of each variable of a `.env` file; the last one wins, as in python-dotenv."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise SpecError(f"{path}: larger than {LARGEST_FILE_BYTES // 1024} KiB; this is no .env file.")
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    wrong = [binding.original.line for binding in bindings if binding.error]
    if wrong:
        raise SpecError("\n".join(f"{path}:{line}: expected NAME=value." for line in wrong))
    return {
        binding.key: binding.original.line + _blank_lines_before(binding.original.string)
        for binding in bindings
        if binding.key and binding.value
    }


def _blank_lines_before(text: str) -> int:
    """python-dotenv counts the white space before a binding to it."""
    return len(re.match(r"\s*", text).group().splitlines()) if text[:1].isspace() else 0  # type: ignore[union-attr]


def _origins(path: Path | None, lines: Mapping[str, int]) -> dict[str, str]:
    found = {}
    for field, info in Settings.model_fields.items():
        for name in _names(field, info.validation_alias):
            if os.environ.get(name):
                found[field] = f"environment {name}"
                break
            if name in lines:
                found[field] = f"{path}:{lines[name]} {name}"
                break
    return found


def _names(field: str, alias: Any) -> list[str]:  # noqa: ANN401 - pydantic's alias types
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [field]


def _report(error: ValidationError, origins: Mapping[str, str], path: Path | None) -> tuple[str, ...]:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        field = "AWS_REGION" if name == "AWS_DEFAULT_REGION" else name
        where = origins.get(field, f"{path or 'environment'}{f' {name}' if name else ''}")
        message = EXPECTED.get(item.get("ctx", {}).get("pattern", ""), _as_clause(item["msg"]))
        lines.append(f"{where}: {message}.")
    return tuple(lines)


def _as_clause(text: str) -> str:
    """`Input should be ...` as the end of a sentence; a variable's name keeps its capitals."""
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"
