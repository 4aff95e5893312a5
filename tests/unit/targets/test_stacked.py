"""What a stack's state means for a deployment, before anything else is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from llm_deploy.aws import Session
from llm_deploy.deploy.plan import Action
from llm_deploy.errors import ConflictError, WaitTimeoutError
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.settings import Settings
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.events import STACK
from llm_deploy.targets.stacked import StackDeployer, StackDeployment
from tests.fakes.cloud import FakeClock
from tests.fakes.stacks import NAME, FakeCloudFormation, event, member, stack_event
from tests.specs import PLACE, ROLE, twin

OURS = {TAG_DEPLOYMENT: "twin"}


@dataclass(frozen=True)
class FakeSts:
    """Says who is asking."""

    def get_caller_identity(self) -> dict[str, Any]:
        """Somebody of the specs' account."""
        return {"Account": PLACE.account, "Arn": f"arn:aws:iam::{PLACE.account}:user/somebody"}


def deployer(cloud: FakeCloudFormation) -> StackDeployer:
    """A deployer whose CloudFormation is this, and for whom there is nothing else."""
    clients = {**cloud.session()._clients, "sts": FakeSts()}
    session = Session(region=PLACE.region, _clients=clients)
    return StackDeployer(Connection("sagemaker", session, Settings()), FakeClock())


def planned(cloud: FakeCloudFormation) -> StackDeployment:
    return deployer(cloud).plan(twin(execution_role_arn=ROLE))


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"])
def test_a_stuck_stack_is_refused_with_its_reason_and_the_way_out(status: str) -> None:
    """Only a person can say what to skip."""
    cloud = FakeCloudFormation([status], reason="Endpoint failed to update", tags=OURS)
    with pytest.raises(ConflictError, match=f"is {status}: Endpoint failed to update") as refused:
        planned(cloud)
    assert f"continue-update-rollback --stack-name {NAME}" in (refused.value.hint or "")
    assert cloud.calls == []


@pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"])
def test_an_operation_of_an_earlier_run_is_followed_first(status: str) -> None:
    """Nothing is planned beside it, nothing is asked of CloudFormation, and its failure is no failure of ours."""
    cloud = FakeCloudFormation([status, status, "ROLLBACK_COMPLETE"], tags=OURS)
    cloud.events = [stack_event(1, "CREATE_IN_PROGRESS"), event(2, "CREATE_FAILED", "X::Y", "arn:y/z", "no luck")]
    found = planned(cloud)
    (line,) = found.plan.changes
    assert (found.follows_first, found.empty, line.action, line.kind) == (True, False, Action.KEEP, STACK)
    assert {step.name for step in deployer(cloud).apply(found)} == {"z"}
    assert cloud.calls == []


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_stack_that_can_only_be_deleted_is_deleted_first_and_the_plan_says_so(status: str) -> None:
    """Planning itself deletes nothing."""
    cloud = FakeCloudFormation([status], tags=OURS)
    found = planned(cloud)
    first, *others = found.plan.changes
    assert (first.action, first.kind, first.name) == (Action.DELETE, STACK, NAME)
    assert status in first.note
    assert {change.action for change in others} == {Action.CREATE}
    assert cloud.calls == []


def test_a_stack_that_can_only_be_deleted_is_kept_while_it_holds_what_others_added() -> None:
    """Its tag says whose the stack is, not whose is all that it holds."""
    cloud = FakeCloudFormation(["DELETE_FAILED"], tags=OURS, members=[member("AWS::S3::Bucket", "precious")])
    with pytest.raises(ConflictError, match="holds 'twin' and more: Bucket Bucket") as refused:
        planned(cloud)
    assert "DeletionPolicy: Retain" in (refused.value.hint or "")
    assert cloud.calls == []


def test_a_change_set_is_waited_for_as_long_as_was_allowed() -> None:
    """The time that the caller allows is for the plan too."""
    cloud = FakeCloudFormation(change_set={"Status": "CREATE_IN_PROGRESS"})
    late = deployer(cloud)
    with pytest.raises(WaitTimeoutError, match="is still CREATE_IN_PROGRESS"):
        late.plan(twin(execution_role_arn=ROLE), timeout_s=7.0)
    assert late.clock.now_s() == pytest.approx(7.0)


def test_a_stack_of_another_deployment_is_not_ours() -> None:
    """A name alone proves nothing."""
    with pytest.raises(ConflictError, match="exists already and is not ours"):
        planned(FakeCloudFormation(["CREATE_COMPLETE"], tags={TAG_DEPLOYMENT: "other"}))
