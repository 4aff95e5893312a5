"""SageMaker's runtime: invocations of what is hosted."""

from __future__ import annotations

from llm_deploy.emulator.service import Cloud


def install(cloud: Cloud) -> None:
    """Answer SageMaker's runtime."""
    del cloud
