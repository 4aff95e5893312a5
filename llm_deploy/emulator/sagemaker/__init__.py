"""SageMaker hosting: models, endpoint configs, endpoints, inference components, tags."""

from __future__ import annotations

from llm_deploy.emulator.sagemaker.install import install

__all__ = ["install"]
