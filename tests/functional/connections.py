"""The local cloud from inside the test's process: a connection whose session, wire and clock a test may choose."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import boto3

from llm_deploy.catalog import load_spec
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.settings import load_settings
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from tests.conftest import ROOT

TWIN = ROOT / "configs" / "twin.yaml"
KINDS = {
    "models": ("sagemaker", "list_models", "Models"),
    "configs": ("sagemaker", "list_endpoint_configs", "EndpointConfigs"),
    "endpoints": ("sagemaker", "list_endpoints", "Endpoints"),
    "components": ("sagemaker", "list_inference_components", "InferenceComponents"),
}


@dataclass(frozen=True)
class QuickClock:
    """A clock on which so many seconds pass in each real one, for waits that are minutes long on purpose."""

    speed: float

    def now_s(self) -> float:
        """The time on it."""
        return time.monotonic() * self.speed

    def sleep(self, seconds: float) -> None:
        """Block until so many of its seconds have passed."""
        time.sleep(seconds / self.speed)


def over(connection: Connection, url: str, *, attempts: int) -> Connection:
    """The same cloud over another address, each call sent so often at most."""
    session = replace(connection.session, endpoint_url=url, attempts=attempts, _clients={})
    return replace(connection, session=session)


def specified(endpoint_type: str, name: str = "twin", **overrides: str) -> DeploymentSpec:
    """configs/twin.yaml with `--endpoint-type` and `--set`, under another name."""
    dotted = {"name": name, **{field.replace("__", "."): value for field, value in overrides.items()}}
    return load_spec(TWIN, settings=load_settings(), endpoint_type=endpoint_type, overrides=dotted).spec


def deploy(spec: DeploymentSpec, connection: Connection, service: DeploymentService | None = None) -> None:
    """As `llmdeploy deploy-endpoint`, without the question at its end."""
    planned = deployment.plan_deployment(spec, connection, service=service)
    if not planned.plan.empty:
        for _ in deployment.apply_deployment(planned, connection, service=service):
            pass


def delete(name: str, connection: Connection) -> None:
    """As `llmdeploy delete-endpoint`."""
    service = deployment.removal_service(name, connection)
    for _ in service.delete(deployment.plan_removal(name, connection, service=service)):
        pass


def standing(variables: Mapping[str, str], name: str) -> dict[str, list[str]]:
    """What boto3 sees of a deployment, by its names."""
    found = {}
    for kind, (service, operation, member) in KINDS.items():
        client = client_of(variables, service)
        pages = client.get_paginator(operation).paginate(NameContains=name)
        key = f"{member[:-1]}Name"
        found[kind] = [item[key] for page in pages for item in page[member] if item[key].startswith(name)]
    scaling = client_of(variables, "application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    found["targets"] = [item["ResourceId"] for item in targets if item["ResourceId"].split("/")[1] == name]
    found["policies"] = [item["PolicyName"] for item in policies if item["ResourceId"].split("/")[1] == name]
    return found


def client_of(variables: Mapping[str, str], service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """A client of boto3's own."""
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
