"""sagemaker-core: the resource classes of the SageMaker SDK, version 3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.conftest import Runner, python_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("client-sagemaker-core")]

OURS = {"copies": 1, "num_accelerators": 1, "num_cpus": 2.0, "memory_mib": 1024, "max_memory_mib": 2048}


@pytest.mark.row("T3")
def test_its_resources_live(foreign: Runner, endpoint_type: str) -> None:
    """Create, wait, list, invoke, change copies, delete with its classes; and our spec takes its objects."""
    seen: dict[str, Any] = python_program(foreign, "sagemaker-core", "sagemaker_core_life.py", endpoint_type)
    assert seen["status"] == "InService"
    assert seen["listed"] == ["core"]
    assert seen["answer"].startswith(" Paris")
    assert seen["absent"] == ["ValidationError", "Endpoint core of account 000000000000 not found."]
    if endpoint_type == "inference-component":
        assert seen["component"] == "InService"
        assert seen["copies"] == 2
    assert seen["requirements"] == [OURS, OURS]
    assert seen["endpoint_types"] == ["MODEL_BASED", "INFERENCE_COMPONENT_BASED"]
