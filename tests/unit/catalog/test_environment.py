"""What each engine's container is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llm_deploy.catalog import environment, image_uri
from llm_deploy.catalog.environment import unused_fields
from llm_deploy.spec import DeploymentSpec

Build = Callable[..., DeploymentSpec]

FULL = {
    "model": "owner/name@v1",
    "resources": {"num_accelerators": 4},
    "limits": {
        "max_input_tokens": 1,
        "max_total_tokens": 2,
        "max_batch_prefill_tokens": 3,
        "max_batch_total_tokens": 4,
    },
    "quantize": "awq",
    "environment": {"MINE": "x"},
}

EXPECTED = {
    "tgi": {
        "HF_MODEL_ID": "owner/name",
        "HF_MODEL_REVISION": "v1",
        "SM_NUM_GPUS": "4",
        "HF_MODEL_QUANTIZE": "awq",
        "MAX_INPUT_LENGTH": "1",
        "MAX_TOTAL_TOKENS": "2",
        "MAX_BATCH_PREFILL_TOKENS": "3",
        "MAX_BATCH_TOTAL_TOKENS": "4",
    },
    "vllm": {
        "HF_MODEL_ID": "owner/name",
        "SM_VLLM_REVISION": "v1",
        "SM_VLLM_TENSOR_PARALLEL_SIZE": "4",
        "SM_VLLM_QUANTIZATION": "awq",
        "SM_VLLM_MAX_MODEL_LEN": "2",
        "SM_VLLM_MAX_NUM_BATCHED_TOKENS": "3",
    },
    "sglang": {
        "SM_SGLANG_MODEL_PATH": "owner/name",
        "SM_SGLANG_REVISION": "v1",
        "SM_SGLANG_TP": "4",
        "SM_SGLANG_QUANTIZATION": "awq",
        "SM_SGLANG_CONTEXT_LENGTH": "2",
        "SM_SGLANG_MAX_PREFILL_TOKENS": "3",
    },
    "lmi": {
        "HF_MODEL_ID": "owner/name",
        "HF_REVISION": "v1",
        "TENSOR_PARALLEL_DEGREE": "4",
        "OPTION_QUANTIZE": "awq",
        "OPTION_MAX_MODEL_LEN": "2",
    },
    "llamacpp": {
        "SM_LLAMA_CPP_HF_REPO": "owner/name",
        "SM_LLAMA_CPP_N_GPU_LAYERS": "999",
        "SM_LLAMA_CPP_CTX_SIZE": "2",
    },
}
UNUSED = {
    "tgi": (),
    "vllm": ("limits.max_input_tokens", "limits.max_batch_total_tokens"),
    "sglang": ("limits.max_input_tokens", "limits.max_batch_total_tokens"),
    "lmi": ("limits.max_input_tokens", "limits.max_batch_prefill_tokens", "limits.max_batch_total_tokens"),
    "llamacpp": (
        "limits.max_input_tokens",
        "limits.max_batch_prefill_tokens",
        "limits.max_batch_total_tokens",
        "model.revision",
        "quantize",
    ),
}
FROM_S3 = {
    "tgi": {"HF_MODEL_ID": "/opt/ml/model", "HF_HUB_OFFLINE": "1", "SM_NUM_GPUS": "1"},
    "vllm": {"SM_VLLM_TENSOR_PARALLEL_SIZE": "1"},
    "sglang": {"SM_SGLANG_TP": "1"},
    "lmi": {"HF_MODEL_ID": "/opt/ml/model", "TENSOR_PARALLEL_DEGREE": "1"},
    "llamacpp": {"SM_LLAMA_CPP_N_GPU_LAYERS": "999"},
}


@pytest.mark.row("T4")
@pytest.mark.parametrize("engine", EXPECTED)
def test_a_full_spec_in_each_engines_words(engine: str, spec_from: Build) -> None:
    """Source: the entrypoints of the containers; the user's own variables come last."""
    spec = spec_from(engine=engine, **FULL)
    assert environment(spec) == {**EXPECTED[engine], "MINE": "x"}
    assert list(environment(spec))[-1] == "MINE"


@pytest.mark.parametrize("engine", EXPECTED)
def test_what_an_engine_has_no_word_for_is_said(engine: str, spec_from: Build) -> None:
    """A setting is never dropped in silence."""
    assert unused_fields(spec_from(engine=engine, **FULL)) == UNUSED[engine]


@pytest.mark.parametrize("engine", FROM_S3)
def test_a_model_in_s3_is_found_where_sagemaker_mounts_it(engine: str, spec_from: Build) -> None:
    """And the Hub is not asked."""
    assert environment(spec_from(engine=engine, model="s3://bucket/a/")) == FROM_S3[engine]


def test_a_limit_that_is_left_out_is_left_to_the_engine(spec_from: Build) -> None:
    """TGI sizes them from the GPU's memory."""
    assert set(environment(spec_from())) == {"HF_MODEL_ID", "SM_NUM_GPUS"}


def test_the_hugging_face_image_of_vllm_does_not_take_the_hosts_memory(spec_from: Build) -> None:
    """Its cache would be half of the machine, and a component has reserved a little."""
    image = image_uri("vllm", "us-east-1", "huggingface-vllm:0.29.0")
    assert environment(spec_from(engine="vllm"), image)["HF_ENABLE_LMCACHE"] == "0"
    assert "HF_ENABLE_LMCACHE" not in environment(spec_from(engine="vllm"), image_uri("vllm", "us-east-1"))
