"""From an open LLM's id to an endpoint that other services call, on AWS SageMaker and on a local cloud.

Names are loaded when they are first used, so that a service which only asks a model pays for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_deploy import errors
    from llm_deploy.client.batch import BatchItem
    from llm_deploy.client.endpoint import LLMInferenceHttpEndpoint, LLMInferenceSagemakerEndpoint
    from llm_deploy.client.endpoint_async import AsyncLLMInferenceHttpEndpoint, AsyncLLMInferenceSagemakerEndpoint
    from llm_deploy.client.executor import InferenceExecutor
    from llm_deploy.client.executor_async import AsyncInferenceExecutor
    from llm_deploy.client.inference import AsyncInference, Inference, StreamingInference
    from llm_deploy.deploy.service import DeploymentService
    from llm_deploy.dialects.types import Chunk, Embeddings, Generation, GenerationRequest, ToolCall
    from llm_deploy.spec import DeploymentSpec, EndpointType, ResourceRequirements
    from llm_deploy.targets.deployment import ResourceManager
    from llm_deploy.targets.huggingface import SagemakerHuggingfaceStrategy, create_endpoint

    __version__: str

__all__ = [
    "AsyncInference",
    "AsyncInferenceExecutor",
    "AsyncLLMInferenceHttpEndpoint",
    "AsyncLLMInferenceSagemakerEndpoint",
    "BatchItem",
    "Chunk",
    "DeploymentService",
    "DeploymentSpec",
    "Embeddings",
    "EndpointType",
    "Generation",
    "GenerationRequest",
    "Inference",
    "InferenceExecutor",
    "LLMInferenceHttpEndpoint",
    "LLMInferenceSagemakerEndpoint",
    "ResourceManager",
    "ResourceRequirements",
    "SagemakerHuggingfaceStrategy",
    "StreamingInference",
    "ToolCall",
    "__version__",
    "create_endpoint",
    "errors",
]

_HOMES = {
    "AsyncInference": "llm_deploy.client.inference",
    "AsyncInferenceExecutor": "llm_deploy.client.executor_async",
    "AsyncLLMInferenceHttpEndpoint": "llm_deploy.client.endpoint_async",
    "AsyncLLMInferenceSagemakerEndpoint": "llm_deploy.client.endpoint_async",
    "BatchItem": "llm_deploy.client.batch",
    "Chunk": "llm_deploy.dialects.types",
    "DeploymentService": "llm_deploy.deploy.service",
    "DeploymentSpec": "llm_deploy.spec",
    "Embeddings": "llm_deploy.dialects.types",
    "EndpointType": "llm_deploy.spec",
    "Generation": "llm_deploy.dialects.types",
    "GenerationRequest": "llm_deploy.dialects.types",
    "Inference": "llm_deploy.client.inference",
    "InferenceExecutor": "llm_deploy.client.executor",
    "LLMInferenceHttpEndpoint": "llm_deploy.client.endpoint",
    "LLMInferenceSagemakerEndpoint": "llm_deploy.client.endpoint",
    "ResourceManager": "llm_deploy.targets.deployment",
    "ResourceRequirements": "llm_deploy.spec",
    "SagemakerHuggingfaceStrategy": "llm_deploy.targets.huggingface",
    "StreamingInference": "llm_deploy.client.inference",
    "ToolCall": "llm_deploy.dialects.types",
    "create_endpoint": "llm_deploy.targets.huggingface",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    from importlib import import_module  # noqa: PLC0415 - names are loaded one by one; so is what loads them

    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - 15 ms that nobody needs but who asks

        value: Any = version("llm-deploy")
    elif name == "errors":
        value = import_module("llm_deploy.errors")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
