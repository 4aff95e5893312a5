"""A gateway without a configuration file: a model for each deployment that stands on the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from llm_deploy.errors import SpecError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.config_file import is_loopback
from llm_deploy.rag.config import RagConfig
from llm_deploy.settings import load_settings
from llm_deploy.targets.registry import DEFAULT_TARGET, connect
from llm_deploy.targets.sagemaker.overview import deployments

if TYPE_CHECKING:
    from llm_deploy.dialects.names import DialectName

_SERVING = "InService"


def from_target(target: str | None, host: str) -> documents.GatewayConfig:
    """The configuration that serves every deployment under its own name, and answers from what was ingested.

    On loopback it asks for no keys.

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
    models = {each: documents.Model(backends=(documents.Backend(endpoint=each),)) for each in found}
    keys: documents.Keys = "off" if is_loopback(host) else "required"
    known = cast("Literal['sagemaker', 'local'] | None", name)
    return documents.GatewayConfig(models=models, target=known, keys=keys, rag=_ingested())


def _ingested() -> RagConfig | None:
    """`/rag` over the default collection, if this machine has it."""
    config = RagConfig()
    return config if (config.store.folder() / config.collection).is_dir() else None


def of_one(endpoint_name: str, session: Any) -> documents.GatewayConfig:  # noqa: ANN401 - ours or boto3's
    """The configuration that serves one endpoint, without keys.

    Raises:
        NotFoundError: There is none of this name.
    """
    from llm_deploy.client.discovery import discover  # noqa: PLC0415 - loads botocore

    found = discover(session, endpoint_name, component=None, dialect="auto")
    dialect = cast("DialectName", found.dialect)
    backend = documents.Backend(endpoint=endpoint_name, component=found.inference_component_name, dialect=dialect)
    return documents.GatewayConfig(keys="off", models={endpoint_name: documents.Model(backends=(backend,))})
