"""Facts about instances, images and engines, from data files with source and date, and what follows for a spec.

spec ── judge (what cannot be) ── resolve (what was left open) ─▶ ResolvedSpec
"""

from __future__ import annotations

from llm_deploy.catalog.containers import (
    Image,
    get_huggingface_llm_image_uri,
    image_uri,
    inference_ami_version,
    own_image,
    partition,
    regions,
)
from llm_deploy.catalog.environment import environment
from llm_deploy.catalog.instances import InstanceType, Price, instance, instances, price
from llm_deploy.catalog.judge import findings, load_spec
from llm_deploy.catalog.resolve import resolve

__all__ = [
    "Image",
    "InstanceType",
    "Price",
    "environment",
    "findings",
    "get_huggingface_llm_image_uri",
    "image_uri",
    "inference_ami_version",
    "instance",
    "instances",
    "load_spec",
    "own_image",
    "partition",
    "price",
    "regions",
    "resolve",
]
