"""Container images: which one serves an engine in a region, and which driver it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from llm_deploy.catalog.data_files import data
from llm_deploy.catalog.instances import InstanceType
from llm_deploy.errors import SpecError
from llm_deploy.spec import Dialect, Engine
from llm_deploy.spec.problems import suggestion

SHOWN_VERSIONS = 12
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True, slots=True)
class Image:
    """A container image.

    Attributes:
        family: The image family of the catalogue; `None`: the user's own image.
        cuda: CUDA version inside (`13.0`); `None`: not known.
        dialect: What it speaks on `/invocations`.
    """

    uri: str
    engine: Engine
    dialect: Dialect
    cuda: str | None
    family: str | None = None
    version: str | None = None


def image_uri(engine: str, region: str, version: str | None = None) -> Image:
    """The image of an engine for a region: the newest that exists there, or the one of a version.

    Args:
        engine: One of the engines.
        region: AWS region; decides the registry's account and domain.
        version: `3.3.6`, a beginning of one (`3.3`), or `family:version` (`huggingface-vllm:0.29.0`).

    Raises:
        SpecError: Unknown engine, region or version; what exists is named.
    """
    name = _engine(engine)
    registry = _registry(region)
    candidates = list(_versions(name, version))
    if not candidates:
        raise SpecError(_no_such_version(name, version))
    here = [found for found in candidates if not _absent(found, region)]
    if not here:
        raise SpecError(_not_here(name, region, version))
    family, number, row = here[0]
    repository = data("images")["families"][family]["repository"]
    facts = engine_facts(name)
    cuda = row["cuda"] or facts.get("cuda", {}).get(family)
    return Image(f"{registry}/{repository}:{row['tag']}", name, facts["dialect"], cuda, family, number)


def own_image(uri: str, engine: Engine) -> Image:
    """An image that the user names. Its CUDA is looked up by tag in the catalogue, else read from the tag."""
    tag = uri.rpartition(":")[2]
    for family, number, row in _versions(engine, None):
        if row["tag"] == tag:
            cuda = row["cuda"] or engine_facts(engine).get("cuda", {}).get(family)
            return Image(uri, engine, engine_facts(engine)["dialect"], cuda, family, number)
    return Image(uri, engine, engine_facts(engine)["dialect"], cuda_of(tag))


def get_huggingface_llm_image_uri(backend: str, region: str | None = None, version: str | None = None) -> str:
    """The URI of a backend's image, under the name of the SageMaker SDK 2.x.

    Args:
        backend: The SDK's word (`huggingface`, `lmi`, ...) or one of our engines.
        region: `AWS_REGION` when left out.
        version: The engine's version; the newest when left out.
    """
    found = next((name for name in ENGINES if backend in engine_facts(name)["backends"]), None)
    if found is None:
        known = [word for name in ENGINES for word in engine_facts(name)["backends"]]
        raise SpecError(f"backend {backend!r} is unknown; expected {', '.join(known)}{suggestion(backend, known)}")
    if region is None:
        from llm_deploy.settings import load_settings  # noqa: PLC0415 - only this convenience needs settings

        region = load_settings().AWS_REGION
    return image_uri(found, region, version).uri


def inference_ami_version(image: Image, instance: InstanceType) -> str | None:
    """The driver image to ask for, or `None` where the instance's default suits the image (or nothing is known)."""
    if image.cuda is None or instance.kind != "gpu":
        return None
    for rule in data("containers")["ami_rules"]:
        if number(image.cuda) >= number(rule["cuda_from"]) and instance.family in rule["families"]:
            return str(rule["version"])
    return None


def newest_version(engine: Engine) -> str:
    """The newest version of an engine's default family, wherever it is."""
    return next(found for _, found, _ in _versions(engine, None))


def cuda_of(tag: str) -> str | None:
    """`13.0` of a tag with `cu130`; `None` where the tag does not say."""
    found = re.search(r"(?<![a-z0-9])cu(?:da)?(\d\d)\.?(\d)(?![0-9])", tag)
    return f"{found[1]}.{found[2]}" if found else None


def engine_facts(engine: str) -> Mapping[str, Any]:
    """The row of an engine in `containers.yaml`."""
    facts: Mapping[str, Any] = data("containers")["engines"][engine]
    return facts


def partition(region: str) -> str:
    """The partition of a region: `aws`, `aws-cn`, ..."""
    prefixes = data("containers")["partitions"]
    return next((str(name) for prefix, name in prefixes.items() if region.startswith(prefix)), "aws")


def regions() -> tuple[str, ...]:
    """Regions that have a registry."""
    return tuple(data("images")["accounts"])


def number(version: str) -> tuple[int, ...]:
    """`"12.9"` as numbers, to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _engine(engine: str) -> Engine:
    if engine not in ENGINES:
        raise SpecError(f"engine: {engine!r} is unknown; expected {', '.join(ENGINES)}{suggestion(engine, ENGINES)}")
    return engine


def _registry(region: str) -> str:
    accounts = data("images")["accounts"]
    if region not in accounts:
        raise SpecError(
            f"region {region!r}: no registry of container images is known{suggestion(region, accounts)}",
            hint="Set AWS_REGION, or give `image:` a URI of your own registry.",
        )
    return f"{accounts[region]}.dkr.ecr.{region}.{data('containers')['domains'][partition(region)]}"


def _versions(engine: Engine, version: str | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Family, version and row of every image that fits, the default family's newest first."""
    families = engine_facts(engine)["families"]
    wanted_family, colon, wanted = (version or "").rpartition(":")
    for family in families:
        if colon and family != wanted_family:
            continue
        for found, row in data("images")["families"][family]["versions"].items():
            if not wanted or found == wanted or found.startswith(f"{wanted}."):
                yield family, found, row


def _absent(found: tuple[str, str, Mapping[str, Any]], region: str) -> bool:
    absent_from = found[2].get("absent_from")
    return absent_from is not None and region in data("images")["absent"][absent_from]


def _no_such_version(engine: Engine, version: str | None) -> str:
    known = [f"{family}:{found}" for family, found, _ in _versions(engine, None)]
    more = f" and {len(known) - SHOWN_VERSIONS} more" if len(known) > SHOWN_VERSIONS else ""
    return f"{engine} has no image of version {version!r}; there is {', '.join(known[:SHOWN_VERSIONS])}{more}"


def _not_here(engine: Engine, region: str, version: str | None) -> str:
    there = [f"{found[0]}:{found[1]}" for found in _versions(engine, None) if not _absent(found, region)]
    what = f"version {version!r} of {engine}" if version else f"an image of {engine}"
    return f"{region} does not have {what}" + (f"; there is {', '.join(there[:SHOWN_VERSIONS])}" if there else "")
