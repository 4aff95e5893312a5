"""Deployments as a strategy lists them, small enough to interrupt at every call, and the flows that lead to them."""

from __future__ import annotations

from collections.abc import Sequence

from llm_deploy.deploy.plan import Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_DEPLOYMENT,
    TAG_MACHINE,
    Resource,
    content_name,
)
from tests.fakes.cloud import FakeClock, FakeCloud

NAME = "twin"
TAGS = {TAG_DEPLOYMENT: NAME}
Resources = tuple[Resource, ...]


def with_component(
    image: str = "tgi:1", machine: str = "ml.g5.2xlarge", *, scaled: bool = True, memory: int = 1024
) -> Resources:
    """An endpoint with an inference component; its document may change while its model stays."""
    model, config = _model(image), _config({"InstanceType": machine})
    endpoint = _endpoint(config)
    room = {"MinMemoryRequiredInMb": memory}
    specification = {"ModelName": model.name, "ComputeResourceRequirements": room}
    properties = {"EndpointName": NAME, "Specification": specification}
    needs = ("Model", "Endpoint")
    component = Resource("Component", INFERENCE_COMPONENT, NAME, properties, TAGS, needs)
    rules = _rules(f"inference-component/{NAME}", "Component") if scaled else ()
    return model, config, endpoint, component, *rules


def with_model(image: str = "tgi:1", machine: str = "ml.g5.2xlarge", *, scaled: bool = True) -> Resources:
    """An endpoint that serves one model; its machine cannot change while it may scale."""
    model = _model(image)
    config = _config({"ProductionVariants": [{"ModelName": model.name, "InstanceType": machine}]})
    rules = _rules(f"endpoint/{NAME}/variant/v", "Endpoint", machine) if scaled else ()
    return model, config, _endpoint(config), *rules


def service(cloud: FakeCloud) -> DeploymentService:
    """The engine over a cloud, with a clock of its own."""
    return DeploymentService(cloud, FakeClock())


def deploy(cloud: FakeCloud, resources: Sequence[Resource]) -> Plan:
    """As `llmdeploy deploy-endpoint`; the plan that was carried out."""
    plan = service(cloud).plan(NAME, resources)
    for _ in service(cloud).apply(plan):
        pass
    return plan


def delete(cloud: FakeCloud) -> None:
    """As `llmdeploy delete-endpoint`."""
    plan = service(cloud).plan_deletion(NAME)
    for _ in service(cloud).delete(plan):
        pass


def _model(image: str) -> Resource:
    document = {"Image": image}
    return Resource("Model", MODEL, content_name(NAME, document), document, TAGS)


def _config(document: dict[str, object]) -> Resource:
    return Resource("Config", ENDPOINT_CONFIG, content_name(NAME, document), document, TAGS, ("Model",))


def _endpoint(config: Resource) -> Resource:
    return Resource("Endpoint", ENDPOINT, NAME, {"EndpointConfigName": config.name}, TAGS, ("Config",))


def _rules(resource_id: str, over: str, machine: str | None = None) -> Resources:
    tags = TAGS if machine is None else {**TAGS, TAG_MACHINE: machine}
    replaced = frozenset({TAG_MACHINE})
    target = Resource("Target", SCALABLE_TARGET, resource_id, {"Max": 2}, tags, (over,), replace_on=replaced)
    policy = Resource("Policy", SCALING_POLICY, f"{resource_id}|p", {"Target": 5.0}, TAGS, ("Target",))
    return target, policy
