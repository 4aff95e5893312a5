"""What an endpoint's callers need not say: its component, its dialect, its sampling; asked of SageMaker once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llm_deploy.client.clients import lookup_client
from llm_deploy.client.sagemaker_errors import translate
from llm_deploy.dialects.registry import DIALECTS
from llm_deploy.errors import AccessDeniedError, InferenceRequestError, UnreachableError

T = TypeVar("T")

_UNKNOWN_DIALECT = "auto"
_SAMPLING = frozenset({"temperature", "top_p", "max_new_tokens"})
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an endpoint.

    Attributes:
        inference_component_name: `None` where there is none, or where asking is not permitted.
        sampling: The deployment's own defaults: `temperature`, `top_p`, `max_new_tokens`.
        answers_at: Where an asynchronous endpoint puts its answers (`s3://`); `None`: it answers live. One that has an
            AsyncInferenceConfig answers in no other way.
    """

    inference_component_name: str | None
    dialect: str
    sampling: Mapping[str, float] = field(default_factory=dict)
    answers_at: str | None = None


def discover(session: Any, endpoint_name: str, *, component: str | None, dialect: str) -> Found:  # noqa: ANN401 - ours or boto3's
    """Fill in what was not given: `component` `None`, `dialect` `auto`.

    Where the control plane may not be asked (a caller that may only invoke) or has no route, the component stays
    unknown (an endpoint that needs one says so when it is called) and the dialect is found by trying.

    Raises:
        NotFoundError: There is no such endpoint.
        InferenceRequestError: Several components; the message names them.
        LlmDeployError: Credentials, throttling and the like: what is not known yet is not taken for absent.
    """
    if component is not None and dialect != _UNKNOWN_DIALECT:
        return Found(component, dialect)
    from llm_deploy.resource import TAG_DIALECT, TAG_SAMPLING  # noqa: PLC0415 - what is said need not be looked up

    client = lookup_client(session)
    described: dict[str, Any] = _asked(
        lambda: client.describe_endpoint(EndpointName=endpoint_name), endpoint_name, otherwise={}
    )
    tags: dict[str, str] = _asked(lambda: _tags(client, described), endpoint_name, otherwise={})
    answers_at = described.get("AsyncInferenceConfig", {}).get("OutputConfig", {}).get("S3OutputPath")
    if dialect == _UNKNOWN_DIALECT and tags.get(TAG_DIALECT) in DIALECTS:
        dialect = tags[TAG_DIALECT]
    if component is None and answers_at is None:  # asynchronous endpoints have none
        names: list[str] = _asked(lambda: _components(client, endpoint_name), endpoint_name, otherwise=[])
        component = _only(names, endpoint_name)
    return Found(component, dialect, sampling_of(tags.get(TAG_SAMPLING, "")), answers_at)


def sampling_of(text: str) -> dict[str, float]:
    """The parameters in a sampling tag; what is not one of ours or no number is left out, for anybody may set tags."""
    pairs = (item.partition("=") for item in text.split())
    return {name: float(value) for name, _, value in pairs if name in _SAMPLING and _NUMBER.fullmatch(value)}


def _asked(ask: Callable[[], T], endpoint_name: str, *, otherwise: T) -> T:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with the client

    try:
        return ask()
    except (ClientError, BotoCoreError) as error:
        translated = translate(error, f"look up endpoint {endpoint_name}")
        if isinstance(translated, AccessDeniedError | UnreachableError):
            return otherwise
        raise translated from error


def _tags(client: Any, described: Mapping[str, Any]) -> dict[str, str]:  # noqa: ANN401 - boto3 ships no types
    if not described:
        return {}
    from llm_deploy.resource import tag_map  # noqa: PLC0415 - as above

    return tag_map(client.list_tags(ResourceArn=described["EndpointArn"])["Tags"])


def _components(client: Any, endpoint_name: str) -> list[str]:  # noqa: ANN401 - as above
    answer = client.list_inference_components(EndpointNameEquals=endpoint_name, MaxResults=100)
    return sorted(each["InferenceComponentName"] for each in answer["InferenceComponents"])


def _only(names: list[str], endpoint_name: str) -> str | None:
    if len(names) > 1:
        raise InferenceRequestError(
            f"endpoint {endpoint_name} has {len(names)} inference components: {', '.join(names)}",
            hint="Say which one: inference_component_name (--component on the command line).",
        )
    return names[0] if names else None
