"""Adapter components: over a base, without copies, gone before it."""

from __future__ import annotations

import pytest

from tests.unit.emulator.world import RefusedError, World, in_world


async def base(here: World) -> None:
    """An endpoint with a component that is up."""
    await here.model()
    await here.endpoint("e", model=None)
    await here.component("base", "e")
    await here.advance(400)


async def adapter(here: World, name: str = "adapter", over: str = "base", **more: object) -> None:
    """An adapter, just asked for."""
    specification = {
        "BaseInferenceComponentName": over,
        "Container": {"ArtifactUrl": "s3://bucket/adapter.tar.gz"},
        **more,
    }
    await here.call(
        "CreateInferenceComponent", InferenceComponentName=name, EndpointName="e", Specification=specification
    )


def test_an_adapter_comes_up_without_copies_of_its_own() -> None:
    """The base's copies answer for it. Ledger: sm.component.adapter."""

    async def story(here: World) -> None:
        await base(here)
        await adapter(here)
        assert await here.component_status("adapter") == "Creating"
        await here.advance(61)
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="adapter")
        assert found["InferenceComponentStatus"] == "InService"
        assert found["Specification"]["BaseInferenceComponentName"] == "base"
        assert "RuntimeConfig" not in found
        assert len(here.launcher.running()) == 1
        with pytest.raises(RefusedError, match="copy count of an adapter"):
            await here.call(
                "UpdateInferenceComponentRuntimeConfig",
                InferenceComponentName="adapter",
                DesiredRuntimeConfig={"CopyCount": 2},
            )

    in_world(story)


def test_a_base_goes_after_its_adapters() -> None:
    """Also while an adapter is being deleted. Ledger: sm.component.base-of-adapters."""

    async def story(here: World) -> None:
        await base(here)
        await adapter(here)
        await here.advance(61)
        refused = "is a base inference component for one or more associated"
        with pytest.raises(RefusedError, match=refused):
            await here.call("DeleteInferenceComponent", InferenceComponentName="base")
        await here.call("DeleteInferenceComponent", InferenceComponentName="adapter")
        with pytest.raises(RefusedError, match=refused):
            await here.call("DeleteInferenceComponent", InferenceComponentName="base")
        await here.advance(31)
        await here.call("DeleteInferenceComponent", InferenceComponentName="base")
        await here.advance(31)
        assert (await here.call("ListInferenceComponents"))["InferenceComponents"] == []

    in_world(story)


def test_an_adapter_asks_for_an_artifact_and_no_machines() -> None:
    """Ledger: sm.component.adapter-needs."""

    async def story(here: World) -> None:
        await base(here)
        with pytest.raises(RefusedError, match="takes no ComputeResourceRequirements"):
            await adapter(here, ComputeResourceRequirements={"MinMemoryRequiredInMb": 1024})
        with pytest.raises(RefusedError, match=r"needs Container\.ArtifactUrl"):
            await adapter(here, Container={"Environment": {"A": "b"}})

    in_world(story)


def test_an_adapter_lies_on_a_base_that_is_up() -> None:
    """Not on another adapter, not on nothing. Ledger: sm.component.adapter-base."""

    async def story(here: World) -> None:
        await base(here)
        with pytest.raises(RefusedError, match="Could not find inference component"):
            await adapter(here, over="nobody")
        await adapter(here)
        await here.advance(61)
        with pytest.raises(RefusedError, match="or is an adapter itself"):
            await adapter(here, "second", over="adapter")
        await here.component("starting", "e")
        with pytest.raises(RefusedError, match="is not in service"):
            await adapter(here, "third", over="starting")

    in_world(story)
