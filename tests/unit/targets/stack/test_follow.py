"""How following a stack ends: well, with a reason, too late, or with something that cannot be deleted."""

from __future__ import annotations

import pytest

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.plan import Action
from llm_deploy.errors import (
    AccessDeniedError,
    ConflictError,
    DeployError,
    LeftoverError,
    NotFoundError,
    QuotaError,
    WaitTimeoutError,
)
from llm_deploy.resource import ENDPOINT, MODEL, Resource
from llm_deploy.targets.stack.events import STACK, EventReader
from llm_deploy.targets.stack.follow import NOT_VISIBLE_S, Follower
from llm_deploy.targets.stack.stacks import Stack, Stacks, Wish
from tests.fakes.cloud import FakeClock
from tests.fakes.stacks import NAME, STACK_ID, FakeCloudFormation, event, member, stack_event

WISH = Wish(NAME, "UPDATE", "{}")
UPDATED = Stack(NAME, STACK_ID, "CREATE_COMPLETE")
ENDPOINT_ARN = "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/twin"


def follower(cloud: FakeCloudFormation, clock: FakeClock | None = None, patience_s: float = 600.0) -> Follower:
    """A follower of this cloud with a clock that needs no time."""
    clock = clock or FakeClock()
    return Follower(Stacks(cloud.session()), clock, clock.now_s() + patience_s)


def ended(status: str, *events: dict[str, object]) -> FakeCloudFormation:
    """A stack that has come to an end."""
    return FakeCloudFormation([status], then=[stack_event(1, "UPDATE_IN_PROGRESS"), *events])


def test_no_changes_is_none_and_leaves_no_change_set() -> None:
    """A change set that failed because nothing changes is no failure."""
    reason = "The submitted information didn't contain changes. Submit different information to create a change set."
    cloud = FakeCloudFormation(["UPDATE_COMPLETE"], change_set={"Status": "FAILED", "StatusReason": reason})
    assert follower(cloud).worked_out(WISH) is None
    assert cloud.calls == ["discard", "create UPDATE", "discard"]


def test_what_early_validation_found_is_told() -> None:
    """Its change set says only that there is something; what it is has to be asked for."""
    reason = "The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]."
    words = "Required property [PolicyDocument] not found"
    cloud = FakeCloudFormation(change_set={"Status": "FAILED", "StatusReason": reason}, validation=[words])
    with pytest.raises(DeployError, match=r"Required property \[PolicyDocument\] not found"):
        follower(cloud).worked_out(WISH)
    assert cloud.calls[-1] == "discard"


def test_a_change_set_that_takes_too_long_is_an_error() -> None:
    """Waiting ends at the deadline, with what it was waiting for."""
    cloud = FakeCloudFormation(change_set={"Status": "CREATE_IN_PROGRESS"})
    with pytest.raises(WaitTimeoutError, match="change set of stack 'llmdeploy-twin' is still CREATE_IN_PROGRESS"):
        follower(cloud, patience_s=5).worked_out(WISH)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances", QuotaError),
        ("Could not find model data at s3://bucket/x/.", NotFoundError),
        (
            "User: x is not authorized to perform: a:B (Status Code: 400; Error Code: AccessDeniedException; )",
            AccessDeniedError,
        ),
        (
            '"User: x is not authorized to perform: a:B" (RequestToken: 1, HandlerErrorCode: AccessDenied)',
            AccessDeniedError,
        ),
        ("The primary container for production variant main did not pass the ping health check.", DeployError),
    ],
)
def test_a_failure_is_of_the_kind_that_its_reason_has_elsewhere(reason: str, kind: type[DeployError]) -> None:
    """Exit codes are the same as on the way without a stack, and the resource's own words are told."""
    cloud = ended("ROLLBACK_COMPLETE", event(2, "CREATE_FAILED", ENDPOINT, ENDPOINT_ARN, reason))
    with pytest.raises(kind) as caught:
        list(follower(cloud).executed(Stack(NAME, "old", "REVIEW_IN_PROGRESS"), "change-set", {}))
    assert type(caught.value) is kind
    assert f"Endpoint 'twin': {reason}" in caught.value.message


def test_a_failed_update_that_went_back_says_that_the_old_one_serves() -> None:
    """The person has to know whether callers are answered."""
    cloud = ended("UPDATE_ROLLBACK_COMPLETE", event(2, "UPDATE_FAILED", MODEL, "arn:x/m", "no such data"))
    with pytest.raises(DeployError) as caught:
        list(follower(cloud).executed(UPDATED, "change-set", {}))
    assert "serves on" in (caught.value.hint or "")


