"""What an endpoint that is being created will run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import Found
from llm_deploy.resource import ENDPOINT
from llm_deploy.targets.sagemaker.machines import machines


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


def endpoint(config: str, **described: object) -> Found:
    return Found(ENDPOINT, "twin", {"EndpointConfigName": config, **described})


def test_the_config_tells_what_is_asked_for() -> None:
    """None runs yet, two are wanted: that is what will be billed."""
    asked = {"variant": "v", "type": "ml.g5.2xlarge", "count": 0, "desired": 2}
    assert machines(session(), endpoint("twin-1")) == (asked,)


def test_what_runs_is_told_by_the_endpoint() -> None:
    """Scaling has changed the number that the config asked for."""
    variants = [{"VariantName": "v", "CurrentInstanceCount": 3, "DesiredInstanceCount": 4}]
    running = {"variant": "v", "type": "ml.g5.2xlarge", "count": 3, "desired": 4}
    assert machines(session(), endpoint("twin-1", ProductionVariants=variants)) == (running,)


def test_machines_that_come_up_for_an_update_are_counted_too() -> None:
    """Two fleets bill for a while."""
    variants = [{"VariantName": "v", "CurrentInstanceCount": 1, "DesiredInstanceCount": 1}]
    coming = {"ProductionVariants": [{"VariantName": "v", "InstanceType": "ml.g6.xlarge", "DesiredInstanceCount": 2}]}
    found = machines(session(), endpoint("twin-1", ProductionVariants=variants, PendingDeploymentSummary=coming))
    assert [(each["type"], each["count"] or each["desired"]) for each in found] == [
        ("ml.g5.2xlarge", 1),
        ("ml.g6.xlarge", 2),
    ]


def test_without_a_config_nothing_is_known() -> None:
    """Rather than an error: the endpoint itself is there to be looked at."""
    assert machines(session(), endpoint("gone")) == ()
