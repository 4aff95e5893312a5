"""What is listed: ours, also in an account that holds other people's endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.errors import CloudError
from llm_deploy.resource import TAG_DEPLOYMENT, TAG_ENDPOINT_TYPE, TAG_MODEL, TAG_STACK
from llm_deploy.targets.sagemaker.overview import deployments
from llm_deploy.targets.sagemaker.tags import tags_of

ARN = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/"
OURS = {TAG_DEPLOYMENT: "twin", TAG_ENDPOINT_TYPE: "model", TAG_MODEL: "org/m"}
AGE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeSageMaker:
    """Lists and tags of endpoints as SageMaker gives them, one tag a page, with its refusals.

    Attributes:
        endpoints: Tags by name; an error's code in their place is what asking for them answers.
    """

    endpoints: dict[str, dict[str, str] | str]

    def get_paginator(self, operation: str) -> FakePaginator:
        """A paginator for one of the three lists that are asked for."""
        return FakePaginator(self, operation)

    def pages(self, operation: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The pages of an answer."""
        if operation == "list_endpoints":
            names = self.endpoints
            described = [{"EndpointName": name, "EndpointArn": ARN + name} for name in names]
            yield {"Endpoints": [item | {"EndpointStatus": "InService", "CreationTime": AGE} for item in described]}
        elif operation == "list_inference_components":
            yield {"InferenceComponents": []}
        else:
            yield from self.tags(request["ResourceArn"])

    def tags(self, arn: str) -> Iterator[dict[str, Any]]:
        """An endpoint's tags, or the refusal."""
        tags = self.endpoints[arn.removeprefix(ARN)]
        if isinstance(tags, str):
            raise ClientError({"Error": {"Code": tags, "Message": f"no tags of {arn} for you"}}, "ListTags")
        yield {"Tags": []}
        for key, value in tags.items():
            yield {"Tags": [{"Key": key, "Value": value}]}


@dataclass
class FakePaginator:
    """What `get_paginator` gives."""

    sagemaker: FakeSageMaker
    operation: str

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - requests are documents
        """The pages."""
        return self.sagemaker.pages(self.operation, request)


def session(endpoints: dict[str, dict[str, str] | str]) -> Session:
    """A session whose SageMaker client is the fake."""
    return Session("eu-central-1", _clients={"sagemaker": FakeSageMaker(endpoints)})


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFound"])
def test_an_endpoint_whose_tags_may_not_be_read_is_not_ours(code: str) -> None:
    """The deploy identity reads tags of its prefix only; a stranger's endpoint must not end the whole list."""
    found = list(deployments(session({"stranger": code, "twin": OURS, "untagged": {"team": "x"}})))
    assert [(item.name, item.endpoint_type, item.model) for item in found] == [("twin", "model", "org/m")]


def test_the_stack_that_holds_a_deployment_is_told_by_its_tag() -> None:
    """Such a one is changed through the stack alone, which a list of what may be changed has to say."""
    found = deployments(session({"one": OURS, "two": OURS | {TAG_STACK: "llmdeploy-two"}}))
    assert {item.name: item.stack for item in found} == {"one": None, "two": "llmdeploy-two"}


def test_another_error_is_no_empty_answer() -> None:
    """What is not known is not taken for absent."""
    with pytest.raises(CloudError):
        list(deployments(session({"twin": "InternalFailure"})))


def test_tags_are_read_over_all_pages() -> None:
    """Ownership may stand on the last of them."""
    assert tags_of(session({"twin": OURS}), f"{ARN}twin") == OURS
