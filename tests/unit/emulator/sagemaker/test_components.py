"""The life of an inference component, on a clock that a test turns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_deploy.emulator.store import Store
from tests.unit.emulator.world import FakeLauncher, RefusedError, World, in_world, world

MANAGED = {"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2}}


async def ready(here: World, copies: int = 1, **variant: Any) -> None:  # noqa: ANN401 - members of a variant
    """An endpoint for components, model `m`, and a component `c` just asked for."""
    await here.model()
    await here.endpoint(model=None, **variant)
    await here.component(copies=copies)


async def set_copies(here: World, count: int) -> None:
    """UpdateInferenceComponentRuntimeConfig."""
    await here.call(
        "UpdateInferenceComponentRuntimeConfig",
        InferenceComponentName="c",
        DesiredRuntimeConfig={"CopyCount": count},
    )


async def copy_counts(here: World) -> tuple[int, int]:
    """Desired and current."""
    found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
    return found["RuntimeConfig"]["DesiredCopyCount"], found["RuntimeConfig"]["CurrentCopyCount"]


def test_a_component_takes_its_time_and_needs_a_healthy_container() -> None:
    """Six minutes at AWS, and never before the process answers. Ledger: sm.component.create."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(359)
        assert await here.component_status() == "Creating"
        assert await copy_counts(here) == (1, 0)
        await here.advance(2)
        assert await here.component_status() == "InService"
        assert await copy_counts(here) == (1, 1)

    in_world(story)


def test_a_component_that_finds_no_room_fails_with_the_reason() -> None:
    """An ml.g5.xlarge takes 1024 MiB and not 4096. Ledger: sm.component.no-room, sm.component.memory-pool."""

    async def story(here: World) -> None:
        await here.model()
        await here.endpoint(model=None, InstanceType="ml.g5.xlarge")
        await here.component("small", MinMemoryRequiredInMb=1024)
        await here.advance(400)
        assert await here.component_status("small") == "InService"
        await here.call("DeleteInferenceComponent", InferenceComponentName="small")
        await here.advance(60)
        await here.component("large", MinMemoryRequiredInMb=4096)
        await here.advance(400)
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="large")
        assert found["InferenceComponentStatus"] == "Failed"
        assert found["FailureReason"].startswith("There is not enough hardware resources on the instances")
        assert here.launcher.running() == []

    in_world(story)


