"""What an endpoint's callers need not say: its inference component and its dialect, asked of SageMaker once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_deploy.aws import aws_errors
from llm_deploy.errors import AccessDeniedError, CloudError, InferenceRequestError

DIALECT_TAG = "llmdeploy:dialect"
"""Put on the endpoint when it is deployed."""

_UNKNOWN_DIALECT = "auto"


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an endpoint; the component is `None` where there is none, or where asking is not permitted."""

    inference_component_name: str | None
    dialect: str


def discover(session: Any, endpoint_name: str, *, component: str | None, dialect: str) -> Found:  # noqa: ANN401 - ours or boto3's
    """Fill in what was not given: `component` `None`, `dialect` `auto`.

    A caller that may only invoke is told nothing by SageMaker; then the component stays unknown (an endpoint that
    needs one says so when it is called) and the dialect is found by trying.

    Raises:
        NotFoundError: There is no such endpoint.
        CredentialsError: As the name says.
        InferenceRequestError: Several components; the message names them.
    """
    if component is not None and dialect != _UNKNOWN_DIALECT:
        return Found(component, dialect)
    client = session.client("sagemaker")
    if dialect == _UNKNOWN_DIALECT:
        dialect = _tagged_dialect(client, endpoint_name) or _UNKNOWN_DIALECT
    return Found(component or _only_component(client, endpoint_name), dialect)


def _tagged_dialect(client: Any, endpoint_name: str) -> str | None:  # noqa: ANN401 - boto3 ships no types
    try:
        with aws_errors(f"look up endpoint {endpoint_name}"):
            arn = client.describe_endpoint(EndpointName=endpoint_name)["EndpointArn"]
            tags = client.list_tags(ResourceArn=arn)["Tags"]
    except (AccessDeniedError, CloudError):
        return None
    return next((tag["Value"] for tag in tags if tag["Key"] == DIALECT_TAG), None)


def _only_component(client: Any, endpoint_name: str) -> str | None:  # noqa: ANN401 - as above
    try:
        with aws_errors(f"list the inference components of endpoint {endpoint_name}"):
            answer = client.list_inference_components(EndpointNameEquals=endpoint_name, MaxResults=100)
    except (AccessDeniedError, CloudError):
        return None
    names = sorted(each["InferenceComponentName"] for each in answer["InferenceComponents"])
    if len(names) > 1:
        raise InferenceRequestError(
            f"endpoint {endpoint_name} has {len(names)} inference components: {', '.join(names)}",
            hint="Say which one: inference_component_name (--component on the command line).",
        )
    return names[0] if names else None
