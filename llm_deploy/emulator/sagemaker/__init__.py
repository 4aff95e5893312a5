"""SageMaker hosting: models, endpoint configs, endpoints, inference components, tags."""

from __future__ import annotations

from llm_deploy.emulator.service import Cloud, JsonService


def install(cloud: Cloud) -> None:
    """Answer SageMaker's control plane."""
    cloud.registry.add_json(JsonService("sagemaker", "SageMaker", {}))
