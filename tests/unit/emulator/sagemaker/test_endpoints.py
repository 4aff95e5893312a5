"""The life of an endpoint, minute by minute, on a clock that a test turns."""

from __future__ import annotations

import asyncio

import pytest

from llm_deploy.emulator.store import Store
from tests.unit.emulator.world import FakeLauncher, RefusedError, World, in_world, world


def test_creating_takes_minutes_and_a_healthy_container() -> None:
    """In service is an endpoint after its instances and its container. Ledger: sm.endpoint.instances."""

    async def story(here: World) -> None:
        here.launcher.healthy = False
        await here.model()
        await here.config("e", "m")
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.advance(239)
        assert here.launcher.launched == []
        assert "ProductionVariants" not in await here.call("DescribeEndpoint", EndpointName="e")
        await here.advance(2)
        assert await here.endpoint_status() == "Creating"
        here.launcher.launched[0].healthy.set()
        await here.advance(1)
        assert await here.endpoint_status() == "InService"

    in_world(story)


def test_a_container_that_crashes_again_and_again_fails_the_endpoint_late() -> None:
    """Creating for 24 minutes, restarted meanwhile, then Failed with the text. Ledger: sm.endpoint.health-window."""

    async def story(here: World) -> None:
        here.launcher.healthy = False
        await here.model()
        await here.config("e", "m")
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.advance(241)
        here.launcher.launched[0].ended.set()
        await here.advance(30)
        assert len(here.launcher.launched) == 2
        await here.advance(1300)
        assert await here.endpoint_status() == "Creating"
        await here.advance(200)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert found["EndpointStatus"] == "Failed"
        assert found["FailureReason"].startswith("The primary container for production variant AllTraffic did not pass")
        assert here.launcher.running() == []
        with pytest.raises(RefusedError):
            await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.call("DeleteEndpoint", EndpointName="e")
        await here.advance(60)
        assert (await here.call("ListEndpoints"))["Endpoints"] == []

    in_world(story)


def test_a_transient_endpoint_refuses_update_and_delete() -> None:
    """AWS's words, which deployers match on. Ledger: sm.endpoint.in-progress."""

    async def story(here: World) -> None:
        await here.model()
        await here.config("e", "m")
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
        for operation, more in (("DeleteEndpoint", {}), ("UpdateEndpoint", {"EndpointConfigName": "e"})):
            with pytest.raises(RefusedError, match=r'^Cannot update in-progress endpoint "arn:.*:endpoint/e"\.$'):
                await here.call(operation, EndpointName="e", **more)

    in_world(story)


def test_an_update_serves_the_old_until_the_new_is_up() -> None:
    """Blue/green: two fleets for a while, then the new one alone."""

    async def story(here: World) -> None:
        await here.endpoint()
        (old,) = here.launcher.running()
        here.launcher.healthy = False
        await here.config("e2", "m", InstanceType="ml.g5.2xlarge")
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2")
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert found["EndpointStatus"] == "Updating"
        assert found["EndpointConfigName"] == "e"
        assert found["PendingDeploymentSummary"]["EndpointConfigName"] == "e2"
        await here.advance(250)
        assert not old.stopped
        _, new = here.launcher.running()
        new.healthy.set()
        await here.advance(1)
        assert here.launcher.running() == [new]
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e2")
        assert "PendingDeploymentSummary" not in found

    in_world(story)


def test_an_update_that_never_gets_healthy_goes_back() -> None:
    """The old fleet never stopped, and the reason is said. Ledger: sm.endpoint.ping."""

    async def story(here: World) -> None:
        await here.endpoint()
        (old,) = here.launcher.running()
        here.launcher.healthy = False
        await here.config("e2", "m")
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2")
        await here.advance(2000)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e")
        assert "did not pass the ping health check" in found["FailureReason"]
        assert here.launcher.running() == [old]

    in_world(story)


def test_an_update_to_the_same_config_or_of_a_deleted_one_is_refused() -> None:
    """Ledger: sm.endpoint.same-config, sm.endpoint.update-old-config."""

    async def story(here: World) -> None:
        await here.endpoint()
        with pytest.raises(RefusedError, match="already uses"):
            await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.config("e2", "m")
        await here.call("DeleteEndpointConfig", EndpointConfigName="e")
        with pytest.raises(RefusedError, match=r'Could not find endpoint configuration ".*endpoint-config/e"'):
            await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2")

    in_world(story)


