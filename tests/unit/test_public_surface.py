"""What `import llm_deploy` offers, and what it does not cost."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import llm_deploy

HEAVY = ("boto3", "botocore", "pydantic", "typer", "rich", "urllib3", "yaml", "loguru", "asyncio", "ssl")

SURFACE = {
    "AsyncInference", "AsyncInferenceExecutor", "AsyncLLMInferenceHttpEndpoint", "AsyncLLMInferenceSagemakerEndpoint",
    "BatchItem", "Chunk", "DeploymentService", "DeploymentSpec", "Embeddings", "EndpointType", "Generation",
    "GenerationRequest", "Inference", "InferenceExecutor", "LLMInferenceHttpEndpoint",
    "LLMInferenceSagemakerEndpoint", "ResourceManager", "ResourceRequirements", "SagemakerHuggingfaceStrategy",
    "StreamingInference", "ToolCall", "__version__", "create_endpoint", "errors",
}  # fmt: skip


def test_the_surface_is_the_one_that_is_promised() -> None:
    """A name more or less is a decision, made here as well."""
    assert set(llm_deploy.__all__) == SURFACE
    assert set(dir(llm_deploy)) >= SURFACE


@pytest.mark.parametrize("name", sorted(SURFACE))
def test_every_promised_name_is_there(name: str) -> None:
    """Each loads from its home."""
    assert getattr(llm_deploy, name) is not None


def test_the_version_is_the_distributions() -> None:
    """Said once, in pyproject.toml."""
    assert llm_deploy.__version__ == importlib.metadata.version("llm-deploy")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = llm_deploy.nonsense


@pytest.mark.row("T5")
@pytest.mark.parametrize(
    "statement",
    [
        "import llm_deploy",
        "from llm_deploy import InferenceExecutor",
        "from llm_deploy import LLMInferenceSagemakerEndpoint, GenerationRequest, Generation, Chunk, Inference, errors",
        "from llm_deploy import LLMInferenceSagemakerEndpoint; LLMInferenceSagemakerEndpoint('twin')",
    ],
)
def test_asking_a_model_loads_no_heavy_library(statement: str) -> None:
    """The cloud's library comes with the first call; a spec's with the first spec."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == []
