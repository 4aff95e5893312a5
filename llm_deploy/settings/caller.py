"""What a caller of a model needs of the settings, without pydantic where nothing unusual is set: it takes 250 ms.

The variables, their order and their defaults are `Settings`'s. Whatever is malformed is left to `load_settings`, which
says what is wrong with it; a test compares the two.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal, cast

DEFAULT_REGION = "eu-central-1"
DEFAULT_TARGET = "sagemaker"
DEFAULT_WIRE: Literal["fast"] = "fast"

REGION_PATTERN = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$"
ROLE_PATTERN = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9+=,.@_/-]+$"
URL_PATTERN = r"^https?://[^\s/]+"
TARGET_PATTERN = r"^[a-z][a-z-]*$"
WIRE_PATTERN = r"^(fast|botocore)$"

TEMPORARY_KEY_PREFIX = "ASIA"
"""Source: IAM user guide, "Understanding unique ID prefixes": AKIA for access keys, ASIA for those of STS."""

_FORMS = {
    "AWS_REGION": REGION_PATTERN,
    "AWS_DEFAULT_REGION": REGION_PATTERN,
    "AWS_ENDPOINT_URL": URL_PATTERN,
    "AWS_ARN_ROLE": ROLE_PATTERN,
    "LLMDEPLOY_TARGET": TARGET_PATTERN,
    "LLMDEPLOY_ROLE_ARN": ROLE_PATTERN,
    "LLMDEPLOY_CLIENT": WIRE_PATTERN,
}
_LONGEST_ROLE = 2048
_LARGEST_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CallerSettings:
    """Where the models are, and who calls them.

    Attributes:
        token: Of a temporary access key.
        role_arn: LLMDEPLOY_ROLE_ARN.
        wire: LLMDEPLOY_CLIENT.
    """

    target: str
    region: str
    profile: str | None
    endpoint_url: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    token: str | None = field(repr=False)
    role_arn: str | None
    wire: Literal["fast", "botocore"]


def caller_settings(env_file: str = ".env") -> CallerSettings:
    """From the environment and `.env`.

    Raises:
        SpecError: A setting has a bad value.
    """
    found = _plain(env_file)
    return _of_settings(env_file) if found is None else found


def _plain(env_file: str) -> CallerSettings | None:
    """`None`: something is unusual."""
    lines = _file(env_file)
    if lines is None:
        return None
    values = {**lines, **{name: value for name, value in os.environ.items() if value}}
    access, secret = values.get("AWS_ACCESS_KEY"), values.get("AWS_SECRET_KEY")
    if not all(_is_well_formed(name, values[name]) for name in _FORMS if name in values) or bool(access) != bool(
        secret
    ):
        return None
    return CallerSettings(
        target=values.get("LLMDEPLOY_TARGET", DEFAULT_TARGET),
        region=values.get("AWS_REGION") or values.get("AWS_DEFAULT_REGION") or DEFAULT_REGION,
        profile=values.get("AWS_PROFILE"),
        endpoint_url=values.get("AWS_ENDPOINT_URL"),
        access_key=access,
        secret_key=secret,
        token=values.get("AWS_SESSION_TOKEN") if access and access.startswith(TEMPORARY_KEY_PREFIX) else None,
        role_arn=values.get("LLMDEPLOY_ROLE_ARN"),
        wire=cast("Literal['fast', 'botocore']", values.get("LLMDEPLOY_CLIENT", DEFAULT_WIRE)),
    )


def _is_well_formed(name: str, value: str) -> bool:
    if len(value) > _LONGEST_ROLE or "\n" in value:
        return False
    return re.search(_FORMS[name], value) is not None


def _file(path: str) -> dict[str, str] | None:
    """The variables of a `.env` file with nothing in it but plain lines; none where there is no file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes 5 ms to load, and this is about start-up
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError:
        return None
    if len(data) > _LARGEST_FILE_BYTES or b"$" in data or b"'" in data or b'"' in data or b"\\" in data or b"`" in data:
        return None
    values: dict[str, str] = {}
    for line in data.split(b"\n"):
        found = re.fullmatch(rb"\s*(?:#.*|([A-Za-z_][A-Za-z0-9_]*)=([!-~]*))?\s*", line)
        if found is None or b"#" in (found[2] or b""):
            return None
        if found[2]:
            values[found[1].decode()] = found[2].decode()
        elif found[1]:
            values.pop(found[1].decode(), None)
    return values


def _of_settings(env_file: str) -> CallerSettings:
    from llm_deploy.settings.vocabulary import load_settings  # noqa: PLC0415 - loads pydantic, which is the point

    settings = load_settings(env_file)
    access, secret, token = settings.AWS_ACCESS_KEY, settings.AWS_SECRET_KEY, settings.session_token
    return CallerSettings(
        target=settings.LLMDEPLOY_TARGET,
        region=settings.AWS_REGION,
        profile=settings.AWS_PROFILE,
        endpoint_url=settings.AWS_ENDPOINT_URL,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
        token=token.get_secret_value() if token else None,
        role_arn=settings.LLMDEPLOY_ROLE_ARN,
        wire=settings.LLMDEPLOY_CLIENT,
    )
