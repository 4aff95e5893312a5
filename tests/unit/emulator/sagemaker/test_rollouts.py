"""How updates are rolled out and undone: stages, shares, alarms and limits, on a clock that a test turns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_deploy.emulator.sagemaker import rollout
from llm_deploy.emulator.store import Store
from tests.unit.emulator.world import FakeLauncher, RefusedError, World, in_world, world

HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}
ALARMS: dict[str, Any] = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}, {"AlarmName": "latency"}]}}
MODEL_M = {"ModelName": "m", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024}}


def blue_green(kind: str, wait_s: int = 300, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON document
    """A blue/green policy with our alarms; members of the routing begin with a capital `C` or `L`."""
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait_s}
    routing |= {name: more.pop(name) for name in ("CanarySize", "LinearStepSize") if name in more}
    policy: dict[str, Any] = {"TrafficRoutingConfiguration": routing, **more}
    return {"BlueGreenUpdatePolicy": policy, **ALARMS}


def rolling(value: int, unit: str = "CAPACITY_PERCENT", wait_s: int = 300) -> dict[str, Any]:
    """A rolling policy with our alarms."""
    size = {"Type": unit, "Value": value}
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait_s}, **ALARMS}


async def update(here: World, deployment: dict[str, Any], **variant: Any) -> None:  # noqa: ANN401 - members of a variant
    """Make config `e2` and move endpoint `e` to it."""
    await here.config("e2", "m", **variant)
    await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2", DeploymentConfig=deployment)


async def seen(here: World) -> tuple[str, str, int]:
    """Status, the pending variant's stage, and how many new machines take traffic."""
    found = await here.call("DescribeEndpoint", EndpointName="e")
    if "PendingDeploymentSummary" not in found:
        return found["EndpointStatus"], "", 0
    (variant,) = found["PendingDeploymentSummary"]["ProductionVariants"]
    return found["EndpointStatus"], variant["VariantStatus"][0]["Status"], variant["CurrentInstanceCount"]


def test_a_canary_bakes_with_a_part_and_then_with_the_whole() -> None:
    """As DescribeEndpoint tells it. Ledger: sm.update.status, sm.update.baking, sm.update.launching."""

    async def story(here: World) -> None:
        await here.endpoint(InitialInstanceCount=4)
        await update(
            here, blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), InitialInstanceCount=4
        )
        assert await seen(here) == ("Updating", "Creating", 0)
        await here.advance(250)
        assert await seen(here) == ("Updating", "Baking", 1)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        (variant,) = found["PendingDeploymentSummary"]["ProductionVariants"]
        assert variant["VariantStatus"][0]["StatusMessage"] == (
            "Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
        )
        await here.advance(300)
        assert await seen(here) == ("Updating", "Baking", 4)
        assert found["EndpointConfigName"] == "e"
        await here.advance(300)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e2")
        assert found["LastDeploymentConfig"]["AutoRollbackConfiguration"] == ALARMS["AutoRollbackConfiguration"]
        assert len(here.launcher.running()) == 4

    in_world(story)


def test_the_old_fleet_is_kept_for_the_termination_wait() -> None:
    """All traffic is on the new side and an alarm can still take it back."""

    async def story(here: World) -> None:
        await here.endpoint()
        await update(here, blue_green("ALL_AT_ONCE", 0, TerminationWaitInSeconds=600))
        await here.advance(300)
        assert len(here.launcher.running()) == 2
        assert await seen(here) == ("Updating", "Baking", 1)
        await here.advance(600)
        assert len(here.launcher.running()) == 1
        assert await here.endpoint_status() == "InService"

    in_world(story)


@pytest.mark.parametrize("moment_s", [0, 260, 560, 860])
def test_an_alarm_at_any_stage_takes_everything_back(moment_s: float) -> None:
    """InService on the old config, with the alarm's name in the reason. Ledger: sm.update.alarm, sm.update.rollback."""

    async def story(here: World) -> None:
        await here.endpoint(InitialInstanceCount=2)
        old = here.launcher.running()
        await update(
            here, blue_green("LINEAR", LinearStepSize=HALF, TerminationWaitInSeconds=300), InitialInstanceCount=2
        )
        await here.advance(moment_s)
        here.cloud.hooks.alarms_on = lambda names: [name for name in names if name == "latency"]
        for _ in range(30):
            if await here.endpoint_status() == "RollingBack":
                break
            await here.advance(10)
        with pytest.raises(RefusedError, match="in-progress"):
            await here.call("DeleteEndpoint", EndpointName="e")
        await here.advance(60)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e")
        assert "latency" in found["FailureReason"]
        assert "errors" not in found["FailureReason"]
        assert here.launcher.running() == old

    in_world(story)


