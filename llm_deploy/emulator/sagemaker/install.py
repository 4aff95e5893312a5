"""Puts SageMaker hosting and its runtime into a cloud."""

from __future__ import annotations

from llm_deploy.emulator.containers.container import Launcher, ProcessLauncher
from llm_deploy.emulator.containers.fleets import Fleets
from llm_deploy.emulator.runtime.asynchronous import AsyncInvocations
from llm_deploy.emulator.runtime.backlog import Backlog
from llm_deploy.emulator.runtime.errand import Errands
from llm_deploy.emulator.runtime.invocations import Invocations
from llm_deploy.emulator.sagemaker.component_life import ComponentLife
from llm_deploy.emulator.sagemaker.components import ComponentOperations
from llm_deploy.emulator.sagemaker.configs import ConfigOperations
from llm_deploy.emulator.sagemaker.endpoint_life import EndpointLife
from llm_deploy.emulator.sagemaker.endpoints import EndpointOperations
from llm_deploy.emulator.sagemaker.hosting import ENDPOINT, Hosting
from llm_deploy.emulator.sagemaker.models import ModelOperations
from llm_deploy.emulator.sagemaker.tags import TagOperations
from llm_deploy.emulator.service import Cloud, JsonService


def install(cloud: Cloud, *, launcher: Launcher | None = None) -> None:
    """Answer SageMaker's control plane and its runtime; containers are processes unless a launcher is given."""
    processes = ProcessLauncher(cloud.settings.model_server, cloud.settings.state_dir / "containers")
    # The hook is asked for at each line: whoever provides it may be installed after us.
    fleets = Fleets(launcher or processes, cloud.clock, lambda *line: cloud.hooks.write_log(*line))  # noqa: PLW0108 - see above
    hosting = Hosting(cloud, fleets)
    tags = TagOperations(hosting)
    endpoint_life, component_life = EndpointLife(hosting), ComponentLife(hosting)
    operations = {
        **tags.operations(),
        **ModelOperations(hosting, tags).operations(),
        **ConfigOperations(hosting, tags).operations(),
        **EndpointOperations(hosting, tags, endpoint_life).operations(),
        **ComponentOperations(hosting, tags, component_life).operations(),
    }
    cloud.registry.add_json(JsonService("sagemaker", "SageMaker", operations))
    backlog = Backlog(hosting, Errands(hosting).run)
    cloud.registry.add_path("/endpoints/", Invocations(hosting, AsyncInvocations(hosting, backlog)).answer)
    cloud.tags["sagemaker"] = tags.of
    cloud.counters["endpoints"] = lambda: cloud.store.count(ENDPOINT)
    cloud.counters["processes"] = fleets.processes

    async def start() -> None:
        if launcher is None:
            processes.clear()
        endpoint_life.resume()
        component_life.resume()
        backlog.resume()

    cloud.at_start.append(start)
    cloud.at_stop.append(fleets.stop_all)
