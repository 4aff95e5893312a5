"""What an endpoint's callers need not say: its inference component and its dialect, asked of SageMaker once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from llm_deploy.client.clients import lookup_client
from llm_deploy.client.patience import UnreachableError
from llm_deploy.client.sagemaker_errors import translate
from llm_deploy.dialects.registry import DIALECTS
from llm_deploy.errors import AccessDeniedError, InferenceRequestError
from llm_deploy.resource import TAG_DIALECT

T = TypeVar("T")

_UNKNOWN_DIALECT = "auto"


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an endpoint; the component is `None` where there is none, or where asking is not permitted."""

    inference_component_name: str | None
    dialect: str


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
    client = lookup_client(session)
    if dialect == _UNKNOWN_DIALECT:
        dialect = _asked(lambda: _tagged_dialect(client, endpoint_name), endpoint_name, otherwise=_UNKNOWN_DIALECT)
    if component is None:
        names: list[str] = _asked(lambda: _components(client, endpoint_name), endpoint_name, otherwise=[])
        component = _only(names, endpoint_name)
    return Found(component, dialect)


def _asked(ask: Callable[[], T], endpoint_name: str, *, otherwise: T) -> T:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with the client

    try:
        return ask()
    except (ClientError, BotoCoreError) as error:
        translated = translate(error, f"look up endpoint {endpoint_name}")
        if isinstance(translated, AccessDeniedError | UnreachableError):
            return otherwise
        raise translated from error


def _tagged_dialect(client: Any, endpoint_name: str) -> str:  # noqa: ANN401 - boto3 ships no types
    arn = client.describe_endpoint(EndpointName=endpoint_name)["EndpointArn"]
    tags = client.list_tags(ResourceArn=arn)["Tags"]
    value = next((tag["Value"] for tag in tags if tag["Key"] == TAG_DIALECT), _UNKNOWN_DIALECT)
    return value if value in DIALECTS else _UNKNOWN_DIALECT


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
