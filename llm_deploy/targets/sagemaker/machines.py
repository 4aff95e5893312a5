"""The machines that an endpoint's config asks for, where the endpoint itself does not tell its machines yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_deploy.aws import Session
from llm_deploy.targets.sagemaker.hosting import EndpointConfigManager


def asked_for(session: Session, config: str) -> tuple[Mapping[str, Any], ...]:
    """By variant: type, no machine yet, and the number asked for; empty where there is no such config any more.

    An endpoint that is being created is described without its variants, while AWS bills its machines already.
    """
    found = EndpointConfigManager(session).find(config)
    variants = found.properties["ProductionVariants"] if found else ()
    return tuple(
        {
            "variant": variant["VariantName"],
            "type": variant.get("InstanceType", "unknown"),
            "count": 0,
            "desired": variant.get("InitialInstanceCount"),
        }
        for variant in variants
    )
