"""What happens to endpoints and components whose execution role may too little."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from llm_deploy.emulator import ledger
from tests.unit.emulator.world import IMAGE, ROLE, World, in_world

LONG_S = 3600


def refuse(here: World, *actions: str) -> list[tuple[str, str]]:
    """Let the role do everything but these; what was asked comes into the list, by action and resource."""
    asked: list[tuple[str, str]] = []

    def may(role: str, source: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
        assert (role, dict(keys)) == (ROLE, {})
        assert source.startswith("arn:aws:sagemaker:")
        asked.append((action, resource))
        return action not in actions

    here.cloud.hooks.role_may = may
    return asked


@pytest.mark.parametrize(
    "action",
    ["BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability", "GetAuthorizationToken"],
)
def test_an_endpoint_fails_when_its_image_cannot_be_pulled(action: str) -> None:
    """It is accepted first and says why afterwards; no container is started. Ledger: sm.endpoint.pull."""

    async def story(here: World) -> None:
        refuse(here, f"ecr:{action}")
        await here.endpoint("e")
        await here.advance(LONG_S)
        found = await here.call("DescribeEndpoint", EndpointName="e")
        words = ledger.text("sm.endpoint.pull", role=ROLE, action=action, image=IMAGE)
        assert (found["EndpointStatus"], found["FailureReason"]) == ("Failed", words)
        assert here.launcher.launched == []

    in_world(story)


def test_the_pull_is_about_the_image_s_own_repository() -> None:
    """In the registry's account and region."""

    async def story(here: World) -> None:
        asked = refuse(here)
        await here.endpoint("e")
        await here.advance(LONG_S)
        repository = "arn:aws:ecr:eu-central-1:763104351884:repository/huggingface-pytorch-tgi-inference"
        assert ("ecr:BatchGetImage", repository) in asked
        assert ("ecr:GetAuthorizationToken", "*") in asked

    in_world(story)


def test_a_role_without_logs_serves_silently() -> None:
    """The endpoint is in service, and there is no log. Ledger: sm.logs.role."""

    async def story(here: World) -> None:
        lines: list[str] = []
        here.cloud.hooks.write_log = lambda group, stream, line: lines.append(group)  # noqa: ARG005 - only where it went
        refuse(here, "logs:PutLogEvents")
        await here.endpoint("e")
        await here.advance(LONG_S)
        assert (await here.call("DescribeEndpoint", EndpointName="e"))["EndpointStatus"] == "InService"
        here.launcher.launched[0].on_line("hello")
        assert lines == []
        refuse(here)
        await here.endpoint("f", model="n")
        await here.advance(LONG_S)
        here.launcher.launched[1].on_line("hello")
        assert lines == ["/aws/sagemaker/Endpoints/f"]

    in_world(story)


def test_a_component_fails_when_its_image_cannot_be_pulled() -> None:
    """With the role of the endpoint's config; its room is free again. Ledger: sm.component.pull."""

    async def story(here: World) -> None:
        await here.model()
        await here.endpoint("e", model=None)
        refuse(here, "ecr:BatchGetImage")
        await here.component()
        await here.advance(LONG_S)
        found = await here.call("DescribeInferenceComponent", InferenceComponentName="c")
        assert found["InferenceComponentStatus"] == "Failed"
        assert "does not have BatchGetImage permission for the image" in found["FailureReason"]
        assert found["RuntimeConfig"]["CurrentCopyCount"] == 0
        assert here.launcher.launched == []

    in_world(story)
