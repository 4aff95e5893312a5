"""Images by engine and region, and the driver that each needs."""

from __future__ import annotations

import re

import botocore.session
import pytest

from llm_deploy.catalog import (
    get_huggingface_llm_image_uri,
    image_uri,
    inference_ami_version,
    instance,
    instances,
    own_image,
    partition,
    regions,
)
from llm_deploy.catalog.containers import ENGINES
from llm_deploy.catalog.data_files import data
from llm_deploy.errors import SpecError

TGI = "huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04"
EAST = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
WEST = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
CHINA = "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn"
TGI_2 = "huggingface-pytorch-tgi-inference:2.3.0-tgi2.2.0-gpu-py310-cu121-ubuntu22.04-v2.0"
HF_VLLM = "huggingface-vllm:0.29.0-transformers5.15.0-gpu-py312-cu130-ubuntu24.04-v1.0"
GOLDEN = [
    ("tgi", "us-east-1", None, f"{EAST}/{TGI}"),
    ("tgi", "eu-central-1", None, f"763104351884.dkr.ecr.eu-central-1.amazonaws.com/{TGI}"),
    ("tgi", "ap-east-1", None, f"871362719292.dkr.ecr.ap-east-1.amazonaws.com/{TGI}"),
    ("tgi", "cn-north-1", None, f"{CHINA}/{TGI}"),
    ("tgi", "us-gov-west-1", None, f"442386744353.dkr.ecr.us-gov-west-1.amazonaws.com/{TGI}"),
    ("tgi", "eusc-de-east-1", None, f"204133271717.dkr.ecr.eusc-de-east-1.amazonaws.eu/{TGI}"),
    ("tgi", "us-iso-east-1", None, f"886529160074.dkr.ecr.us-iso-east-1.c2s.ic.gov/{TGI}"),
    ("tgi", "us-east-1", "2.2.0", f"{EAST}/{TGI_2}"),
    ("vllm", "us-east-1", None, f"{EAST}/vllm:server-sagemaker-cuda-v2.6"),
    ("vllm", "cn-north-1", None, f"{CHINA}/vllm:server-sagemaker-cuda-v2.4"),
    ("vllm", "eu-west-1", "huggingface-vllm:0.29.0", f"{WEST}/{HF_VLLM}"),
    ("vllm", "eu-west-1", "0.30", f"{WEST}/vllm:0.30.0-gpu-py312-cu130-ubuntu24.04-sagemaker"),
    ("sglang", "eu-west-1", None, f"{WEST}/sglang:server-sagemaker-cuda-v1.4"),
    ("lmi", "eu-west-1", None, f"{WEST}/djl-inference:0.38.0-lmi29.0.0-cu130"),
    ("llamacpp", "us-east-1", None, f"{EAST}/llama-cpp:server-sagemaker-cuda-v1.0.1"),
    ("llamacpp", "us-east-1", "b9522", f"{EAST}/huggingface-llamacpp:b9522-gpu-cu130-ubuntu24.04"),
]
"""Source: image_uris.retrieve of sagemaker-core 2.27.0."""


@pytest.mark.row("T4")
@pytest.mark.parametrize(("engine", "region", "version", "uri"), GOLDEN, ids=lambda value: str(value)[:24])
def test_images_are_the_sdks(engine: str, region: str, version: str | None, uri: str) -> None:
    """The URI that the SageMaker SDK gives for the same question."""
    assert image_uri(engine, region, version).uri == uri


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("region", regions())
def test_every_engine_has_an_image_in_every_region_or_says_that_it_has_not(engine: str, region: str) -> None:
    """No URI is built for an image that does not exist."""
    try:
        image = image_uri(engine, region)
    except SpecError as error:
        text = error.message
        assert text.startswith(region)
    else:
        assert re.fullmatch(rf"[0-9]{{12}}\.dkr\.ecr\.{region}\.[a-z0-9.-]+/[a-z-]+:\S+", image.uri)
        assert len(image.uri) <= 255
        assert image.cuda


def test_domains_and_partitions_are_awss() -> None:
    """By botocore's own list of partitions."""
    session = botocore.session.get_session()
    for name in session.get_available_partitions():
        for region in session.get_available_regions("sagemaker", partition_name=name):
            assert partition(region) == name
    suffixes = {row["id"]: row["outputs"]["dnsSuffix"] for row in session.get_data("partitions")["partitions"]}
    assert data("containers")["domains"] == suffixes


