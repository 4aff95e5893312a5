"""From a spec to one with nothing left open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_deploy.catalog import load_spec, resolve
from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings
from llm_deploy.spec import DeploymentSpec, Place, ResolvedSpec
from tests.specs import CONFIGS, OWN_FILES

Build = Callable[..., DeploymentSpec]

ROLE = "arn:aws:iam::123456789012:role/x"


def resolved(spec: DeploymentSpec, region: str = "eu-central-1") -> ResolvedSpec:
    return resolve(spec, Place(region=region, account="123456789012"), ROLE)


def test_the_twin(settings: Settings) -> None:
    """The main deployment, in full."""
    found = resolved(load_spec(CONFIGS / "twin.yaml", settings=settings).spec)
    assert found.image_uri.endswith("2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04")
    assert (found.dialect, found.inference_ami_version, found.component_name) == ("tgi", None, "twin")
    assert found.environment == {
        "HF_MODEL_ID": "mlabonne/TwinLlama-3.1-8B-DPO",
        "SM_NUM_GPUS": "1",
        "MAX_INPUT_LENGTH": "2048",
        "MAX_TOTAL_TOKENS": "4096",
        "MAX_BATCH_TOTAL_TOKENS": "4096",
    }
    assert (found.spec.instance.min_count, found.spec.instance.max_count) == (1, 2)
    assert found.usd_per_hour == 1.515
    assert found.price_note == "on demand, us-east-1, 2025-02; eu-central-1 differs"


@pytest.mark.row("T9")
@pytest.mark.parametrize(
    ("endpoint_type", "word", "metric"),
    [
        ("inference-component", None, "SageMakerInferenceComponentInvocationsPerCopy"),
        ("model", "invocations", "SageMakerVariantInvocationsPerInstance"),
        ("inference-component", "concurrency", "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"),
        ("model", "concurrency", "SageMakerVariantConcurrentRequestsPerModelHighResolution"),
    ],
)
def test_a_metric_gets_sagemakers_name(endpoint_type: str, word: str | None, metric: str, spec_from: Build) -> None:
    """One word in the file fits both endpoint types."""
    found = resolved(spec_from(endpoint_type=endpoint_type, autoscaling={"metric": word}))
    assert found.spec.autoscaling is not None
    assert found.spec.autoscaling.metric == metric


@pytest.mark.parametrize(
    ("instance", "accelerators", "copies", "bounds"),
    [
        ("ml.g5.2xlarge", 1, (1, 2), (1, 2)),
        ("ml.g5.12xlarge", 1, (1, 4), (1, 1)),
        ("ml.g5.12xlarge", 1, (1, 5), (1, 2)),
        ("ml.g5.12xlarge", 2, (1, 5), (1, 3)),
        ("ml.g5.48xlarge", 3, (1, 5), (1, 3)),
        ("ml.g5.2xlarge", 1, (1, 3), (1, 3)),
        ({"initial_count": 4}, 1, (1, 2), (1, 4)),
        ({"min_count": 1, "max_count": 9}, 1, (1, 3), (1, 9)),
    ],
)
def test_bounds_of_instances_follow_from_those_of_the_copies(
    instance: object, accelerators: int, copies: tuple[int, int], bounds: tuple[int, int], spec_from: Build
) -> None:
    """Whole copies on whole machines; what the user gave stays."""
    spec = spec_from(
        instance=instance,
        resources={"num_accelerators": accelerators},
        autoscaling={"min_copies": copies[0], "max_copies": copies[1]},
    )
    found = resolved(spec).spec.instance
    assert (found.min_count, found.max_count) == bounds
    assert found.min_count is not None
    assert found.min_count <= found.initial_count <= (found.max_count or 0)


def test_a_model_based_endpoint_has_no_component(spec_from: Build) -> None:
    """And no bounds of managed instances."""
    found = resolved(spec_from(endpoint_type="model", autoscaling={"max_copies": 3}))
    assert found.component_name is None
    assert found.spec.instance.max_count is None


def test_what_the_user_chose_wins(spec_from: Build) -> None:
    """Image, driver, component's name."""
    ami = "al2-ami-sagemaker-inference-gpu-3-1"
    found = resolved(
        spec_from(
            engine="vllm",
            image="mine:cu128",
            instance={"inference_ami_version": ami},
            inference_component_name="other",
        )
    )
    assert (found.image_uri, found.inference_ami_version, found.component_name) == ("mine:cu128", ami, "other")


NOTES: list[tuple[dict[str, object], str]] = [
    ({}, "TGI is in maintenance mode"),
    ({}, "owner/name is not pinned"),
    ({"engine": "vllm", "limits": {"max_batch_total_tokens": 5}}, "limits.max_batch_total_tokens is not used"),
    ({"engine": "llamacpp"}, "GGUF"),
    ({"image": "mine:latest"}, "CUDA version is not known"),
    ({"engine": "vllm", "instance": {"inference_ami_version": "al2-ami-sagemaker-inference-gpu-3-1"}}, "cuda-compat"),
    ({"instance": {"inference_ami_version": "al2023-ami-sagemaker-inference-gpu-4-1"}}, "failed without a log"),
    ({"autoscaling": {"max_copies": 3}, "instance": {"max_count": 2}}, "raise instance.max_count"),
    ({"autoscaling": {}, "instance": {"min_count": 0}}, "minimum of 0 instances"),
    ({"instance": "ml.p5.4xlarge"}, "no quote"),
]


@pytest.mark.parametrize(("fields", "words"), NOTES, ids=[words for _, words in NOTES])
def test_what_the_user_should_know_is_said(fields: dict[str, object], words: str, spec_from: Build) -> None:
    """Notes are not errors, and are not silent."""
    assert any(words in note for note in resolved(spec_from(**fields)).notes)


def test_a_pinned_published_quiet_deployment_has_nothing_to_note(spec_from: Build) -> None:
    """Notes stay worth reading."""
    assert resolved(spec_from(engine="vllm", model=f"a/b@{'0' * 40}"), "us-east-1").notes == ()


def test_a_region_with_an_older_container_is_said(spec_from: Build) -> None:
    """China and GovCloud get images later, or never."""
    (note,) = (note for note in resolved(spec_from(engine="vllm"), "cn-north-1").notes if "container" in note)
    assert note == "cn-north-1 has version 2.4 of the container; elsewhere there is 2.6."


def test_a_spec_that_the_catalogue_refuses_is_not_resolved(spec_from: Build) -> None:
    """Also when it was made in Python."""
    with pytest.raises(SpecError, match=r"instance\.type.*\n?"):
        resolved(spec_from(instance="ml.g5.9xlarge"))


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_our_own_files_resolve_in_every_shape(path: Path, endpoint_type: str, settings: Settings) -> None:
    """The examples that people copy deploy."""
    assert resolved(load_spec(path, settings=settings, endpoint_type=endpoint_type).spec)