def test_managed_scaling_brings_instances_and_takes_them_away() -> None:
    """A second instance for copies that find no room, gone when idle. Ledger: sm.endpoint.idle-release."""

    async def story(here: World) -> None:
        await ready(here, copies=6, **MANAGED)
        await here.advance(1000)
        assert await here.component_status() == "InService"
        (variant,) = (await here.call("DescribeEndpoint", EndpointName="e"))["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == 2
        await set_copies(here, 1)
        await here.advance(1000)
        (variant,) = (await here.call("DescribeEndpoint", EndpointName="e"))["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == 1
        assert len(here.launcher.running()) == 1

    in_world(story)


def test_without_managed_scaling_copies_that_find_no_room_are_missing() -> None:
    """Scaling beyond the instances keeps what there is, and says why."""

    async def story(here: World) -> None:
        await ready(here, copies=4)
        await here.advance(400)
        await set_copies(here, 5)
        await here.advance(400)
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
        assert found["InferenceComponentStatus"] == "InService"
        assert found["FailureReason"].startswith("There is not enough hardware")
        assert await copy_counts(here) == (5, 4)
        assert len(here.launcher.running()) == 4

    in_world(story)


def test_copies_for_which_there_is_room_come_up_even_when_others_find_none() -> None:
    """From one to ten on a machine for four: four."""

    async def story(here: World) -> None:
        await ready(here, copies=1)
        await here.advance(400)
        await set_copies(here, 10)
        await here.advance(400)
        assert await copy_counts(here) == (10, 4)
        assert len(here.launcher.running()) == 4

    in_world(story)


def test_an_instance_that_was_just_added_is_not_taken_for_idle() -> None:
    """The look for idle instances of an earlier change does not undo a later one."""

    async def story(here: World) -> None:
        await ready(here, copies=4, **MANAGED)
        await here.advance(400)  # a look for idle instances is due 720 s after this
        await here.advance(600)
        await set_copies(here, 5)
        await here.advance(600)
        assert await copy_counts(here) == (5, 5)
        assert await here.component_status() == "InService"
        assert len(here.launcher.running()) == 5

    in_world(story)


def test_an_endpoint_deleted_under_an_update_leaves_no_process() -> None:
    """The new copies of a component whose endpoint goes are stopped too."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(400)
        requirements = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1}
        await here.call(
            "UpdateInferenceComponent",
            InferenceComponentName="c",
            Specification={"ModelName": "m", "ComputeResourceRequirements": requirements},
        )
        await here.call("DeleteEndpoint", EndpointName="e")
        await here.advance(1000)
        assert here.launcher.running() == []
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
        assert "does not exist any more" in found["FailureReason"]

    in_world(story)


def test_a_stand_in_says_in_its_log_for_whom_it_stands() -> None:
    """The line names the local model and the one that was asked for. Ledger: local.stand-in."""

    async def story(here: World) -> None:
        lines: list[tuple[str, str, str]] = []
        here.cloud.hooks.write_log = lambda *line: lines.append(line)
        await here.model(HF_MODEL_ID="mlabonne/TwinLlama-3.1-8B-DPO")
        await here.endpoint(model=None)
        await here.component()
        await here.advance(400)
        group, stream, line = lines[0]
        assert group == "/aws/sagemaker/InferenceComponents/c"
        assert stream.startswith("AllTraffic/i-")
        assert line == "local cloud: smollm2-135m-instruct stands in for mlabonne/TwinLlama-3.1-8B-DPO"

    in_world(story)


def test_to_zero_and_back() -> None:
    """Zero copies only by the runtime config, and one again later. Ledger: sm.component.copies."""

    async def story(here: World) -> None:
        await here.model()
        await here.endpoint(model=None)
        with pytest.raises(RefusedError, match="copy count an integer larger than 0"):
            await here.component(copies=0)
        await here.component()
        await here.advance(400)
        await set_copies(here, 0)
        await here.advance(400)
        assert await copy_counts(here) == (0, 0)
        assert here.launcher.running() == []
        await set_copies(here, 2)
        assert await here.component_status() == "Updating"
        await here.advance(400)
        assert await copy_counts(here) == (2, 2)
        assert len(here.launcher.running()) == 2

    in_world(story)


def test_scaling_keeps_the_copies_that_are_there() -> None:
    """A copy that works is not moved because another one comes."""

    async def story(here: World) -> None:
        await ready(here, copies=2)
        await here.advance(400)
        before = here.launcher.running()
        await set_copies(here, 3)
        await here.advance(400)
        assert here.launcher.running()[:2] == before

    in_world(story)


@pytest.mark.parametrize("operation", ["UpdateInferenceComponentRuntimeConfig", "DeleteInferenceComponent"])
def test_transient_states_refuse_with_the_name_of_the_state(operation: str) -> None:
    """Ledger: sm.component.in-progress."""
    more: dict[str, Any] = {"DesiredRuntimeConfig": {"CopyCount": 1}} if "Runtime" in operation else {}

    async def story(here: World) -> None:
        await ready(here)
        with pytest.raises(RefusedError, match="while it is in state CREATE_IN_PROGRESS"):
            await here.call(operation, InferenceComponentName="c", **more)
        await here.advance(400)
        await set_copies(here, 2)
        with pytest.raises(RefusedError, match="while it is in state UPDATE_RC_IN_PROGRESS"):
            await here.call(operation, InferenceComponentName="c", **more)
        await here.advance(400)
        await here.call("DeleteInferenceComponent", InferenceComponentName="c")
        with pytest.raises(RefusedError, match="while it is in state DELETE_IN_PROGRESS"):
            await here.call(operation, InferenceComponentName="c", **more)

    in_world(story)


def test_a_new_specification_replaces_the_copies_after_the_new_ones_are_up() -> None:
    """UpdateInferenceComponent is blue/green."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(400)
        (old,) = here.launcher.running()
        await here.model("m2", HF_MODEL_ID="other/model")
        requirements = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1}
        here.launcher.healthy = False
        await here.call(
            "UpdateInferenceComponent",
            InferenceComponentName="c",
            Specification={"ModelName": "m2", "ComputeResourceRequirements": requirements},
        )
        await here.advance(400)
        assert not old.stopped
        new = here.launcher.running()[-1]
        assert new.spec.served_name == "other/model"
        new.healthy.set()
        await here.advance(1)
        assert here.launcher.running() == [new]
        assert await here.component_status() == "InService"

    in_world(story)


def test_an_update_of_nothing_is_refused() -> None:
    """Ledger: sm.component.nothing."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(400)
        with pytest.raises(RefusedError, match="Either Specification or RuntimeConfig"):
            await here.call("UpdateInferenceComponent", InferenceComponentName="c")

    in_world(story)


def test_deleting_an_endpoint_leaves_its_components() -> None:
    """They say InService and block their names, without processes. Ledger: sm.endpoint.delete-keeps-components."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(400)
        await here.call("DeleteEndpoint", EndpointName="e")
        await here.advance(100)
        assert (await here.call("ListEndpoints"))["Endpoints"] == []
        assert await here.component_status() == "InService"
        assert here.launcher.running() == []
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.advance(300)
        with pytest.raises(RefusedError, match="Cannot create already existing inference component"):
            await here.component()
        await here.call("DeleteInferenceComponent", InferenceComponentName="c")
        await here.advance(100)
        assert (await here.call("ListInferenceComponents"))["InferenceComponents"] == []

    in_world(story)


def test_an_endpoint_deleted_under_a_component_that_comes_up_fails_the_component() -> None:
    """Nothing hangs in Creating for ever."""

    async def story(here: World) -> None:
        await ready(here)
        await here.advance(10)
        await here.call("DeleteEndpoint", EndpointName="e")
        await here.advance(2000)
        assert await here.component_status() in {"Failed", "InService"}
        assert here.launcher.running() == []
        await here.call("DeleteInferenceComponent", InferenceComponentName="c")
        await here.advance(100)
        assert (await here.call("ListInferenceComponents"))["InferenceComponents"] == []

    in_world(story)


@pytest.mark.parametrize("moment_s", [0, 100, 359, 400])
def test_a_restart_at_any_moment_ends_in_service(moment_s: float) -> None:
    """The copies come back with the cloud, as many as there were."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await ready(before, copies=2)
            await before.advance(moment_s)
        async with world(store, launcher) as after:
            await after.advance(1500)
            assert await after.component_status() == "InService"
            assert await copy_counts(after) == (2, 2)
            assert len(launcher.running()) == 2

    asyncio.run(story())


def test_a_restart_in_a_deletion_finishes_it_without_a_process() -> None:
    """What was being deleted is not started again."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await ready(before)
            await before.advance(400)
            await before.call("DeleteInferenceComponent", InferenceComponentName="c")
        async with world(store, launcher) as after:
            await after.advance(1500)
            assert (await after.call("ListInferenceComponents"))["InferenceComponents"] == []
            assert launcher.launched == []

    asyncio.run(story())


def test_components_live_on_endpoints_without_models_that_are_up() -> None:
    """Ledger: sm.component.model-endpoint, sm.component.endpoint-status, sm.endpoint.no-variant."""

    async def story(here: World) -> None:
        await here.endpoint("with-model")
        with pytest.raises(RefusedError, match="does not support inference components"):
            await here.component(endpoint="with-model")
        await here.config("parts", None)
        await here.call("CreateEndpoint", EndpointName="parts", EndpointConfigName="parts")
        with pytest.raises(RefusedError, match="in status Creating"):
            await here.component(endpoint="parts")
        with pytest.raises(RefusedError, match="Could not find endpoint"):
            await here.component(endpoint="absent")

    in_world(story)
