"""What the catalogue finds wrong: one spec that is right and one that is not for each rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.catalog import findings, load_spec
from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings
from llm_deploy.spec import DeploymentSpec
from llm_deploy.spec.rules import dotted

Build = Callable[..., DeploymentSpec]

AMI_2 = "al2-ami-sagemaker-inference-gpu-2"
AMI_3 = "al2-ami-sagemaker-inference-gpu-3-1"
AMI_4 = "al2023-ami-sagemaker-inference-gpu-4-1"

CASES: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "the type exists",
        {"instance": "ml.g6.xlarge"},
        {"instance": "ml.g6.xlrge"},
        "instance.type",
        "did you mean ml.g6.xlarge",
    ),
    (
        "a copy fits on its machine",
        {"instance": "ml.g5.12xlarge", "resources": {"num_accelerators": 4}},
        {"instance": "ml.g5.2xlarge", "resources": {"num_accelerators": 4}},
        "resources.num_accelerators",
        "4 is more than the 1 of ml.g5.2xlarge",
    ),
    (
        "the CPUs fit",
        {"instance": "ml.g5.xlarge", "resources": {"num_cpus": 4}},
        {"instance": "ml.g5.xlarge", "resources": {"num_cpus": 5}},
        "resources.num_cpus",
        "5 is more than the 4",
    ),
    (
        "the memory fits",
        {"instance": "ml.g5.xlarge", "resources": {"memory_mib": 16384}},
        {"instance": "ml.g5.xlarge", "resources": {"memory_mib": 16385}},
        "resources.memory_mib",
        "16384",
    ),
    (
        "all copies fit",
        {"instance": {"initial_count": 2}, "resources": {"copies": 2}},
        {"instance": {"initial_count": 1}, "resources": {"copies": 2}},
        "resources.copies",
        "do not fit on 1 of ml.g5.2xlarge",
    ),
    (
        "copies may wait for machines that are allowed",
        {"instance": {"max_count": 2}, "resources": {"copies": 2}},
        {"instance": {"max_count": 1}, "resources": {"copies": 2}},
        "resources.copies",
        "raise",
    ),
    (
        "a volume where one can be",
        {"instance": {"type": "ml.p3.2xlarge", "volume_size_gib": 100}},
        {"instance": {"type": "ml.g5.2xlarge", "volume_size_gib": 100}},
        "instance.volume_size_gib",
        "NVMe",
    ),
    (
        "a volume's key where a volume can be",
        {"instance": "ml.p3.2xlarge", "kms_key_id": "alias/mine"},
        {"instance": "ml.g5.2xlarge", "kms_key_id": "alias/mine"},
        "kms_key_id",
        "NVMe",
    ),
    (
        "GPU images on GPUs",
        {"instance": "ml.inf2.xlarge", "image": "mine:neuron"},
        {"instance": "ml.inf2.xlarge"},
        "instance.type",
        "Neuron",
    ),
    (
        "drivers exist",
        {"instance": {"inference_ami_version": AMI_3}},
        {"instance": {"inference_ami_version": "al2-ami-sagemaker-inference-gpu-3"}},
        "instance.inference_ami_version",
        "did you mean",
    ),
    (
        "drivers run on the family",
        {"instance": {"type": "ml.g7e.2xlarge", "inference_ami_version": AMI_4}},
        {"instance": {"type": "ml.g7e.2xlarge", "inference_ami_version": AMI_2}},
        "instance.inference_ami_version",
        f"{AMI_4} does",
    ),
    (
        "drivers are new enough for the image",
        {"engine": "vllm", "instance": {"inference_ami_version": AMI_3}},
        {"engine": "vllm", "instance": {"inference_ami_version": AMI_2}},
        "instance.inference_ami_version",
        "CUDA 13.0",
    ),
    (
        "the engine knows the quantisation",
        {"quantize": "bitsandbytes-nf4"},
        {"quantize": "bitsandbytes-nf5"},
        "quantize",
        "did you mean bitsandbytes-nf4",
    ),
    (
        "the engine has the version",
        {"engine_version": "3.3"},
        {"engine_version": "9.9"},
        "engine_version",
        "huggingface-llm:3.3.6",
    ),
    (
        "the environment agrees with the spec",
        {"environment": {"HF_MODEL_ID": "owner/name"}},
        {"environment": {"HF_MODEL_ID": "other/name"}},
        "environment.HF_MODEL_ID",
        "HF_MODEL_ID=owner/name follows",
    ),
    (
        "the engine's variables count",
        {"environment": {f"A{number}": "" for number in range(98)}},
        {"environment": {f"A{number}": "" for number in range(99)}},
        "environment",
        "101 variables",
    ),
]


@pytest.mark.parametrize(
    ("right", "wrong", "path", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_rule_takes_what_is_right_and_names_what_is_wrong(
    right: dict[str, Any], wrong: dict[str, Any], path: str, words: str, spec_from: Build
) -> None:
    """Found before anything bills, with the way out."""
    assert list(findings(spec_from(**right))) == []
    found = list(findings(spec_from(**wrong)))
    assert [dotted(finding.path) for finding in found] == [path]
    assert words in found[0].message


def test_copies_of_a_scaling_component_need_no_machines_beforehand(spec_from: Build) -> None:
    """Bounds of instances follow from those of the copies."""
    assert list(findings(spec_from(resources={"copies": 2}, autoscaling={"max_copies": 4}))) == []


def test_a_model_based_endpoint_reserves_nothing(spec_from: Build) -> None:
    """CPUs and memory are reservations of components."""
    assert list(findings(spec_from(endpoint_type="model", resources={"num_cpus": 500, "memory_mib": 999_999}))) == []


def test_the_loader_reports_the_catalogues_findings_with_its_own(settings: Settings) -> None:
    """One list, with lines."""
    Path("x.yaml").write_text("name: a_b\nmodel: a/b\ninstance:\n  type: ml.g5.9xlarge\n  initial_count: 0\n")
    with pytest.raises(SpecError) as caught:
        load_spec("x.yaml", settings=settings)
    lines = caught.value.message.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["x.yaml:1", "x.yaml:5", "x.yaml:4"]
    assert "ml.g5.9xlarge" in lines[2]
