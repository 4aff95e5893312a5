"""From a failure's words to its cause and fix."""

from __future__ import annotations

import pytest

from llm_deploy.errors import DeployError, QuotaError
from llm_deploy.targets.sagemaker.diagnose import diagnose, explained

PING = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (PING, "never reported itself healthy"),
        (
            "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error.",
            "no such machine",
        ),
        (
            "The account-level service limit 'ml.g6.48xlarge for endpoint usage' is 0 Instances, with current use of 0",
            "may not run that many",
        ),
        (
            "CannotStartContainerError. Please ensure the model container for variant v starts correctly",
            "did not start",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "does not fit"),
        ("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "nothing is left"),
        ("Based on the available memory, the estimated maximum model length is 8128.", "more cache memory"),
        ("Total number of attention heads (28) must be divisible by tensor parallel size (8).", "cannot be split"),
        ("`num_heads` must be divisible by `num_shards` (got `num_heads`: 28", "cannot be split"),
        ("Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "too old"),
        ("Not enough memory to handle 4096 prefill tokens. You need to decrease", "larger than"),
        ("`max_total_tokens` must be <= `max_batch_total_tokens`. Given: 4096 and 1024", "contradict"),
        ("Cannot access gated repo for url https://huggingface.co/x", "gated"),
        ("[Errno 28] No space left on device", "disk is full"),
        ("The NVIDIA driver on your system is too old (found version 11040)", "newer GPU driver"),
        ("Transformers does not recognize this architecture", "older than the model"),
        ("There is not enough hardware resources on the instances for this endpoint to create a copy", "asks for more"),
        ("Could not find model data at s3://bucket/prefix/.", "cannot read"),
    ],
)
def test_known_failures_are_told(text: str, cause: str) -> None:
    """AWS's and the engines' own words, as they were reported; each has a cause and a fix."""
    found = diagnose([text])
    assert found is not None
    assert cause in found.cause
    assert found.fix


def test_the_log_says_more_than_the_status() -> None:
    """AWS says only that the ping failed; the cause in the log wins, wherever it stands."""
    found = diagnose([PING, "loading", "torch.OutOfMemoryError: CUDA out of memory."])
    assert found is not None
    assert "GPU's memory" in found.cause


def test_an_explained_error_keeps_its_kind_its_words_and_shows_the_log() -> None:
    """Exit code and message stay; cause, fix and the last lines are added, and not more of them than fit a screen."""
    error = explained(QuotaError("no room", hint="the old hint"), [f"line {number}" for number in range(50)])
    assert isinstance(error, QuotaError)
    assert "no room" in error.message
    assert "line 49" in error.message
    assert "line 30" not in error.message
    cause = explained(DeployError(PING), ["CUDA out of memory"])
    assert "cause: The model does not fit" in cause.message
    assert "Take an instance" in (cause.hint or "")


def test_unknown_failures_are_left_as_they_are() -> None:
    """Nothing is guessed."""
    assert diagnose(["something nobody has seen"]) is None
    assert explained(DeployError("x", hint="y"), []).hint == "y"
