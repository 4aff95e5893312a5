"""A deployment's list as it was, written from what the cloud holds in place of a spec. Pure.

What answers is the earlier generation's; what scales and what watches stays as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from llm_deploy.deploy.generations import Generation, back_to, in_use, models_of, only, under_way
from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.deploy.plan import Plan, plan
from llm_deploy.errors import ConflictError
from llm_deploy.resource import (
    ALARM,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_CONTENT,
    TAG_DEPLOYMENT,
    TAG_DIALECT,
    TAG_MACHINE,
    TAG_MODEL,
    TAG_SAMPLING,
    Resource,
    content_hash,
    owner,
)

Document = dict[str, Any]

AT_ONCE: Document = {
    "RollingUpdatePolicy": {
        "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 0,
    }
}
"""The quickest that AWS does with inference components. Without alarms: they may have gone off for what is left, and
would undo the way back as well."""

_OF_A_TARGET = ("ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity")
_OF_A_POLICY = (
    "PolicyName",
    "PolicyType",
    "ServiceNamespace",
    "ResourceId",
    "ScalableDimension",
    "TargetTrackingScalingPolicyConfiguration",
    "StepScalingPolicyConfiguration",
)


def plan_back(inventory: Inventory, generation: Generation) -> Plan:
    """What has to change so that a generation serves; nothing where it does, and nobody is on the way to it.

    Raises:
        ConflictError: The generations differ in what AWS cannot change back in place.
    """
    now, endpoint, goal = in_use(inventory), only(inventory, ENDPOINT), back_to(generation)
    settled = endpoint is not None and endpoint.state is not State.MIXED and under_way(endpoint) != goal
    if settled and now is not None and generation.serves_like(now):
        return Plan(inventory.deployment, ())
    return plan(resources(inventory, generation), inventory, goal=goal)


def resources(inventory: Inventory, generation: Generation) -> tuple[Resource, ...]:
    """Everything of a deployment, with an earlier generation in place of the one in use.

    Raises:
        ConflictError: The generations differ in what AWS cannot change back in place.
    """
    ours = {found.key: found for found in inventory.ours()}
    config = ours[ENDPOINT_CONFIG, generation.config]
    _refuse_other_variants(inventory, config)
    models = [ours[MODEL, name] for name in models_of(generation, config)]
    says = {key: models[0].tags[key] for key in (TAG_MODEL, TAG_DIALECT) if models and key in models[0].tags}
    tags = {TAG_DEPLOYMENT: inventory.deployment, **says}
    found = [_kept(model, f"Model{number or ''}") for number, model in enumerate(models)]
    found.append(replace(_kept(config, "EndpointConfig"), depends_on=tuple(model.id for model in found)))
    found.append(_endpoint(inventory, generation, tags))
    if generation.component is not None:
        found.append(_component(inventory, generation, tags))
    return (*found, *_rules(inventory, config))


def _refuse_other_variants(inventory: Inventory, config: Found) -> None:
    """Rules and alarms hang on a variant's name, and AWS's guardrails want it to stay."""
    now = in_use(inventory)
    standing = next((found for found in inventory.ours() if now and found.key == (ENDPOINT_CONFIG, now.config)), None)
    if standing is not None and _variants(standing) != _variants(config):
        names = ", ".join(sorted(_variants(config)))
        raise ConflictError(
            f"generation {config.name} has variant {names} and the one in use has not; a rollback keeps variants.",
            hint="Deploy the spec of that generation again (`variant_name`).",
        )


def _variants(config: Found) -> set[str]:
    return {str(variant["VariantName"]) for variant in config.properties.get("ProductionVariants", ())}


def _endpoint(inventory: Inventory, generation: Generation, tags: Mapping[str, str]) -> Resource:
    document: Document = {"EndpointName": inventory.deployment, "EndpointConfigName": generation.config}
    if _scaled(inventory):
        document["RetainAllVariantProperties"] = True
    sampling = {TAG_SAMPLING: generation.sampling} if generation.sampling else {}
    return Resource(
        "Endpoint",
        ENDPOINT,
        inventory.deployment,
        document,
        tags={**tags, **sampling},
        depends_on=("EndpointConfig",),
        purpose="what callers invoke",
        write_only=frozenset({"RetainAllVariantProperties"}),
        rollout="all at once, watched by no alarm; needs a second fleet during the update",
    )


def _component(inventory: Inventory, generation: Generation, tags: Mapping[str, str]) -> Resource:
    standing = only(inventory, INFERENCE_COMPONENT)
    name = standing.name if standing else inventory.deployment
    document: Document = {
        "InferenceComponentName": name,
        "EndpointName": inventory.deployment,
        "Specification": generation.specification,
        "RuntimeConfig": {"CopyCount": generation.copies},
        "DeploymentConfig": AT_ONCE,
    }
    if standing is not None and "VariantName" in standing.properties:
        document["VariantName"] = standing.properties["VariantName"]
    return Resource(
        "InferenceComponent",
        INFERENCE_COMPONENT,
        name,
        document,
        tags={**tags, TAG_CONTENT: content_hash(generation.specification)},
        depends_on=("Model", "Endpoint"),
        purpose="the copies of the model",
        write_only=frozenset({"DeploymentConfig", *(["RuntimeConfig.CopyCount"] if _scaled(inventory) else [])}),
        rollout="half of the copies at a time, watched by no alarm",
    )


def _scaled(inventory: Inventory) -> bool:
    return only(inventory, SCALABLE_TARGET) is not None


def _rules(inventory: Inventory, config: Found) -> Iterator[Resource]:
    """Alarms and scaling as they are; a target on a variant goes and comes again where its machine is another."""
    machines = {
        each["VariantName"]: each.get("InstanceType") for each in config.properties.get("ProductionVariants", ())
    }
    for number, found in enumerate(inventory.ours()):
        if owner(found.tags) != inventory.deployment:
            continue  # others put it on our endpoint or component
        if found.kind == ALARM:
            yield _kept(found, f"Alarm{number}")
        elif found.kind == SCALABLE_TARGET:
            machine = machines.get(found.name.rpartition("/")[2])
            tags = {**found.tags, TAG_MACHINE: machine} if TAG_MACHINE in found.tags and machine else dict(found.tags)
            over = "InferenceComponent" if found.name.startswith("inference-component/") else "Endpoint"
            yield Resource(
                _target_id(found.name),
                SCALABLE_TARGET,
                found.name,
                {key: found.properties[key] for key in _OF_A_TARGET},
                tags=tags,
                depends_on=(over,),
                purpose="the bounds of scaling",
                replace_on=frozenset({TAG_MACHINE}),
            )
        elif found.kind == SCALING_POLICY:
            yield Resource(
                f"ScalingPolicy{number}",
                SCALING_POLICY,
                found.name,
                {key: found.properties[key] for key in _OF_A_POLICY if key in found.properties},
                depends_on=(_target_id(found.name.partition("|")[0]),),
                purpose="the rule of scaling",
            )


def _target_id(resource_id: str) -> str:
    return f"ScalableTarget:{resource_id}"


def _kept(found: Found, logical_id: str) -> Resource:
    """An object that stays as it is."""
    return Resource(logical_id, found.kind, found.name, dict(found.properties), tags=dict(found.tags))
