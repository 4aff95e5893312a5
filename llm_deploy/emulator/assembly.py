"""Which services the local cloud has, in the order in which they are installed."""

from __future__ import annotations

import random
from collections.abc import Callable

from llm_deploy.emulator import autoscaling, cloudwatch, logs, quotas, sagemaker
from llm_deploy.emulator.app import App
from llm_deploy.emulator.backend import mount as backend
from llm_deploy.emulator.clock import Clock, ScaledClock
from llm_deploy.emulator.iam import install as iam
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import CloudSettings
from llm_deploy.emulator.store import Store

INSTALLERS: tuple[Callable[[Cloud], None], ...] = (
    backend.install,
    logs.install,
    cloudwatch.install,
    quotas.install,
    autoscaling.install,
    sagemaker.install,
    iam.install,
)
"""One line for each module that offers services; see `service`. They stop in reverse order: the containers, which
SageMaker ends, may write to the logs until the last moment; and the backend's child is started first."""

STATE_FILE = "state.sqlite"


def new_cloud(settings: CloudSettings, *, clock: Clock | None = None, store: Store | None = None) -> Cloud:
    """A cloud with every service installed and nothing started."""
    cloud = Cloud(
        settings=settings,
        clock=clock or ScaledClock(settings.speed),
        store=store or Store(settings.state_dir / STATE_FILE),
        random=random.Random(settings.seed),  # noqa: S311 - ids and places of cuts, nothing secret
    )
    for install in INSTALLERS:
        install(cloud)
    return cloud


def new_app(cloud: Cloud) -> App:
    """The ASGI application of a cloud."""
    return App(cloud)
