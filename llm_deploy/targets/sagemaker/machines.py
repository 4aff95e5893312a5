"""The machines of an endpoint and what they cost: what bills, as far as the cloud tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_deploy import catalog
from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError
from llm_deploy.targets.sagemaker.hosting import EndpointConfigManager

Machines = tuple[Mapping[str, Any], ...]


def machines(session: Session, endpoint: Found) -> Machines:
    """By variant: type, current and desired number; during an update also those that come up beside the old ones.

    An endpoint that is being created is described without its variants, while AWS bills its machines already: then the
    numbers are what its config asks for. Empty where that config is gone, or AWS does not say which it is.
    """
    asked = _asked(session, endpoint.properties.get("EndpointConfigName"))
    running = tuple(_running(endpoint.properties.get("ProductionVariants", ()), asked))
    pending = tuple(_pending(endpoint.properties.get("PendingDeploymentSummary", {}).get("ProductionVariants", ())))
    return (*(running or tuple(_starting(asked))), *pending)


def usd_per_hour(instances: Sequence[Mapping[str, Any]], region: str) -> float | None:
    """The list price of machines; `None` where a type's price, or what machines there are, is not known.

    A machine bills from its start, before it counts as current, so the wanted number holds while there is none yet.
    """
    if not instances or any(variant["type"] not in catalog.instances() for variant in instances):
        return None
    total = 0.0
    for variant in instances:
        each = catalog.price(variant["type"], region).usd_per_hour
        if each is None:
            return None
        total += each * (variant["count"] or variant["desired"] or 0)
    return total


def _asked(session: Session, config: str | None) -> Mapping[str, Mapping[str, Any]]:
    try:
        found = EndpointConfigManager(session).find(config) if config else None
    except AccessDeniedError:
        return {}  # a config that somebody else named: its machines are not known, and so is their price
    return {variant["VariantName"]: variant for variant in (found.properties["ProductionVariants"] if found else ())}


def _running(
    variants: Sequence[Mapping[str, Any]], asked: Mapping[str, Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    for variant in variants:
        wanted = asked.get(variant["VariantName"], {})
        yield {
            "variant": variant["VariantName"],
            "type": wanted.get("InstanceType", "unknown"),
            "count": variant.get("CurrentInstanceCount", wanted.get("InitialInstanceCount")),
            "desired": variant.get("DesiredInstanceCount", wanted.get("InitialInstanceCount")),
        }


def _starting(asked: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for name, variant in asked.items():
        desired = variant.get("InitialInstanceCount")
        yield {"variant": name, "type": variant.get("InstanceType", "unknown"), "count": 0, "desired": desired}


def _pending(variants: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for variant in variants:
        yield {
            "variant": f"{variant['VariantName']}, update",
            "type": variant.get("InstanceType", "unknown"),
            "count": variant.get("CurrentInstanceCount", 0),
            "desired": variant.get("DesiredInstanceCount"),
        }
