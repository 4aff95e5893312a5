"""What an endpoint that is being created will run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.targets.sagemaker.machines import asked_for


class FakeSageMaker:
    """One endpoint config, `twin-1`."""

    def describe_endpoint_config(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - requests are documents
        """As SageMaker describes it."""
        if request["EndpointConfigName"] != "twin-1":
            raise ClientError(
                {"Error": {"Code": "ValidationException", "Message": 'Could not find endpoint configuration "x".'}},
                "DescribeEndpointConfig",
            )
        variants = [{"VariantName": "v", "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 2}]
        return {"EndpointConfigArn": "arn", "ProductionVariants": variants}

    def get_paginator(self, _operation: str) -> FakeSageMaker:
        """Of its tags."""
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as above
        """None."""
        yield {"Tags": []}


def session() -> Session:
    return Session("eu-central-1", _clients={"sagemaker": FakeSageMaker()})


def test_the_config_tells_what_is_asked_for() -> None:
    """None runs yet, two are wanted: that is what will be billed."""
    assert asked_for(session(), "twin-1") == ({"variant": "v", "type": "ml.g5.2xlarge", "count": 0, "desired": 2},)


def test_without_a_config_nothing_is_known() -> None:
    """Rather than an error: the endpoint itself is there to be looked at."""
    assert asked_for(session(), "gone") == ()
