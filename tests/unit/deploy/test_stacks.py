"""What a CloudFormation stack holds is not changed beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llm_deploy.deploy.plan import Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import ConflictError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    MODEL,
    TAG_DEPLOYMENT,
    TAG_OF_CLOUDFORMATION,
    TAG_STACK,
    Resource,
    stack_of,
)
from tests.fakes.cloud import FakeClock, FakeCloud

OURS = {TAG_DEPLOYMENT: "twin"}


def deployment(tags: dict[str, str]) -> tuple[Resource, ...]:
    """A model with these tags, and an endpoint and its config without any of a stack."""
    return (
        Resource("Model", MODEL, "twin-1", {"ModelName": "twin-1"}, {**OURS, **tags}),
        Resource("EndpointConfig", ENDPOINT_CONFIG, "c", {"EndpointConfigName": "c"}, OURS),
        Resource("Endpoint", ENDPOINT, "twin", {"EndpointConfigName": "c"}, OURS),
    )


def made(tags: dict[str, str]) -> FakeCloud:
    """A cloud that holds it."""
    cloud = FakeCloud()
    service = DeploymentService(cloud, FakeClock())
    for _ in service.apply(service.plan("twin", deployment(tags))):
        pass
    return cloud


@pytest.mark.parametrize("tag", [TAG_STACK, TAG_OF_CLOUDFORMATION])
def test_one_object_in_a_stack_stops_deploy_and_delete(tag: str) -> None:
    """CloudFormation's own tag is on models only, ours on all; either is enough, on any object."""
    cloud = made({tag: "stack-of-twin"})
    before = list(cloud.calls)
    service = DeploymentService(cloud, FakeClock())
    plans: tuple[Callable[[], Plan], ...] = (
        lambda: service.plan("twin", deployment({})),
        lambda: service.plan_deletion("twin"),
    )
    for planned in plans:
        with pytest.raises(ConflictError, match="stack 'stack-of-twin' holds objects of 'twin'") as refused:
            planned()
        assert "--via cloudformation" in (refused.value.hint or "")
        assert "delete-endpoint" in (refused.value.hint or "")
    assert cloud.calls == before


def test_the_tag_of_a_stack_that_is_gone_means_nothing() -> None:
    """What a deleted stack kept belongs to nobody but the deployment."""
    cloud = made({TAG_STACK: "gone"})
    service = DeploymentService(cloud, FakeClock(), stack_exists=lambda name: name != "gone")
    assert not service.plan("twin", deployment({})).changing
    for _ in service.delete(service.plan_deletion("twin")):
        pass
    assert cloud.objects == {}


def test_our_tag_is_asked_before_cloudformations() -> None:
    """They agree where both are; an object without either is in no stack."""
    assert stack_of({TAG_STACK: "a", TAG_OF_CLOUDFORMATION: "a"}) == "a"
    assert stack_of(OURS) is None
