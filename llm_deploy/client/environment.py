"""What the environment and `.env` say where the caller brings nothing: the session and the sampling parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llm_deploy.aws import Session
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import LocalCloudError
from llm_deploy.settings.announcement import ACCESS_KEY, SECRET_KEY, announced, state_dir

if TYPE_CHECKING:
    from llm_deploy.settings import Settings


def session_from_environment(region: str | None = None) -> Session:
    """A session of the target that LLMDEPLOY_TARGET names: the one that `create_endpoint` deploys to.

    For the default target: keys, region and address from the environment and `.env`, else what boto3 finds. Any other
    target announces its address when it runs; it has one region, so that `region` says nothing there.

    Raises:
        SpecError: A setting has a bad value.
        LocalCloudError: The target does not run.
    """
    from llm_deploy.settings import Settings, load_settings  # noqa: PLC0415 - loads pydantic, which only a call needs

    settings = load_settings()
    target, default = settings.LLMDEPLOY_TARGET, Settings.model_fields["LLMDEPLOY_TARGET"].default
    if target != default:
        return _announced_session(target, settings)
    access, secret, token = settings.AWS_ACCESS_KEY, settings.AWS_SECRET_KEY, settings.session_token
    return Session(
        region=region or settings.AWS_REGION,
        profile=settings.AWS_PROFILE,
        endpoint_url=settings.AWS_ENDPOINT_URL,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
        token=token.get_secret_value() if token else None,
        role_arn=settings.LLMDEPLOY_ROLE_ARN,
    )


def _announced_session(target: str, settings: Settings) -> Session:
    found = announced(target)
    if found is None:
        raise LocalCloudError(
            f"LLMDEPLOY_TARGET is {target}, and nothing of that name answers (looked in {state_dir(target)})",
            hint="Start the local cloud: llmdeploy local up",
        )
    return Session(
        region=found.region,
        endpoint_url=found.url,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        role_arn=settings.role_in(found.account),
    )


def default_request(deployed: Mapping[str, float]) -> GenerationRequest:
    """A request without prompt: TEMPERATURE_INFERENCE and the like where they are set, else what was deployed.

    Args:
        deployed: The deployment's own sampling parameters; the settings' reference defaults fill what they leave out.

    Raises:
        SpecError: A setting has a bad value.
    """
    from llm_deploy.settings import load_settings  # noqa: PLC0415 - as above

    settings = load_settings()

    def chosen(variable: str, parameter: str) -> float:
        value: float = getattr(settings, variable)
        return deployed.get(parameter, value) if settings.origin(variable) is None else value

    return GenerationRequest(
        max_new_tokens=int(chosen("MAX_NEW_TOKENS_INFERENCE", "max_new_tokens")),
        temperature=chosen("TEMPERATURE_INFERENCE", "temperature"),
        top_p=chosen("TOP_P_INFERENCE", "top_p"),
    )
