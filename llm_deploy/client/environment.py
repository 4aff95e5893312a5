"""What the environment and `.env` say where the caller brings nothing: the session and the sampling parameters."""

from __future__ import annotations

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


def default_request() -> GenerationRequest:
    """A request without prompt with TEMPERATURE_INFERENCE, TOP_P_INFERENCE and MAX_NEW_TOKENS_INFERENCE.

    Raises:
        SpecError: A setting has a bad value.
    """
    from llm_deploy.settings import load_settings  # noqa: PLC0415 - as above

    settings = load_settings()
    return GenerationRequest(
        max_new_tokens=settings.MAX_NEW_TOKENS_INFERENCE,
        temperature=settings.TEMPERATURE_INFERENCE,
        top_p=settings.TOP_P_INFERENCE,
    )
