"""The resource classes of sagemaker-core (SDK version 3): create, wait, invoke, update, delete.

Usage: sagemaker_core_life.py model|inference-component. The last line is what was observed, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from botocore.exceptions import ClientError
from sagemaker.core import enums
from sagemaker.core.compute_resource_requirements.resource_requirements import ResourceRequirements as Other
from sagemaker.core.resource_requirements import ResourceRequirements
from sagemaker.core.resources import Endpoint, EndpointConfig, InferenceComponent, Model
from sagemaker.core.shapes import (
    ContainerDefinition,
    InferenceComponentComputeResourceRequirements,
    InferenceComponentRuntimeConfig,
    InferenceComponentSpecification,
    ProductionVariant,
    Tag,
)

from llm_deploy import spec

ROLE = os.environ["AWS_ARN_ROLE"]
IMAGE = (
    "763104351884.dkr.ecr.eu-central-1.amazonaws.com/"
    "huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04"
)
QUESTION = json.dumps({"inputs": "The capital of France is", "parameters": {"max_new_tokens": 8, "temperature": 0.01}})
WAITING = {"poll": 1, "timeout": 120}


def main(endpoint_type: str) -> dict[str, Any]:
    """One life; what was seen."""
    component = endpoint_type == "inference-component"
    container = ContainerDefinition(image=IMAGE, environment={"HF_MODEL_ID": "x/y"})
    model = Model.create(
        model_name="core", execution_role_arn=ROLE, primary_container=container, tags=[Tag(key="k", value="v")]
    )
    variant = ProductionVariant(
        variant_name="AllTraffic",
        instance_type="ml.g5.12xlarge",
        initial_instance_count=1,
        **({} if component else {"model_name": "core"}),
    )
    role = {"execution_role_arn": ROLE} if component else {}
    config = EndpointConfig.create(endpoint_config_name="core", production_variants=[variant], **role)
    endpoint = Endpoint.create(endpoint_name="core", endpoint_config_name="core")
    endpoint.wait_for_status("InService", **WAITING)
    seen: dict[str, Any] = {"status": endpoint.endpoint_status, "listed": [e.endpoint_name for e in Endpoint.get_all()]}
    target = {"inference_component_name": "core"} if component else {}
    if component:
        part = make_component()
        seen["component"] = part.inference_component_status
    seen["answer"] = asked(endpoint, **target)
    if component:
        # Not to zero copies: the SDK leaves a zero out of the request.
        part.update_runtime_configs(desired_runtime_config=InferenceComponentRuntimeConfig(copy_count=2))
        part.wait_for_status("InService", **WAITING)
        seen["copies"] = part.runtime_config.current_copy_count
        part.delete()
        part.wait_for_delete(**WAITING)
    endpoint.delete()
    endpoint.wait_for_delete(**WAITING)
    config.delete()
    model.delete()
    seen["absent"] = refusal(endpoint, **target)
    return seen | accepted()


def make_component() -> Any:  # noqa: ANN401 - the SDK's classes are not ours to type
    """An inference component with one copy, in service."""
    needs = InferenceComponentComputeResourceRequirements(
        min_memory_required_in_mb=1024, number_of_accelerator_devices_required=1, number_of_cpu_cores_required=2
    )
    made = InferenceComponent.create(
        inference_component_name="core",
        endpoint_name="core",
        variant_name="AllTraffic",
        specification=InferenceComponentSpecification(model_name="core", compute_resource_requirements=needs),
        runtime_config=InferenceComponentRuntimeConfig(copy_count=1),
    )
    made.wait_for_status("InService", **WAITING)
    return made


def asked(endpoint: Any, **target: str) -> str:  # noqa: ANN401 - as above
    """The model's answer."""
    answer = endpoint.invoke(body=QUESTION, content_type="application/json", **target)
    return str(json.loads(answer.body.read())[0]["generated_text"])


def refusal(endpoint: Any, **target: str) -> list[str]:  # noqa: ANN401 - as above
    """Code and text of the error that a question meets."""
    try:
        return ["none", asked(endpoint, **target)]
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["Error"]["Message"]]


def accepted() -> dict[str, Any]:
    """The SDK's two classes of one name, and its endpoint types, as ours."""
    given = {
        "requests": {"num_accelerators": 1, "memory": 1024, "num_cpus": 2, "copies": 1},
        "limits": {"memory": 2048},
    }
    return {
        "requirements": [spec.Resources.from_any(made(**given)).model_dump() for made in (ResourceRequirements, Other)],
        "endpoint_types": [spec.EndpointType.from_any(each).name for each in enums.EndpointType],
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1])) + "\n")
