"""What the environment and `.env` say where the caller brings nothing: the session and the sampling parameters."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.aws import Session
from llm_deploy.dialects.types import GenerationRequest


def session_from_environment(region: str | None = None) -> Session:
    """A session from the environment and `.env`: the seed's names there, else what boto3 finds.

    Raises:
        SpecError: A setting has a bad value.
    """
    from llm_deploy.settings import load_settings  # noqa: PLC0415 - loads pydantic, which only a call needs

    settings = load_settings()
    access, secret = settings.AWS_ACCESS_KEY, settings.AWS_SECRET_KEY
    return Session(
        region=region or settings.AWS_REGION,
        profile=settings.AWS_PROFILE,
        endpoint_url=settings.AWS_ENDPOINT_URL,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
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
