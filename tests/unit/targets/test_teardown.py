"""The receipt of a removal: what is left is listed with its price, and is an error."""

from __future__ import annotations

import pytest

from llm_deploy.deploy.inventory import Found, State
from llm_deploy.deploy.plan import Plan, deletion
from llm_deploy.deploy.receipt import Left, Receipt
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import LeftoverError, WaitTimeoutError
from llm_deploy.resource import ENDPOINT
from llm_deploy.settings import Settings
from llm_deploy.targets.deployment import KindManagers
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.stack.stacks import Stack
from llm_deploy.targets.teardown import Removal, carry_out, check
from tests.fakes.cloud import FakeClock, FakeCloud
from tests.fakes.stacks import NAME, STACK_ID, FakeCloudFormation, stack_event


def receipt(*left: Left, usd_per_hour: float | None = 0.0) -> Receipt:
    return Receipt("twin", "sagemaker", "123456789012", "eu-central-1", (), 1.0, usd_per_hour, left=left)


def test_nothing_left_is_no_error() -> None:
    """That is what the exit code 0 says."""
    check(receipt())


def test_what_is_left_is_listed_with_what_it_costs() -> None:
    """One line an object, and the sum."""
    left = (Left("Endpoint", "twin", "Failed", 1.515), Left("Model", "twin-1", "", 0.0))
    with pytest.raises(LeftoverError) as caught:
        check(receipt(*left, usd_per_hour=1.515))
    assert caught.value.exit_code == 11
    assert caught.value.message.splitlines() == [
        "still there after the deletion of twin:",
        "  Endpoint twin (Failed), $1.51/h",
        "  Model twin-1, $0.00/h",
        "still billing: $1.51/h",
    ]


def test_the_time_allowed_is_for_the_stack_and_the_rest_together() -> None:
    """What the stack's deletion takes is gone for what is removed after it."""
    clock, cloud, rest = FakeClock(), FakeCloud(), FakeClock()
    stacks = FakeCloudFormation(["DELETE_IN_PROGRESS"] * 40 + ["DELETE_COMPLETE"])
    stacks.events = [stack_event(1, "DELETE_IN_PROGRESS")]
    left = Found(ENDPOINT, "twin", state=State.DELETING, status="Deleting", owned_by="twin")
    cloud.objects[left.key] = left
    cloud.looks_left[left.key] = 1000
    removal = Removal(
        name="twin",
        connection=Connection("sagemaker", stacks.session(), Settings()),
        service=DeploymentService(KindManagers(cloud.managers), rest),
        plan=Plan("twin", ()),
        not_ours=(),
        usd_per_hour=0.0,
        stacks=(Stack(NAME, STACK_ID, "DELETE_IN_PROGRESS"),),
        objects=Plan("twin", (deletion(left),)),
    )
    with pytest.raises(WaitTimeoutError):
        list(carry_out(removal, timeout_s=100.0, clock=clock))
    assert clock.now_s() > 10
    assert clock.now_s() + rest.now_s() == pytest.approx(100.0)


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    """A component whose endpoint is gone may bill."""
    with pytest.raises(LeftoverError, match="still billing: price unknown"):
        check(receipt(Left("InferenceComponent", "twin", "InService", None), usd_per_hour=None))