@pytest.mark.parametrize(
    ("engine", "region", "version", "words"),
    [
        ("vlm", "us-east-1", None, "did you mean vllm?"),
        ("tgi", "eu-central-9", None, "did you mean eu-central-"),
        ("tgi", "us-east-1", "9.9", "huggingface-llm:3.3.6"),
        ("vllm", "cn-north-1", "0.30.0", "cn-north-1 does not have version '0.30.0' of vllm; there is vllm-server:2.4"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    engine: str, region: str, version: str | None, words: str
) -> None:
    """An engine, a region, a version, a version in a region."""
    with pytest.raises(SpecError) as caught:
        image_uri(engine, region, version)
    assert words in caught.value.message


@pytest.mark.row("T4")
@pytest.mark.parametrize("backend", ["huggingface", "tgi", "lmi", "huggingface-vllm", "sglang", "llama-cpp"])
def test_the_sdks_function_by_its_name(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed calls get_huggingface_llm_image_uri; version 3 of the SDK has dropped it."""
    assert "us-west-2" in get_huggingface_llm_image_uri(backend, region="us-west-2")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert "eu-west-3" in get_huggingface_llm_image_uri(backend)


def test_an_unknown_backend_is_refused() -> None:
    """With the nearest."""
    with pytest.raises(SpecError, match="did you mean huggingface"):
        get_huggingface_llm_image_uri("huggingfase", region="us-east-1")


CUDA_13 = "al2023-ami-sagemaker-inference-gpu-4-1"
CUDA_12_9 = "al2-ami-sagemaker-inference-gpu-3-1"


@pytest.mark.parametrize(
    ("engine", "version", "machine", "expected"),
    [
        ("tgi", None, "ml.g5.2xlarge", None),
        ("tgi", None, "ml.p5.48xlarge", None),
        ("vllm", None, "ml.g4dn.xlarge", CUDA_13),
        ("vllm", None, "ml.g5.2xlarge", CUDA_13),
        ("vllm", None, "ml.g6e.xlarge", CUDA_13),
        ("vllm", None, "ml.p5en.48xlarge", CUDA_13),
        ("vllm", None, "ml.g7e.2xlarge", None),
        ("vllm", None, "ml.p6-b200.48xlarge", None),
        ("vllm", None, "ml.inf2.xlarge", None),
        ("sglang", "0.5.8", "ml.g5.xlarge", CUDA_12_9),
        ("sglang", "0.5.8", "ml.g6.xlarge", None),
        ("lmi", "0.36", "ml.g6.xlarge", CUDA_13),
        ("lmi", "0.35", "ml.g6.xlarge", None),
    ],
)
def test_the_driver_follows_from_the_images_cuda(
    engine: str, version: str | None, machine: str, expected: str | None
) -> None:
    """A CUDA 13 image on a default driver of CUDA 12 never starts, and leaves no log."""
    assert inference_ami_version(image_uri(engine, "us-east-1", version), instance(machine)) == expected


def test_every_chosen_driver_runs_on_its_family_and_exists() -> None:
    """By the driver table, and by the enum of the service model."""
    amis = data("containers")["amis"]
    enum = (
        botocore.session.get_session()
        .get_service_model("sagemaker")
        .shape_for("ProductionVariantInferenceAmiVersion")
        .enum
    )
    assert set(amis) == set(enum)
    for engine in ENGINES:
        image = image_uri(engine, "us-east-1")
        for machine in instances().values():
            chosen = inference_ami_version(image, machine)
            assert chosen is None or machine.family in amis[chosen]["families"]


def test_a_cuda_13_image_is_never_left_on_an_older_driver() -> None:
    """For each GPU family whose driver is known: the default suits, or one is chosen."""
    image = image_uri("vllm", "us-east-1")
    for machine in instances().values():
        if machine.kind == "gpu" and machine.driver_cuda and not machine.driver_cuda.startswith("13"):
            assert inference_ami_version(image, machine) == CUDA_13


@pytest.mark.parametrize(
    ("uri", "cuda"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/vllm:server-sagemaker-cuda-v2.6", "13.0"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1.0-cu128", "12.8"),
        ("docker.io/mine:cuda12.4-x", "12.4"),
        ("docker.io/mine:latest", None),
    ],
)
def test_the_cuda_of_somebodys_image_is_read_from_its_tag(uri: str, cuda: str | None) -> None:
    """Or known, when it is a copy of one of the catalogue's; else it is not guessed."""
    assert own_image(uri, "vllm").cuda == cuda