def test_an_alarm_without_a_wait_is_not_looked_at() -> None:
    """A baking period is when alarms are watched; there is none at zero seconds. Ledger: sm.update.alarm."""

    async def story(here: World) -> None:
        await here.endpoint()
        here.cloud.hooks.alarms_on = list
        await update(here, blue_green("ALL_AT_ONCE", 0))
        await here.advance(300)
        assert (await here.call("DescribeEndpoint", EndpointName="e"))["EndpointConfigName"] == "e2"

    in_world(story)


def test_rolling_needs_one_batch_and_blue_green_a_whole_fleet_beside_what_runs() -> None:
    """Both are counted against the quota. Ledger: sm.update.capacity, sm.endpoint.quota."""

    async def story(here: World) -> None:
        here.cloud.hooks.quota = lambda name: 5 if name.startswith("ml.g5.12xlarge") else None
        await here.endpoint(InitialInstanceCount=4)
        with pytest.raises(RefusedError, match="current utilization of 4 Instances and a request delta of 4"):
            await update(here, blue_green("ALL_AT_ONCE"), InitialInstanceCount=4)
        await here.call(
            "UpdateEndpoint",
            EndpointName="e",
            EndpointConfigName="e2",
            DeploymentConfig=rolling(1, "INSTANCE_COUNT", 0),
        )
        await here.advance(300)
        assert (await here.call("DescribeEndpoint", EndpointName="e"))["EndpointConfigName"] == "e2"

    in_world(story)


def test_an_update_that_takes_too_long_goes_back() -> None:
    """MaximumExecutionTimeoutInSeconds bounds the start and the waits. Ledger: sm.update.timeout."""

    async def story(here: World) -> None:
        await here.endpoint()
        here.launcher.healthy = False
        await update(here, blue_green("ALL_AT_ONCE", MaximumExecutionTimeoutInSeconds=600))
        await here.advance(670)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e")
        assert "MaximumExecutionTimeoutInSeconds (600)" in found["FailureReason"]

    in_world(story)


@pytest.mark.parametrize(
    ("deployment", "says"),
    [
        ({**blue_green("ALL_AT_ONCE"), **rolling(50)}, "Only one of"),
        (blue_green("CANARY"), "CanarySize is required"),
        (blue_green("LINEAR"), "LinearStepSize is required"),
        (
            blue_green("CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 51}),
            "CanarySize must be between 1 and 50",
        ),
        (blue_green("LINEAR", LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 9}), "must be between 10 and 50"),
        (rolling(4), "MaximumBatchSize must be between 5 and 50"),
        (rolling(2, "INSTANCE_COUNT"), "MaximumBatchSize must be between 5 and 50"),
        (blue_green("ALL_AT_ONCE", 3601), "less than or equal to 3600"),
        (blue_green("ALL_AT_ONCE", MaximumExecutionTimeoutInSeconds=599), "greater than or equal to 600"),
    ],
)
def test_what_a_rollout_may_not_be_is_refused(deployment: dict[str, Any], says: str) -> None:
    """Ledger: sm.update.one-policy, sm.update.size-needed, sm.update.share, protocol.constraint.max."""

    async def story(here: World) -> None:
        await here.endpoint(InitialInstanceCount=2)
        with pytest.raises(RefusedError, match=says):
            await update(here, deployment, InitialInstanceCount=2)
        assert await here.endpoint_status() == "InService"

    in_world(story)


def test_guardrails_want_the_same_variant_names() -> None:
    """Without a DeploymentConfig the variant may change. Ledger: sm.update.variant-names."""

    async def story(here: World) -> None:
        await here.endpoint()
        with pytest.raises(RefusedError, match="same variant names"):
            await update(here, rolling(50), VariantName="Other")
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2")
        await here.advance(300)
        assert await here.endpoint_status() == "InService"
        assert len(here.launcher.running()) == 1

    in_world(story)


def test_a_rollout_is_reused_only_when_asked_for() -> None:
    """The one of CreateEndpoint counts as the last. Ledger: sm.update.retain-config."""

    async def story(here: World) -> None:
        await here.model()
        await here.config("e", "m")
        await here.config("e2", "m")
        last = blue_green("ALL_AT_ONCE", 300)
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e", DeploymentConfig=last)
        await here.advance(300)
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2", RetainDeploymentConfig=True)
        await here.advance(300)
        assert await seen(here) == ("Updating", "Baking", 1)
        await here.advance(300)
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.advance(300)
        assert await here.endpoint_status() == "InService"

    in_world(story)


