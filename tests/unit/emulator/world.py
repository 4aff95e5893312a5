"""A cloud in memory: a clock that stands still, containers that are none, calls without HTTP."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_deploy.emulator.app import App
from llm_deploy.emulator.clock import ManualClock, settle
from llm_deploy.emulator.containers.container import Container, ContainerSpec
from llm_deploy.emulator.sagemaker.install import install
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import CloudSettings
from llm_deploy.emulator.store import Store

ROLE = "arn:aws:iam::000000000000:role/execution"
IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"


@dataclass(eq=False)
class FakeContainer:
    """A container that is ready, or dead, when the test says so."""

    spec: ContainerSpec
    name: str
    on_line: Callable[[str], None]
    healthy: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    async def ready(self) -> int:
        """See `Container`."""
        await self.healthy.wait()
        return 1

    async def wait(self) -> int:
        """See `Container`."""
        await self.ended.wait()
        return 1

    async def stop(self) -> None:
        """See `Container`."""
        self.stopped = True
        self.ended.set()


@dataclass
class FakeLauncher:
    """Launches fakes; `healthy=False` makes the ones launched from then on never answer their health check."""

    healthy: bool = True
    launched: list[FakeContainer] = field(default_factory=list)

    async def launch(self, spec: ContainerSpec, name: str, on_line: Callable[[str], None]) -> Container:
        """See `Launcher`."""
        container = FakeContainer(spec, name, on_line)
        if self.healthy:
            container.healthy.set()
        self.launched.append(container)
        return container

    def running(self) -> list[FakeContainer]:
        """Those that nobody stopped and that did not end."""
        return [each for each in self.launched if not each.ended.is_set()]


class RefusedError(Exception):
    """The cloud's refusal, as a client would raise it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class World:
    """One cloud in memory."""

    cloud: Cloud
    clock: ManualClock
    launcher: FakeLauncher

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON document
        """Ask the cloud, through its wire protocol.

        Raises:
            RefusedError: It refused.
        """
        target = f"SageMaker.{operation}".encode()
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"x-amz-target", target)]}
        request = [{"type": "http.request", "body": json.dumps(params).encode(), "more_body": False}]
        answer: list[Any] = []

        async def receive() -> dict[str, Any]:
            return request.pop(0)

        async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            answer.append(message)

        await App(self.cloud)(scope, receive, send)
        document: dict[str, Any] = json.loads(answer[1]["body"])
        if answer[0]["status"] != 200:
            raise RefusedError(document["__type"], document["message"])
        return document

    async def advance(self, duration_s: float) -> None:
        """Let virtual time pass."""
        await self.clock.advance(duration_s)
        await settle()

    async def model(self, name: str = "m", **environment: str) -> None:
        """A model."""
        container = {"Image": IMAGE, "Environment": environment}
        await self.call("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    async def config(self, name: str, model: str | None, **variant: Any) -> None:  # noqa: ANN401 - as above
        """A config with one variant, of a model or for components."""
        whole = {"VariantName": "AllTraffic", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 1, **variant}
        extra = {} if model else {"ExecutionRoleArn": ROLE}
        if model:
            whole["ModelName"] = model
        await self.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[whole], **extra)

    async def endpoint(self, name: str = "e", *, model: str | None = "m", **variant: Any) -> None:  # noqa: ANN401 - as above
        """An endpoint in service, with its model and its config."""
        if model:
            await self.model(model)
        await self.config(name, model, **variant)
        await self.call("CreateEndpoint", EndpointName=name, EndpointConfigName=name)
        await self.advance(300)

    async def component(self, name: str = "c", endpoint: str = "e", copies: int = 1, **needs: float) -> None:
        """A component, just asked for."""
        requirements = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1, **needs}
        await self.call(
            "CreateInferenceComponent",
            InferenceComponentName=name,
            EndpointName=endpoint,
            Specification={"ModelName": "m", "ComputeResourceRequirements": requirements},
            RuntimeConfig={"CopyCount": copies},
        )

    async def endpoint_status(self, name: str = "e") -> str:
        """As DescribeEndpoint says."""
        return str((await self.call("DescribeEndpoint", EndpointName=name))["EndpointStatus"])

    async def component_status(self, name: str = "c") -> str:
        """As DescribeInferenceComponent says."""
        found = await self.call("DescribeInferenceComponent", InferenceComponentName=name)
        return str(found["InferenceComponentStatus"])


@asynccontextmanager
async def world(store: Store | None = None, launcher: FakeLauncher | None = None) -> AsyncIterator[World]:
    """A started cloud in memory; the same store given twice is a restart."""
    clock, launcher = ManualClock(), launcher or FakeLauncher()
    settings = CloudSettings(state_dir=Path("nowhere"), speed=1)
    cloud = Cloud(settings, clock, store or Store(None), random.Random(1))  # noqa: S311 - a test's seed
    install(cloud, launcher=launcher)
    await cloud.start()
    try:
        yield World(cloud, clock, launcher)
    finally:
        await cloud.stop()


def in_world(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Play a coroutine function in a world of its own."""

    async def play() -> None:
        async with world() as here:
            await story(here)

    asyncio.run(play())
