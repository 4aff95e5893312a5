"""A gateway without a configuration file: a model for each deployment that stands on the target."""

from __future__ import annotations

from typing import Literal, cast

from llm_deploy.errors import SpecError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.config_file import is_loopback
from llm_deploy.settings import load_settings
from llm_deploy.targets.registry import DEFAULT_TARGET, connect
from llm_deploy.targets.sagemaker.overview import deployments

_SERVING = "InService"


def from_target(target: str | None, host: str) -> documents.GatewayConfig:
    """The configuration that serves every deployment under its own name. On loopback it asks for no keys.

    Raises:
        SpecError: Nothing is deployed there.
    """
    name = target or load_settings().LLMDEPLOY_TARGET or DEFAULT_TARGET
    found = [each.name for each in deployments(connect(name).session) if each.status == _SERVING and not each.orphan]
    if not found:
        raise SpecError(
            f"nothing is deployed on target {name}, so that there is nothing to serve",
            hint="Deploy something (llmdeploy deploy-endpoint), or name models in a file: llmdeploy gateway run FILE.",
        )
    return of_endpoints(found, target=name, keys="off" if is_loopback(host) else "required")


def of_endpoints(names: list[str], *, target: str | None, keys: documents.Keys) -> documents.GatewayConfig:
    """The configuration that serves these endpoints."""
    models = {name: documents.Model(backends=(documents.Backend(endpoint=name),)) for name in names}
    known = cast("Literal['sagemaker', 'local'] | None", target)
    return documents.GatewayConfig(models=models, target=known, keys=keys)
