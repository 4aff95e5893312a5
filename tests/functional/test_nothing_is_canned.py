"""Tokens that come through the whole local cloud are the bare engine's: same prompt, same seed, same probabilities."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import boto3
import pytest

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Token
from llm_deploy.serving import models
from tests.conftest import ROOT, Terminal

SMOLLM2 = str(ROOT / "configs" / "smollm2.yaml")
PROMPT = "Once upon a time there was"
PARAMETERS = {"max_new_tokens": 24, "do_sample": True, "temperature": 0.8, "seed": 7, "details": True}
BARE = """
import json, os, sys
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_parallel, p.n_ctx, p.verbosity, p.ui = sys.argv[1], 4, 8192, 1, False
p.n_batch = p.n_ubatch = 256
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(p)
import urllib.request
body = json.loads(sys.stdin.read())
request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode())
with urllib.request.urlopen(request) as answer:
    print(answer.read().decode())
"""

pytestmark = pytest.mark.xdist_group("local-cloud")


def streamed(variables: dict[str, str]) -> list[Token]:
    """The tokens of one answer, read with plain boto3 from the endpoint's event stream."""
    runtime: Any = boto3.client(
        "sagemaker-runtime",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    answer = runtime.invoke_endpoint_with_response_stream(
        EndpointName="smollm2",
        InferenceComponentName="smollm2",
        ContentType="application/json",
        Body=json.dumps({"inputs": PROMPT, "parameters": PARAMETERS, "stream": True}),
    )
    decoder = dialect("tgi").stream_decoder()
    chunks = [chunk for event in answer["Body"] for chunk in decoder.feed(event["PayloadPart"]["Bytes"])]
    return [chunk.token for chunk in [*chunks, *decoder.close()] if chunk.token is not None]


def bare() -> list[dict[str, Any]]:
    """The same from llama.cpp's own server in a process with nothing of ours."""
    body = {
        "prompt": PROMPT,
        "n_predict": 24,
        "temperature": 0.8,
        "seed": 7,
        "top_k": 0,
        "top_p": 1.0,
        "typical_p": 1.0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "n_probs": 1,
        "samplers": ["penalties", "temperature", "top_k", "top_p", "typ_p"],
        "cache_prompt": False,
    }
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(models.pull("smollm2"))],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["completion_probabilities"]
    return found


@pytest.mark.row("T4")
def test_tokens_and_log_probabilities_are_the_bare_engines(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """Ids and log-probabilities agree token by token, through server, event stream and decoder."""
    local_cloud.run("deploy-endpoint", SMOLLM2, "--yes")
    try:
        ours, theirs = streamed(pointed_at_it), bare()
    finally:
        local_cloud.run("delete-endpoint", "smollm2", "--yes")
    assert len(ours) == 24
    assert [token.id for token in ours] == [item["id"] for item in theirs]
    for token, item in zip(ours, theirs, strict=True):
        assert token.logprob == pytest.approx(item["logprob"], abs=1e-3)
