"""From a spec to one with nothing left open. Pure: a place and a role go in, no call goes out."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from llm_deploy.catalog.containers import (
    Image,
    engine_facts,
    image_uri,
    inference_ami_version,
    newest_version,
    own_image,
)
from llm_deploy.catalog.environment import environment, unused_fields
from llm_deploy.catalog.instances import InstanceType, Price, instance, price
from llm_deploy.catalog.judge import copies_per_instance, findings
from llm_deploy.errors import SpecError
from llm_deploy.spec import DeploymentSpec, EndpointType, HubModel, Place, ResolvedSpec, rules
from llm_deploy.spec.load import is_pinned


def resolve(spec: DeploymentSpec, place: Place, execution_role_arn: str) -> ResolvedSpec:
    """Choose image, driver, environment, names and bounds, and look up the price.

    Raises:
        SpecError: The catalogue finds the spec wrong, or the region does not have the image. Every finding is named;
            `load_spec` finds the same with file and line.
    """
    wrong = [str(finding) for finding in findings(spec)]
    if wrong:
        raise SpecError("\n".join(wrong))
    machine = instance(spec.instance.type)
    image = (
        own_image(spec.image, spec.engine) if spec.image else image_uri(spec.engine, place.region, spec.engine_version)
    )
    cost = price(machine.name, place.region)
    return ResolvedSpec(
        spec=_filled_in(spec, machine),
        place=place,
        execution_role_arn=execution_role_arn,
        image_uri=image.uri,
        dialect=image.dialect,
        inference_ami_version=spec.instance.inference_ami_version or inference_ami_version(image, machine),
        environment=environment(spec, image),
        component_name=_component_name(spec),
        usd_per_hour=cost.usd_per_hour,
        price_note=cost.note,
        notes=tuple(_notes(spec, place, machine, image, cost)),
    )


def _component_name(spec: DeploymentSpec) -> str | None:
    if spec.endpoint_type is EndpointType.MODEL_BASED:
        return None
    return spec.inference_component_name or spec.name


def _filled_in(spec: DeploymentSpec, machine: InstanceType) -> DeploymentSpec:
    """The metric under SageMaker's name, and bounds of instances that follow from those of the copies."""
    tracking = spec.autoscaling
    if tracking is None:
        return spec
    component_based = spec.endpoint_type is EndpointType.INFERENCE_COMPONENT_BASED
    metric = rules.metric_name(tracking.metric, component_based=component_based)
    changes: dict[str, Any] = {"autoscaling": tracking.model_copy(update={"metric": metric})}
    if component_based:
        changes["instance"] = spec.instance.model_copy(update=_bounds(spec, machine))
    return spec.model_copy(update=changes)


def _bounds(spec: DeploymentSpec, machine: InstanceType) -> dict[str, int]:
    tracking, given = spec.autoscaling, spec.instance
    if tracking is None:
        return {}
    each = copies_per_instance(spec, machine)
    least, most = ceil(tracking.min_copies / each), ceil(tracking.max_copies / each)
    return {
        "min_count": min(least, given.initial_count) if given.min_count is None else given.min_count,
        "max_count": max(most, given.initial_count) if given.max_count is None else given.max_count,
    }


def _notes(spec: DeploymentSpec, place: Place, machine: InstanceType, image: Image, cost: Price) -> Iterator[str]:
    if note := engine_facts(spec.engine)["note"]:
        yield note
    if isinstance(spec.model, HubModel) and not is_pinned(spec.model):
        yield (
            f"{spec.model.id} is not pinned to a commit (model.revision), so that another start may load other weights."
        )
    for field in unused_fields(spec):
        yield f"{field} is not used: {spec.engine} has no such setting."
    if image.cuda is None and spec.instance.inference_ami_version is None:
        yield (
            "The image's CUDA version is not known, so that no driver was chosen; CUDA 13 needs "
            "instance.inference_ami_version: al2023-ami-sagemaker-inference-gpu-4-1."
        )
    newest = newest_version(spec.engine)
    if spec.image is None and spec.engine_version is None and image.version != newest:
        yield f"{place.region} has version {image.version} of the container; elsewhere there is {newest}."
    yield from _driver_notes(spec, image)
    yield from _scaling_notes(spec, machine)
    if cost.status != "published" and cost.usd_per_hour is not None:
        yield f"The price of {machine.name} is no quote: {cost.note}."


def _driver_notes(spec: DeploymentSpec, image: Image) -> Iterator[str]:
    chosen = spec.instance.inference_ami_version or ""
    if image.cuda and image.cuda.startswith("12.") and chosen.endswith("-gpu-4-1"):
        yield f"{chosen} brings CUDA 13 and the image has {image.cuda}; such containers failed without a log."
    if image.cuda and image.cuda.startswith("13.") and chosen.endswith("-gpu-3-1"):
        yield f"{chosen} is older than the image's CUDA {image.cuda}; the image must bundle cuda-compat."


def _scaling_notes(spec: DeploymentSpec, machine: InstanceType) -> Iterator[str]:
    tracking = spec.autoscaling
    if tracking is None or spec.endpoint_type is EndpointType.MODEL_BASED:
        return
    bounds = {"min_count": spec.instance.min_count, "max_count": spec.instance.max_count, **_bounds(spec, machine)}
    room = (bounds["max_count"] or 0) * copies_per_instance(spec, machine)
    if tracking.max_copies > room:
        yield (
            f"autoscaling may ask for {tracking.max_copies} copies, and {bounds['max_count']} of {machine.name} hold "
            f"{room}; raise instance.max_count."
        )
    if bounds["min_count"] == 0:
        # Source: stdapi.ai#43 (2026-08): refused in eu-west-3, accepted in us-east-1.
        yield "Some regions refuse a minimum of 0 instances; if AWS says so, set instance.min_count: 1."
