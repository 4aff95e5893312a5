"""The life of an endpoint, operation by operation, as a program with boto3 would write it."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.clients.boto import Boto

IMAGE = (
    "763104351884.dkr.ecr.eu-central-1.amazonaws.com/"
    "huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04"
)
QUESTION = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 8, "temperature": 0.01}}
WAITER = {"Delay": 1, "MaxAttempts": 100}
PATIENCE_S = 60.0


def make_model(boto: Boto, name: str) -> str:
    """A TGI model of that name; its ARN."""
    arn: str = boto.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=boto.variables["AWS_ARN_ROLE"],
        PrimaryContainer={"Image": IMAGE, "Environment": {"HF_MODEL_ID": "x/y"}},
        Tags=[{"Key": "team", "Value": "judges"}],
    )["ModelArn"]
    return arn


def make_config(boto: Boto, name: str, model: str | None, **variant: Any) -> None:  # noqa: ANN401 - API members
    """An endpoint config of one variant: of a model, or empty for components."""
    whole = {"VariantName": "AllTraffic", "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 1, **variant}
    if model:
        boto.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[{**whole, "ModelName": model}]
        )
    else:
        role = boto.variables["AWS_ARN_ROLE"]
        boto.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[whole], ExecutionRoleArn=role
        )


def make_endpoint(boto: Boto, name: str, model: str | None, **variant: Any) -> None:  # noqa: ANN401 - API members
    """Config and endpoint of that name, in service."""
    make_config(boto, name, model, **variant)
    boto.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(boto, name)


def in_service(boto: Boto, name: str) -> None:
    """Wait as botocore's waiter does."""
    boto.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=WAITER)


def specification(model: str) -> dict[str, Any]:
    """A component's specification: one accelerator, two CPUs."""
    needs = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1, "NumberOfCpuCoresRequired": 2}
    return {"ModelName": model, "ComputeResourceRequirements": needs}


def make_component(boto: Boto, name: str, endpoint: str, model: str) -> None:
    """A component with one copy, in service."""
    boto.sagemaker.create_inference_component(
        InferenceComponentName=name,
        EndpointName=endpoint,
        VariantName="AllTraffic",
        Specification=specification(model),
        RuntimeConfig={"CopyCount": 1},
    )
    assert component_rests(boto, name)["InferenceComponentStatus"] == "InService"


def component_rests(boto: Boto, name: str) -> dict[str, Any]:
    """Wait until a component is in no transient status; botocore has no waiter for it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found: dict[str, Any] = boto.sagemaker.describe_inference_component(InferenceComponentName=name)
        if not found["InferenceComponentStatus"].endswith("ing"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} does not come to rest")


def remove_component(boto: Boto, name: str) -> None:
    """Delete a component and wait until it is gone."""
    boto.sagemaker.delete_inference_component(InferenceComponentName=name)
    end = time.monotonic() + PATIENCE_S
    while boto.sagemaker.list_inference_components(NameContains=name)["InferenceComponents"]:
        assert time.monotonic() < end
        time.sleep(0.05)


def remove(boto: Boto) -> None:
    """Every component, endpoint, config and model, in the order in which they can go."""
    sagemaker = boto.sagemaker
    for component in sagemaker.list_inference_components()["InferenceComponents"]:
        component_rests(boto, component["InferenceComponentName"])
        remove_component(boto, component["InferenceComponentName"])
    for endpoint in sagemaker.list_endpoints()["Endpoints"]:
        sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint["EndpointName"], WaiterConfig=WAITER)
    for config in sagemaker.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for model in sagemaker.list_models(MaxResults=100)["Models"]:
        sagemaker.delete_model(ModelName=model["ModelName"])


def asked(boto: Boto, endpoint: str, component: str | None = None) -> str:
    """The model's answer to the question, as a whole."""
    answer = boto.sagemaker_runtime.invoke_endpoint(**request(endpoint, component))
    return str(json.load(answer["Body"])[0]["generated_text"])


def request(endpoint: str, component: str | None = None, **body: object) -> dict[str, Any]:
    """The members of an invocation; `body` is added to the question."""
    target = {"InferenceComponentName": component} if component else {}
    content = json.dumps({**QUESTION, **body})
    return {"EndpointName": endpoint, **target, "ContentType": "application/json", "Body": content}