def test_an_update_cannot_change_the_type_of_an_endpoint() -> None:
    """From a model to inference components leads only a new endpoint. Ledger: sm.endpoint.type-change."""

    async def story(here: World) -> None:
        await here.endpoint()
        await here.config("parts", None)
        with pytest.raises(RefusedError, match="cannot replace each other"):
            await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="parts")

    in_world(story)


@pytest.mark.parametrize(("retain", "count"), [(False, 1), (True, 3)])
def test_an_update_undoes_autoscaling_unless_told_to_retain(*, retain: bool, count: int) -> None:
    """RetainAllVariantProperties keeps the instance count. Ledger: sm.endpoint.retain."""

    async def story(here: World) -> None:
        await here.endpoint()
        wish = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
        await here.call("UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wish)
        assert await here.endpoint_status() == "Updating"
        await here.advance(300)
        assert len(here.launcher.running()) == 3
        await here.config("e2", "m")
        await here.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2", RetainAllVariantProperties=retain)
        await here.advance(300)
        (variant,) = (await here.call("DescribeEndpoint", EndpointName="e"))["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == count
        assert len(here.launcher.running()) == count

    in_world(story)


def test_names_are_unique_whatever_their_case_and_must_match_it() -> None:
    """Ledger: sm.endpoint.case."""

    async def story(here: World) -> None:
        await here.endpoint("Twin")
        with pytest.raises(RefusedError, match="Cannot create already existing endpoint"):
            await here.call("CreateEndpoint", EndpointName="tWIN", EndpointConfigName="Twin")
        with pytest.raises(RefusedError, match="Could not find endpoint"):
            await here.call("DescribeEndpoint", EndpointName="twin")
        assert (await here.call("DescribeEndpoint", EndpointName="Twin"))["EndpointName"] == "Twin"

    in_world(story)


def test_instances_beyond_the_quota_are_refused_in_the_words_that_tools_parse() -> None:
    """Type, limit, utilisation and delta are in the text; running instances count. Ledger: sm.endpoint.quota."""

    async def story(here: World) -> None:
        here.cloud.hooks.quota = lambda name: 1 if name == "ml.g5.12xlarge for endpoint usage" else None
        await here.endpoint()
        with pytest.raises(
            RefusedError,
            match=r"'ml\.g5\.12xlarge for endpoint usage' is 1 Instances, with current utilization of 1 Instances "
            r"and a request delta of 1 Instances",
        ) as refused:
            await here.call("CreateEndpoint", EndpointName="second", EndpointConfigName="e")
        assert refused.value.code == "ResourceLimitExceeded"

    in_world(story)


@pytest.mark.parametrize("moment_s", [0, 100, 239, 241, 500])
def test_a_restart_at_any_moment_of_creating_ends_in_service(moment_s: float) -> None:
    """What is under way goes on; what was up gets its process back at once."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await before.model()
            await before.config("e", "m")
            await before.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
            await before.advance(moment_s)
            was = await before.endpoint_status()
        async with world(store, launcher) as after:
            assert await after.endpoint_status() == was
            await after.advance(0)
            assert len(launcher.running()) == (1 if was == "InService" else 0)
            await after.advance(300)
            assert await after.endpoint_status() == "InService"
            assert len(launcher.running()) == 1

    asyncio.run(story())


def test_a_restart_in_an_update_finishes_it() -> None:
    """The old fleet comes back first, the new one takes over."""

    async def story() -> None:
        store, launcher = Store(None), FakeLauncher()
        async with world(store) as before:
            await before.endpoint()
            await before.config("e2", "m")
            await before.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="e2")
        async with world(store, launcher) as after:
            await after.advance(1)
            assert len(launcher.running()) == 1
            await after.advance(1000)
            found = await after.call("DescribeEndpoint", EndpointName="e")
            assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "e2")
            assert len(launcher.running()) == 1

    asyncio.run(story())