@pytest.mark.parametrize(
    ("deployment", "fleet", "sizes"),
    [
        ({}, 3, [3]),
        (blue_green("CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 30}), 4, [2, 4]),
        (blue_green("CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 30}), 1, [1]),
        (blue_green("LINEAR", LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 40}), 5, [2, 4, 5]),
        (rolling(2, "INSTANCE_COUNT"), 5, [2, 4, 5]),
    ],
)
def test_steps_are_whole_machines_and_end_with_all(deployment: dict[str, Any], fleet: int, sizes: list[int]) -> None:
    """Ledger: sm.update.whole-machines."""
    assert [step["active"] for step in rollout.steps(deployment, fleet)] == sizes


@pytest.mark.parametrize("moment_s", [100, 300, 600])
def test_a_restart_in_a_rollout_finishes_it(moment_s: float) -> None:
    """The old fleet comes back, the new one starts again; nothing is left over."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await before.endpoint(InitialInstanceCount=2)
            await update(before, blue_green("LINEAR", LinearStepSize=HALF), InitialInstanceCount=2)
            await before.advance(moment_s)
        async with world(store, launcher) as after:
            await after.advance(2000)
            found = await after.call("DescribeEndpoint", EndpointName="e")
            assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e2")
            assert len(launcher.running()) == 2

    asyncio.run(story())


def test_a_restart_while_rolling_back_stays_rolled_back() -> None:
    """What an alarm undid is not tried again by itself. Ledger: sm.update.rollback."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await before.endpoint()
            before.cloud.hooks.alarms_on = list
            await update(before, blue_green("ALL_AT_ONCE"))
            await before.advance(250)
            assert await before.endpoint_status() == "RollingBack"
        async with world(store, launcher) as after:
            await after.advance(1000)
            found = await after.call("DescribeEndpoint", EndpointName="e")
            assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e")
            assert "alarm" in found["FailureReason"]

    asyncio.run(story())


async def component(here: World) -> None:
    """An endpoint for components and one component `c` of two copies, in service."""
    await here.model()
    await here.model("m2", MAX_TOTAL_TOKENS="2048")
    await here.endpoint(model=None)
    await here.component(copies=2)
    await here.advance(400)


async def move(here: World, **more: Any) -> None:  # noqa: ANN401 - members of the request
    """Take component `c` to model `m2`."""
    specification = {
        "ModelName": "m2",
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1},
    }
    request = {"InferenceComponentName": "c", "Specification": specification, **more}
    await here.call("UpdateInferenceComponent", **request)


async def served(here: World) -> tuple[str, str]:
    """Status and model as described."""
    found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
    return found["InferenceComponentStatus"], found["Specification"]["ModelName"]


def of_copies(wait_s: int = 300) -> dict[str, Any]:
    return {"DeploymentConfig": rolling(1, "COPY_COUNT", wait_s)}


def test_a_component_rolls_copy_by_copy_and_is_described_as_it_was_until_then() -> None:
    """Two copies, one at a time, each with its baking period. Ledger: sm.update.component."""

    async def story(here: World) -> None:
        await component(here)
        await move(here, **of_copies())
        await here.advance(370)
        assert await served(here) == ("Updating", "m")
        await here.advance(500)
        assert await served(here) == ("Updating", "m")
        await here.advance(100)
        assert await served(here) == ("InService", "m2")
        assert len(here.launcher.running()) == 2

    in_world(story)


@pytest.mark.parametrize("cause", ["alarm", "ping", "room"])
def test_a_component_that_cannot_move_is_what_it_was(cause: str) -> None:
    """InService with the old document and the reason: what a deployer has to notice. Ledger: sm.update.component."""

    async def story(here: World) -> None:
        await component(here)
        old = here.launcher.running()
        if cause == "alarm":
            here.cloud.hooks.alarms_on = lambda names: list(names)[:1]
        here.launcher.healthy = cause != "ping"
        needs = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 9 if cause == "room" else 1}
        specification = {"ModelName": "m2", "ComputeResourceRequirements": needs}
        await move(here, Specification=specification, **of_copies())
        await here.advance(3000)
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
        assert await served(here) == ("InService", "m")
        words = {"alarm": "errors", "ping": "ping health check", "room": "not enough hardware"}
        assert words[cause] in found["FailureReason"]
        assert found["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
        assert here.launcher.running() == old

    in_world(story)


def test_a_batch_of_all_copies_is_refused() -> None:
    """5 to 50 % of the copies. Ledger: sm.update.share."""

    async def story(here: World) -> None:
        await component(here)
        with pytest.raises(RefusedError, match="between 5 and 50"):
            await move(here, DeploymentConfig=rolling(2, "COPY_COUNT"))

    in_world(story)


def test_a_restart_in_a_components_update_finishes_it() -> None:
    """The old copies come back first."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await component(before)
            await move(before, **of_copies())
            await before.advance(100)
        async with world(store, launcher) as after:
            await after.advance(1)
            assert [each.spec.environment for each in launcher.running()][:2] == [{}, {}]
            await after.advance(2000)
            assert await served(after) == ("InService", "m2")
            assert len(launcher.running()) == 2

    asyncio.run(story())
