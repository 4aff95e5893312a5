"""What goes with the stack that holds a deployment: shown in the plan of its deletion, or refused."""

from __future__ import annotations

import pytest

from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Plan, deletion
from llm_deploy.errors import ConflictError
from llm_deploy.resource import MODEL, TAG_DEPLOYMENT
from llm_deploy.settings import Settings
from llm_deploy.targets.holders import stacks_of, with_stacks
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.events import STACK
from tests.fakes.stacks import NAME, FakeCloudFormation, member

MODELS = "arn:aws:sagemaker:eu-central-1:000000000000:model"
BUCKET = member("AWS::S3::Bucket", "precious")
PLAN = Plan("twin", (deletion(Found(MODEL, "twin-1", owned_by="twin")),))


def whole_plan(cloud: FakeCloudFormation) -> Plan:
    """The plan of a removal of which this stack holds the model."""
    connection = Connection("sagemaker", cloud.session(), Settings())
    return with_stacks(PLAN, stacks_of("twin", connection, ()), connection)


def stack(*members: dict[str, object]) -> FakeCloudFormation:
    """The deployment's own stack, with the model and these in it."""
    held = [member(MODEL, f"{MODELS}/twin-1"), *members]
    return FakeCloudFormation(["CREATE_COMPLETE"], tags={TAG_DEPLOYMENT: "twin"}, members=held)


def test_all_that_a_stack_holds_is_in_the_plan_of_its_deletion() -> None:
    """Each once: what is the deployment's own stands there anyhow."""
    found = whole_plan(stack(member(MODEL, f"{MODELS}/added-by-hand")))
    assert [(change.kind, change.name) for change in found.changes] == [
        (STACK, NAME),
        (MODEL, "added-by-hand"),
        (MODEL, "twin-1"),
    ]
    assert found.changes[1].note == f"held by stack {NAME}"


def test_what_no_deployment_is_made_of_keeps_its_stack() -> None:
    """Our tag on a stack does not make a bucket in it ours; the way out is told."""
    cloud = stack(BUCKET)
    with pytest.raises(ConflictError, match=f"stack '{NAME}' holds 'twin' and more: Bucket Bucket") as refused:
        whole_plan(cloud)
    assert "DeletionPolicy: Retain" in (refused.value.hint or "")
    assert cloud.calls == []


def test_a_stack_that_is_only_under_review_holds_nothing() -> None:
    """It has change sets and no resource, so nothing stands in its way."""
    cloud = FakeCloudFormation(["REVIEW_IN_PROGRESS"], tags={TAG_DEPLOYMENT: "twin"}, members=[BUCKET])
    assert [change.kind for change in whole_plan(cloud).changes] == [STACK, MODEL]
