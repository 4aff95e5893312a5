"""What the identities are for, from flags and a spec. Pure; flags win."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_deploy.errors import SpecError
from llm_deploy.spec import S3Model
from llm_deploy.targets.sagemaker import iam

if TYPE_CHECKING:
    from llm_deploy.spec import DeploymentSpec, Place

_PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?")
"""IAM's 64 characters of a user's name, less what we put around it."""

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:(root|(user|role|assumed-role)/[\w+=,.@/-]+)", re.ASCII)
_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/[\w.:/-]+", re.ASCII)
_POLICY = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[\w+=,.@/-]+", re.ASCII)
_ECR_IMAGE = re.compile(r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may assume the deploy role, as it was asked for.

    Attributes:
        principals: ARNs.
        oidc_provider: ARN or address of an OpenID Connect provider.
        oidc_subjects: Whole subjects of its tokens.
    """

    principals: tuple[str, ...] = ()
    oidc_provider: str | None = None
    oidc_subjects: tuple[str, ...] = ()


ANYONE_ALLOWED = Trust()
"""Whoever the account's own policies allow to."""


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
    # A config's name begins with the deployment's, whatever endpoint_config_name says.
    names = (spec.name, spec.inference_component_name or spec.name) if spec else ()
    strange = next((name for name in names if not name.startswith(chosen)), None)
    if strange is not None:
        raise SpecError(
            f"the spec's '{strange}' does not begin with '{chosen}', so this deploy identity could not make it.",
            hint="Let name and inference_component_name begin alike, or choose another --prefix.",
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


def repositories_of(image: str | None, place: Place) -> tuple[str, ...]:
    """The repository of an image, where it is in ECR."""
    return (iam.repository_arn(image, place),) if image and _ECR_IMAGE.match(image) else ()


def checked(trust: Trust) -> Trust:
    """The trust, if it can be written down. Raises SpecError."""
    for arn in trust.principals:
        if not _PRINCIPAL.fullmatch(arn):
            raise SpecError(
                f"--trusted-principal {arn}: expected the ARN of a role, a user or an account's root.",
                hint="A person's SSO role: `aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/`.",
            )
    if bool(trust.oidc_provider) != bool(trust.oidc_subjects):
        raise SpecError(
            "--oidc-provider and --oidc-subject go together: which provider, and for whom.",
            hint="For GitHub: --oidc-provider token.actions.githubusercontent.com "
            "--oidc-subject repo:ORG/REPO:environment:ENV",
        )
    for subject in trust.oidc_subjects:
        if not subject.strip() or subject != subject.strip():
            raise SpecError(
                f"--oidc-subject {subject!r}: expected a subject without white space around it, such as "
                "repo:ORG/REPO:environment:ENV."
            )
        if re.search(r"[*?$]", subject):
            raise SpecError(
                f"--oidc-subject {subject}: expected a whole subject, such as repo:ORG/REPO:environment:ENV; a pattern "
                "would let in what nobody has looked at."
            )
    return trust


def provider_arn(provider: str | None, place: Place) -> str | None:
    """The ARN of an OpenID Connect provider of this account, from it or from the provider's address.

    Raises:
        SpecError: It is neither.
    """
    if provider is None:
        return None
    issuer = provider.removeprefix("https://").rstrip("/")
    arn = issuer if issuer.startswith("arn:") else f"arn:{place.partition}:iam::{place.account}:oidc-provider/{issuer}"
    if not _PROVIDER.fullmatch(arn):
        raise SpecError(f"--oidc-provider {provider}: expected an address such as token.actions.githubusercontent.com.")
    return arn


def check_boundary(arn: str | None) -> None:
    """Raises SpecError where a permissions boundary is no managed policy's ARN."""
    if arn is not None and not _POLICY.fullmatch(arn):
        raise SpecError(
            f"--permissions-boundary {arn}: expected a managed policy's ARN, such as "
            "arn:aws:iam::123456789012:policy/boundary."
        )