def test_a_stack_that_fails_without_a_resource_gives_its_own_reason() -> None:
    """An output that cannot be resolved fails no resource."""
    cloud = ended("ROLLBACK_COMPLETE")
    cloud.then.append(stack_event(2, "CREATE_FAILED", "Requested attribute X does not exist"))
    with pytest.raises(DeployError, match="Requested attribute X does not exist"):
        list(follower(cloud).executed(UPDATED, "change-set", {}))


def test_an_operation_that_is_not_visible_yet_is_waited_for() -> None:
    """CloudFormation's answers may lag behind: a stack that looks done has not begun."""
    cloud = FakeCloudFormation(["CREATE_COMPLETE"], events=[stack_event(0, "CREATE_COMPLETE")])
    clock = FakeClock()
    list(follower(cloud, clock).executed(UPDATED, "change-set", {}))
    assert clock.now_s() > NOT_VISIBLE_S


def test_waiting_tells_the_resource_that_is_waited_for() -> None:
    """A live line names the endpoint, not the stack, while the endpoint is made."""
    cloud = FakeCloudFormation(["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"])
    cloud.events = [stack_event(1, "UPDATE_IN_PROGRESS"), event(2, "UPDATE_IN_PROGRESS", ENDPOINT, ENDPOINT_ARN)]
    steps: list[Step] = list(follower(cloud).until_settled(UPDATED, EventReader()))
    assert {(step.stage, step.action, step.name) for step in steps} == {(Stage.WAITING, Action.UPDATE, "twin")}
    assert steps[-1].elapsed_s > 0


def test_what_has_no_name_yet_is_told_by_the_name_that_is_known() -> None:
    """CloudFormation's first event of a resource has only its logical id, which says little to a person."""
    cloud = FakeCloudFormation(["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"], members=[member(MODEL, "arn:x/model/twin-1")])
    nameless = [event(number, "UPDATE_IN_PROGRESS", kind, "") for number, kind in ((2, ENDPOINT), (3, MODEL))]
    cloud.events = [stack_event(1, "UPDATE_IN_PROGRESS"), *nameless]
    wanted = [
        Resource("Endpoint", ENDPOINT, "twin", {}),
        Resource("Model", MODEL, "twin-of-another-spec", {}),
    ]
    steps = [step for step in follower(cloud).followed(UPDATED, wanted) if step.kind != STACK]
    assert {(step.kind, step.name) for step in steps} == {(ENDPOINT, "twin"), (MODEL, "twin-1")}


def test_a_change_set_that_another_run_has_replaced_is_a_conflict() -> None:
    """Of two runs that plan at once one executes; the other hears of it and has changed nothing."""
    cloud = FakeCloudFormation(["CREATE_COMPLETE"], lost=True)
    with pytest.raises(ConflictError, match="another run has planned since"):
        follower(cloud).begin(UPDATED, "change-set")


def test_a_deletion_that_fails_is_tried_once_more_and_then_names_what_blocks() -> None:
    """No endless loop, and the way out that CloudFormation has for it."""
    cloud = FakeCloudFormation(["DELETE_FAILED"], events=[stack_event(1, "CREATE_COMPLETE")])
    cloud.then = [
        stack_event(2, "DELETE_IN_PROGRESS"),
        event(3, "DELETE_FAILED", ENDPOINT, ENDPOINT_ARN, "somebody holds it"),
    ]
    with pytest.raises(LeftoverError, match="cannot be deleted: Endpoint 'twin': somebody holds it") as caught:
        list(follower(cloud).deleted(UPDATED))
    assert "--retain-resources" in (caught.value.hint or "")
    assert cloud.calls == ["delete", "delete"]


def test_a_deleted_stack_ends_the_deletion_with_a_step() -> None:
    """The receipt counts the stack too."""
    cloud = FakeCloudFormation(["DELETE_COMPLETE"], events=[stack_event(1, "DELETE_IN_PROGRESS")])
    *_, last = follower(cloud).deleted(Stack(NAME, STACK_ID, "DELETE_IN_PROGRESS"))
    assert (last.stage, last.action, last.name) == (Stage.DONE, Action.DELETE, NAME)
    assert cloud.calls == ["delete"]
