"""What the identities are for, from flags and a spec. Pure; flags win."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llm_deploy.errors import SpecError
from llm_deploy.spec import S3Model

if TYPE_CHECKING:
    from llm_deploy.spec import DeploymentSpec

_PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?")
"""IAM's 64 characters of a user's name, less what we put around it."""


def prefix_for(flag: str | None, spec: DeploymentSpec | None, default: str) -> str:
    """What names begin with: the flag's, else the spec's name, else the default.

    Raises:
        SpecError: It is no prefix, or the spec has a name that does not begin with it, which the deploy identity then
            could not make.
    """
    chosen = flag or (spec.name if spec else default)
    if not _PREFIX.fullmatch(chosen):
        raise SpecError(
            f"prefix '{chosen}': expected 1 to 30 letters, digits and hyphens, beginning and ending with a letter or "
            "digit.",
            hint="Choose one with --prefix: what the names of your deployments begin with.",
        )
    names = (spec.name, spec.endpoint_config_base, spec.inference_component_name or spec.name) if spec else ()
    strange = next((name for name in names if not name.startswith(chosen)), None)
    if strange is not None:
        raise SpecError(
            f"the spec's '{strange}' does not begin with '{chosen}', so this deploy identity could not make it.",
            hint="Let name, endpoint_config_name and inference_component_name begin alike, or choose another --prefix.",
        )
    return chosen


def weights_for(flag: str | None, spec: DeploymentSpec | None) -> tuple[str | None, str]:
    """Bucket and prefix of own weights: the flag's, else those of the spec's model; no bucket where there are none.

    Raises:
        SpecError: It is no `s3://bucket/prefix/`; the roles read one prefix, never a whole bucket.
    """
    uri = flag or (spec.model.s3_uri if spec and isinstance(spec.model, S3Model) else None)
    if uri is None:
        return None, ""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not prefix.strip("/"):
        name = "--model-bucket" if flag else "model"
        raise SpecError(f"{name} {uri}: expected s3://bucket/prefix/; roles are for a prefix, not for a whole bucket.")
    return bucket, prefix.strip("/")


def key_for(spec: DeploymentSpec | None) -> str | None:
    """The spec's KMS key, by id or ARN. Raises SpecError for an alias, which a policy cannot grant."""
    key = spec.kms_key_id if spec else None
    if key is not None and "alias/" in key:
        raise SpecError(
            f"kms_key_id {key}: an IAM policy does not grant a key by its alias.",
            hint="Name the key by its id or ARN in the spec: `aws kms describe-key --key-id alias/...` shows both.",
        )
    return key
