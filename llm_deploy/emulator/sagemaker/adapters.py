"""Adapter components: a fine-tuning laid over a base component, whose copies answer for it."""

from __future__ import annotations

from llm_deploy.emulator.sagemaker.hosting import COMPONENT, Hosting
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.store import Document

BASE = "BaseInferenceComponentName"


def base_of(component: Document) -> str | None:
    """The name of the base that an adapter lies on; `None` for a component of its own."""
    name: str | None = component["Specification"].get(BASE)
    return name


def check_adapter(hosting: Hosting, specification: Document, endpoint: str) -> None:
    """Refuse an adapter that asks for machines, or whose base is not up on the same endpoint.

    Raises:
        ServiceError: Ledger: `sm.component.adapter-needs`, `sm.component.adapter-base`.
    """
    base = hosting.component(specification[BASE])
    if "ComputeResourceRequirements" in specification or "ArtifactUrl" not in specification.get("Container", {}):
        raise refusal("sm.component.adapter-needs")
    up = base["InferenceComponentStatus"] in ("InService", "Updating") and base_of(base) is None
    if base["EndpointName"] != endpoint or not up:
        raise refusal("sm.component.adapter-base", base=base["InferenceComponentArn"])


def refuse_while_adapters_stand(hosting: Hosting, component: Document) -> None:
    """A base goes after its adapters, also while those are being deleted.

    Raises:
        ServiceError: Ledger: `sm.component.base-of-adapters`.
    """
    name = component["InferenceComponentName"]
    if any(base_of(each) == name for each in hosting.cloud.store.all(COMPONENT)):
        raise refusal("sm.component.base-of-adapters", arn=component["InferenceComponentArn"])
