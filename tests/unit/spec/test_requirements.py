"""`ResourceRequirements` under the seed's names, and the SDK's objects by their attributes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.spec import DeploymentSpec, ResourceRequirements, Resources

REQUESTS = {"copies": 2, "num_accelerators": 1, "num_cpus": 2, "memory": 5120}


@pytest.mark.row("T3")
def test_both_ways_of_writing_it_are_the_same() -> None:
    """The seed's `requests=` and plain keywords."""
    spelt = ResourceRequirements(requests=REQUESTS)
    assert spelt == ResourceRequirements(copies=2, num_accelerators=1, num_cpus=2, memory=5120)
    assert spelt.copy_count == 2


@pytest.mark.row("T3")
def test_the_api_document_is_the_sdks() -> None:
    """As sagemaker 2.257.7 and 3.27.0 send it; what is not given is not sent."""
    requirements = ResourceRequirements(requests=REQUESTS, limits={"memory": 8192})
    assert requirements.get_compute_resource_requirements() == {
        "MinMemoryRequiredInMb": 5120,
        "MaxMemoryRequiredInMb": 8192,
        "NumberOfCpuCoresRequired": 2,
        "NumberOfAcceleratorDevicesRequired": 1,
    }
    assert ResourceRequirements(memory=128).get_compute_resource_requirements() == {"MinMemoryRequiredInMb": 128}


def test_memory_is_needed_before_anything_bills() -> None:
    """The SDK finds out after the endpoint is up."""
    with pytest.raises(SpecError, match="memory"):
        ResourceRequirements(requests={"copies": 1})


def test_a_misspelt_request_is_refused() -> None:
    """The SDK drops it silently."""
    with pytest.raises(SpecError, match="num_gpus"):
        ResourceRequirements(requests={"num_gpus": 1, "memory": 1024})
    with pytest.raises(SpecError, match="cpus"):
        ResourceRequirements(memory=1024, limits={"cpus": 1})


def sdk_object(**changes: object) -> SimpleNamespace:
    """The attributes of `ResourceRequirements` in both SDKs (sagemaker 2.257.7, sagemaker-core 2.27.0)."""
    attributes = {"num_accelerators": 1, "num_cpus": 2, "min_memory": 5120, "max_memory": None, "copy_count": 2}
    return SimpleNamespace(requests=REQUESTS, limits=None, **{**attributes, **changes})


@pytest.mark.row("T3")
@pytest.mark.parametrize(
    "value",
    [
        ResourceRequirements(requests=REQUESTS),
        sdk_object(),
        {"copies": 2, "num_accelerators": 1, "num_cpus": 2, "memory_mib": 5120},
        Resources(copies=2, memory_mib=5120),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anybodys_object_becomes_ours(value: object) -> None:
    """By duck typing: no SDK is imported."""
    assert Resources.from_any(value) == Resources(copies=2, num_accelerators=1, num_cpus=2, memory_mib=5120)


def test_a_cap_is_kept() -> None:
    """`limits.memory` of the SDK."""
    assert Resources.from_any(sdk_object(max_memory=9000)).max_memory_mib == 9000


@pytest.mark.parametrize("value", [sdk_object(min_memory=None), sdk_object(copy_count=0), object(), {"memory": 1}])
def test_what_cannot_be_resources_is_a_spec_error(value: object) -> None:
    """With our error, not the library's."""
    with pytest.raises(SpecError):
        Resources.from_any(value)


@pytest.mark.row("T3")
@pytest.mark.parametrize("value", [ResourceRequirements(requests=REQUESTS), sdk_object()], ids=["ours", "the SDK's"])
def test_a_spec_takes_requirements_as_they_are(value: object) -> None:
    """`DeploymentSpec(resources=ResourceRequirements(...))`."""
    spec = DeploymentSpec.model_validate({"name": "a", "model": "a/b", "resources": value})
    assert spec.resources == Resources(copies=2, memory_mib=5120)
