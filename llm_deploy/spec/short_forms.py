"""What a person may write for short, spelt out: raw values in, raw values out. What is not understood passes through.

The documents and the loader use the same functions, so that a flag such as `instance.max_count=2` can be laid over a
file that says `instance: ml.g5.2xlarge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

ENDPOINT_TYPE_WORDS: Mapping[str, str] = {"model": "ModelBased", "inference-component": "InferenceComponentBased"}


def model(value: object) -> object:
    """`owner/name[@revision]` or `s3://bucket/prefix/` as fields."""
    if not isinstance(value, str):
        return value
    if value.startswith("s3:"):
        return {"s3_uri": value}
    hub_id, at, revision = value.partition("@")
    return {"id": hub_id, "revision": revision} if at else {"id": hub_id}


def instance(value: object) -> object:
    """`ml.g5.2xlarge` as fields."""
    return {"type": value} if isinstance(value, str) else value


def resources(value: object) -> object:
    """A `ResourceRequirements` (ours, or the SDK's of v2 or v3) as fields, by its attributes: no SDK is imported."""
    if not hasattr(value, "min_memory"):
        return value
    attributes = {
        "copies": "copy_count",
        "num_accelerators": "num_accelerators",
        "num_cpus": "num_cpus",
        "memory_mib": "min_memory",
        "max_memory_mib": "max_memory",
    }
    found = {field: getattr(value, attribute, None) for field, attribute in attributes.items()}
    return {field: item for field, item in found.items() if item is not None or field == "memory_mib"}


def endpoint_type(value: object) -> object:
    """Our words and anybody's enum as the SDK's values."""
    if isinstance(value, Enum):
        value = value.value
    return ENDPOINT_TYPE_WORDS.get(value, value) if isinstance(value, str) else value


def texts(value: object) -> object:
    """A mapping whose numbers and truth values become the texts that a container reads."""
    if not isinstance(value, Mapping):
        return value
    return {key: _text(item) for key, item in value.items()}


EXPANDABLE: Mapping[str, Callable[[object], object]] = {"model": model, "instance": instance}
"""Top-level fields whose short form stands for a mapping."""


SECTIONS = frozenset({"instance", "resources", "limits", "generation", "network", "timeouts", "environment", "tags"})
"""Top-level fields that hold others. One that was left empty (all its lines are comments) says nothing."""


def without_empty_sections(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A raw spec without sections that have no content."""
    return {key: value for key, value in raw.items() if value is not None or key not in SECTIONS}


def expand(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A raw spec with its short forms spelt out."""
    return {key: EXPANDABLE[key](value) if key in EXPANDABLE else value for key, value in raw.items()}


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value
