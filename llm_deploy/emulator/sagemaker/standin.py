"""Which model was asked for, what the container gets, and whether the local model only stands in for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from llm_deploy.emulator.containers.container import ContainerSpec
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.sagemaker.role_use import writable_group
from llm_deploy.emulator.store import Document

_DIALECTS = Path(__file__).parents[1] / "data" / "dialects.yaml"
_MODEL_VARIABLES = ("HF_MODEL_ID", "SM_VLLM_MODEL", "SM_SGLANG_MODEL_PATH", "OPTION_MODEL_ID", "MODEL_ID")
"""Variables by which the images choose a model. Source: documentation of TGI, vLLM, SGLang and LMI containers."""
EMBEDDING_DIALECT = "tei"
_IN_CONTAINER = "/opt/ml/model"


def container_spec(hosting: Hosting, container: Document, log_group: str, source: str) -> ContainerSpec:
    """What a copy of a container runs here; `source` is the ARN of the endpoint or the component that it belongs to."""
    asked, local = asked_model(container), local_model(hosting, container)
    return ContainerSpec(
        dialect=dialect(container.get("Image", "")),
        served_name=asked or local,
        environment=container.get("Environment", {}),
        log_group=writable_group(hosting, container, source, log_group),
        stands_in_for=asked if is_stand_in(local, asked) else None,
        local_model=local,
    )


def local_model(hosting: Hosting, container: Document) -> str:
    """The model that answers for a container: one that generates, or one for embeddings. Ledger: `local.embeddings`."""
    embeds = dialect(container.get("Image", "")) == EMBEDDING_DIALECT
    return hosting.cloud.settings.embedding_model_name if embeds else hosting.cloud.settings.model_name


def asked_model(container: Document) -> str | None:
    """The model that a container names: S3 source, then the image's variables; `None` when it names none."""
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
    source = source or container.get("ModelDataUrl") or container.get("ArtifactUrl")
    environment = container.get("Environment", {})
    named = next((environment[name] for name in _MODEL_VARIABLES if environment.get(name)), None)
    return named if named and not (source and named.startswith(_IN_CONTAINER)) else source


def is_stand_in(local: str, asked: str | None) -> bool:
    """Whether another model was asked for than the local one, whoever published it."""
    return asked is not None and asked.rstrip("/").rpartition("/")[2].lower() != local.lower()


def note(local: str, asked: str) -> str:
    """What the response header says. Ledger: `local.stand-in-header`."""
    return f"{local} for {asked}"


def stood_in(hosting: Hosting, resource: Document) -> str | None:
    """The note about an endpoint or a component, when the local model stands in somewhere in it."""
    containers = [resource["container"]] if "container" in resource else []
    containers += [variant["container"] for variant in resource.get("variants", ()) if variant.get("container")]
    for container in containers:
        asked, local = asked_model(container), local_model(hosting, container)
        if asked and is_stand_in(local, asked):
            return note(local, asked)
    return None


def dialect(image: str) -> str:
    """What the engine in an image speaks on /invocations. Ledger: `local.dialect`."""
    repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    words = repository.split("-")
    rows = (row for row in _dialects() if row["image"] in (words if row.get("word") else repository))
    return next((row["dialect"] for row in rows), "tgi")


@cache
def _dialects() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load(_DIALECTS.read_text("utf-8"))
    return rows
