"""What the environment and `.env` say where the caller brings nothing: the session and the sampling parameters."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.aws import Session
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import LocalCloudError
from llm_deploy.settings.caller import DEFAULT_TARGET, CallerSettings, caller_settings


def session_from_environment(region: str | None = None) -> Session:
    """A session of the target that LLMDEPLOY_TARGET names: the one that `create_endpoint` deploys to.

    For the default target: keys, region and address from the environment and `.env`, else what boto3 finds. Any other
    target announces its address when it runs; it has one region, so that `region` says nothing there.

    Raises:
        SpecError: A setting has a bad value.
        LocalCloudError: The target does not run.
    """
    settings = caller_settings()
    if settings.target != DEFAULT_TARGET:
        return _announced_session(settings)
    return Session(
        region=region or settings.region,
        profile=settings.profile,
        endpoint_url=settings.endpoint_url,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        token=settings.token,
        role_arn=settings.role_arn,
        wire=settings.wire,
    )


def _announced_session(settings: CallerSettings) -> Session:
    from llm_deploy.settings.announcement import ACCESS_KEY, SECRET_KEY, announced, state_dir  # noqa: PLC0415 - rare

    target = settings.target
    found = announced(target)
    if found is None:
        raise LocalCloudError(
            f"LLMDEPLOY_TARGET is {target}, and nothing of that name answers (looked in {state_dir(target)})",
            hint="Start the local cloud: llmdeploy local up",
        )
    role = settings.role_arn
    return Session(
        region=found.region,
        endpoint_url=found.url,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        role_arn=role if role and role.split(":")[4] == found.account else None,
        wire=settings.wire,
    )


def default_request(deployed: Mapping[str, float]) -> GenerationRequest:
    """A request without prompt: TEMPERATURE_INFERENCE and the like where they are set, else what was deployed.

    Args:
        deployed: The deployment's own sampling parameters; the settings' reference defaults fill what they leave out.

    Raises:
        SpecError: A setting has a bad value.
    """
    from llm_deploy.settings import load_settings  # noqa: PLC0415 - loads pydantic, which only this needs

    settings = load_settings()

    def chosen(variable: str, parameter: str) -> float:
        value: float = getattr(settings, variable)
        return deployed.get(parameter, value) if settings.origin(variable) is None else value

    return GenerationRequest(
        max_new_tokens=int(chosen("MAX_NEW_TOKENS_INFERENCE", "max_new_tokens")),
        temperature=chosen("TEMPERATURE_INFERENCE", "temperature"),
        top_p=chosen("TOP_P_INFERENCE", "top_p"),
    )
