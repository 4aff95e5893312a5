"""Who answers an invocation: the rules about names, headers and capacity."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.fleet import Fleet
from llm_deploy.emulator.sagemaker.adapters import base_of
from llm_deploy.emulator.sagemaker.hosting import ASYNC, Hosting
from llm_deploy.emulator.service import ServiceError
from llm_deploy.emulator.store import Document

COMPONENT_HEADER = "x-amzn-sagemaker-inference-component"
VARIANT_HEADER = "x-amzn-sagemaker-target-variant"
_UP = ("InService", "Updating", "RollingBack", "SystemUpdating")


@dataclass(frozen=True, slots=True)
class Target:
    """What an invocation goes to.

    Attributes:
        fleet: The copies; at least one is wanted, none may be ready.
        component: Name of the inference component; `None` for a model-based endpoint.
    """

    endpoint: str
    variant: str
    fleet: Fleet
    component: str | None = None

    def dimensions(self) -> dict[str, str]:
        """Of the metrics of AWS/SageMaker. Source: "Monitor SageMaker AI with CloudWatch", AWS."""
        named = {"EndpointName": self.endpoint, "VariantName": self.variant}
        return {**named, "InferenceComponentName": self.component} if self.component else named


def refuse_invocation(entry_id: str, **values: object) -> ServiceError:
    """The ValidationError of a ledger entry."""
    return ServiceError("ValidationError", ledger.text(entry_id, **values))


def endpoint_up(hosting: Hosting, name: str) -> Document:
    """An endpoint that takes requests.

    Raises:
        ServiceError: There is none, in the words of `runtime.no-endpoint`.
    """
    endpoint = hosting.find_endpoint(name)
    if endpoint is None or endpoint["EndpointStatus"] not in _UP:
        account = hosting.cloud.settings.account
        raise refuse_invocation("runtime.no-endpoint", endpoint=name, account=account)
    return endpoint


def async_config(endpoint: Document) -> Document | None:
    """How an endpoint answers asynchronously; `None` when it answers at once. Ledger: `sm.async.only`."""
    config: Document | None = endpoint["variants"][0].get(ASYNC)
    return config


def choose(hosting: Hosting, endpoint_name: str, headers: Mapping[str, str]) -> Target:
    """Find who answers.

    Raises:
        ServiceError: Nobody does, in the words of the ledger's `runtime.*` entries.
    """
    endpoint = endpoint_up(hosting, endpoint_name)
    if async_config(endpoint) is not None:
        raise refuse_invocation("runtime.async.only", endpoint=endpoint_name)
    return choose_among(hosting, endpoint, headers)


def choose_among(hosting: Hosting, endpoint: Document, headers: Mapping[str, str]) -> Target:
    """As `choose`, of an endpoint that is known to be up, whatever way it answers."""
    asked = headers.get(COMPONENT_HEADER)
    has_model = any(variant.get("container") for variant in endpoint["variants"])
    if has_model:
        if asked is not None:
            raise refuse_invocation("runtime.header-forbidden")
        return _of_variant(hosting, endpoint, headers.get(VARIANT_HEADER))
    if asked is None:
        raise refuse_invocation("runtime.header-required")
    return _of_component(hosting, endpoint, asked)


def _of_variant(hosting: Hosting, endpoint: Document, asked: str | None) -> Target:
    name = endpoint["EndpointName"]
    variants = [each for each in endpoint["variants"] if asked in (None, each["VariantName"])]
    if not variants:
        raise refuse_invocation("runtime.no-variant", variant=asked, endpoint=name)
    variant = _by_weight(hosting.cloud.random, variants) if asked is None else variants[0]
    fleet = hosting.fleets.serving(f"endpoint/{name}/{variant['VariantName']}")
    if fleet is None or not fleet.copies:
        raise ServiceError("ServiceUnavailable", ledger.text("runtime.unavailable"), status=503)
    return Target(name, variant["VariantName"], fleet)


def _of_component(hosting: Hosting, endpoint: Document, asked: str) -> Target:
    component = hosting.find_component(asked)
    name = endpoint["EndpointName"]
    if component is None or component["EndpointName"] != name:
        raise refuse_invocation("runtime.no-component", component=asked, account=hosting.cloud.settings.account)
    # An adapter has no copies: those of its base answer for it.
    serving = hosting.find_component(base_of(component) or asked)
    fleet = hosting.fleets.serving(f"inference-component/{serving['InferenceComponentName']}") if serving else None
    if serving is None or fleet is None or not fleet.copies or serving["CurrentCopyCount"] == 0:
        hosting.cloud.hooks.metric("NoCapacityInvocationFailures", {"InferenceComponentName": asked}, 1, "Count")
        raise refuse_invocation("runtime.no-capacity")
    return Target(name, component["VariantName"], fleet, asked)


def _by_weight(rng: random.Random, variants: list[Document]) -> Document:
    weights = [variant["CurrentWeight"] for variant in variants]
    return rng.choices(variants, weights)[0] if sum(weights) > 0 else variants[0]
