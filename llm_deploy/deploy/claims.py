"""Which objects of a deployment it claims, and which are garbage: a pure function of what was found.

A deployment is an endpoint that carries our tag. It claims itself, its config and the one that an update moves to, its
components, the models that those name, the generation before, and the rules on what it claims. While it, or one of its
components, is under way it claims everything that carries its tag, since nobody can tell what is being made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.deploy.plan import previous_generation
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    IMMUTABLE_KINDS,
    INFERENCE_COMPONENT,
    LOG_GROUP,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TRACKING_ALARM,
    stack_of,
)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """One object that no deployment claims.

    Attributes:
        why: Why nobody claims it.
        spared: Why it is not to be removed all the same; empty when it is garbage.
    """

    found: Found
    why: str
    spared: str = ""


def unclaimed(inventory: Inventory, now: datetime, older_than_s: float) -> tuple[Unclaimed, ...]:
    """What carries a deployment's tag and is not claimed. Young objects are spared: somebody may be deploying."""
    claims = claimed(inventory)
    endpoint = endpoint_of(inventory)
    rest = [found for found in inventory.ours() if found.key not in claims]
    young = {found.key for found in rest if _age_s(found, now) < older_than_s}
    whole_is_young = endpoint is None and bool(young)
    return tuple(
        Unclaimed(
            found,
            _why(found, endpoint),
            _held(found, inventory) or _spared(found, young, whole_is_young=whole_is_young),
        )
        for found in rest
    )


def claimed(inventory: Inventory) -> frozenset[Key]:
    """What the deployment of this inventory claims; nothing when it has no endpoint."""
    endpoint = endpoint_of(inventory)
    ours = inventory.ours()
    if endpoint is None:
        return frozenset()
    components = [found for found in ours if found.kind == INFERENCE_COMPONENT]
    if any(found.state in {State.BUSY, State.DELETING} for found in (endpoint, *components)):
        return frozenset(found.key for found in ours)
    used = _in_use(endpoint, ours)
    spare = [found for found in ours if found.kind in IMMUTABLE_KINDS and found.key not in used]
    rest = {found.key for found in ours if found.kind not in IMMUTABLE_KINDS and _stands(found, endpoint, components)}
    return frozenset(used | previous_generation(spare, inventory) | rest)


def endpoint_of(inventory: Inventory) -> Found | None:
    """The endpoint that makes a deployment of what carries its tag."""
    found = inventory.found.get((ENDPOINT, inventory.deployment))
    return found if found is not None and found.owned_by == inventory.deployment else None


def named_by(found: Found) -> Iterator[Key]:
    """What an object names: an endpoint its configs, a config and a component their models."""
    properties = found.properties
    if found.kind == ENDPOINT:
        for place in (properties, properties.get("PendingDeploymentSummary", {})):
            if "EndpointConfigName" in place:
                yield ENDPOINT_CONFIG, str(place["EndpointConfigName"])
    elif found.kind == ENDPOINT_CONFIG:
        yield from ((MODEL, str(each["ModelName"])) for each in _variants(properties) if "ModelName" in each)
    elif found.kind == INFERENCE_COMPONENT and "ModelName" in properties.get("Specification", {}):
        yield MODEL, str(properties["Specification"]["ModelName"])


def _in_use(endpoint: Found, ours: Iterable[Found]) -> set[Key]:
    """What the endpoint and the components name, directly or over a config, whether ours or not."""
    by_key = {found.key: found for found in ours}
    used: set[Key] = set()
    waiting = [endpoint, *(found for found in by_key.values() if found.kind == INFERENCE_COMPONENT)]
    while waiting:
        for key in named_by(waiting.pop()):
            if key not in used:
                used.add(key)
                waiting += [by_key[key]] if key in by_key else []
    return used


def _stands(found: Found, endpoint: Found, components: Iterable[Found]) -> bool:
    """Whether what an object is, or hangs on, is there."""
    there = {f"endpoint/{endpoint.name}", *(f"inference-component/{item.name}" for item in components)}
    if found.kind in {SCALABLE_TARGET, SCALING_POLICY}:
        return "/".join(found.name.partition("|")[0].split("/")[:2]) in there
    if found.kind == LOG_GROUP:
        return found.name.rpartition("/")[2] in {thing.partition("/")[2] for thing in there}
    return found.kind != TRACKING_ALARM


def _why(found: Found, endpoint: Found | None) -> str:
    if endpoint is None:
        return "its deployment has no endpoint"
    if found.kind in IMMUTABLE_KINDS:
        return "superseded; the generation in use and the one before are kept"
    return "what it belonged to is gone"


def _held(found: Found, inventory: Inventory) -> str:
    """A stack that is gone holds nothing any more of what it left."""
    stack = stack_of(found.tags)
    return f"of the stack {stack}" if stack in inventory.stacks else ""


def _spared(found: Found, young: set[Key], *, whole_is_young: bool) -> str:
    if found.key in young:
        return "young: somebody may be deploying it"
    return "others of its deployment are young: somebody may be deploying it" if whole_is_young else ""


def _age_s(found: Found, now: datetime) -> float:
    """An object that does not tell its age counts as new: of these only the guard `0s` lets one go."""
    return (now - found.created_at).total_seconds() if found.created_at else 0.0


def _variants(properties: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Those that answer, and those that get a copy of the requests: both need their model."""
    return (*properties.get("ProductionVariants", ()), *properties.get("ShadowProductionVariants", ()))
