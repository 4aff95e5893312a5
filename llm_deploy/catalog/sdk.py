"""Image data of an installed SageMaker SDK (extra `sagemaker`): perhaps newer tags, read without importing it.

The SDK's own look-up costs two seconds of import; its JSON files are read in a few milliseconds.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from llm_deploy.catalog.containers import Image, cuda_of, engine_facts, number, partition
from llm_deploy.catalog.data_files import data
from llm_deploy.errors import MissingExtraError, SpecError
from llm_deploy.spec import Engine

_PLACES = (
    ("sagemaker-core", "sagemaker/core/image_uri_config"),
    ("sagemaker", "sagemaker/image_uri_config"),
)


def sdk_image(engine: Engine, region: str, *, folder: Path | None = None) -> Image:
    """The newest image of an engine's default family that the installed SDK knows for a region.

    Args:
        engine: The engine.
        region: AWS region.
        folder: The SDK's folder of JSON files; that of the installed SDK when left out.

    Raises:
        MissingExtraError: No SDK is installed.
        SpecError: The SDK has no such image for the region.
    """
    facts = engine_facts(engine)
    family = facts["families"][0]
    for version, row in versions(folder or installed(), family):
        if region in row["registries"]:
            tag = tag_of(row)
            domain = data("containers")["domains"][partition(region)]
            uri = f"{row['registries'][region]}.dkr.ecr.{region}.{domain}/{row['repository']}:{tag}"
            cuda = cuda_of(tag) or facts.get("cuda", {}).get(family)
            return Image(uri, engine, facts["dialect"], cuda, family, version)
    raise SpecError(f"The installed SageMaker SDK has no image of {engine} for {region}.")


def installed() -> Path:
    """The folder of the installed SDK's image data (v3 or v2)."""
    for distribution, folder in _PLACES:
        try:
            path = Path(str(importlib.metadata.distribution(distribution).locate_file(folder)))
        except importlib.metadata.PackageNotFoundError:
            continue
        if path.is_dir():
            return path
    raise MissingExtraError(
        "The SageMaker SDK's image data is not installed.", hint="Install the extra `sagemaker`, or sagemaker-core."
    )


def versions(folder: Path, family: str) -> list[tuple[str, dict[str, Any]]]:
    """Every version of an image family, the newest first."""
    try:
        content = json.loads((folder / f"{family}.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"This SageMaker SDK does not know {family}; version 3 does.") from error
    rows = content.get("inference", content)["versions"]
    return sorted(rows.items(), key=lambda item: number(item[0]), reverse=True)


def tag_of(row: dict[str, Any]) -> str:
    """The GPU image's tag, put together as the SDK does."""
    container = row.get("container_version", {}).get("gpu")
    processor = ["gpu"] if container and row.get("processor_in_tag", True) else []
    parts = [row["tag_prefix"], *processor, *row.get("py_versions", [])[-1:]]
    return "-".join([*parts, container] if container else parts)
