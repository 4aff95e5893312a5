"""`llmdeploy invoke` of a URL, bound answers, and `llmdeploy token`, as programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.resource import TAG_DIALECT
from tests.conftest import ROOT
from tests.fakes.runtime_server import REGION, RuntimeServer, invocation, serving

pytestmark = [pytest.mark.row("T5"), pytest.mark.row("L5")]

CHAT = invocation({"choices": [{"message": {"content": '{"city": "Paris"}'}, "finish_reason": "stop"}]})
COMPLETION = invocation({"choices": [{"text": " Paris", "finish_reason": "length"}]})
LOOKED_UP = (
    invocation({"EndpointArn": f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/twin"}),
    invocation({"Tags": [{"Key": TAG_DIALECT, "Value": "tgi"}]}),
    invocation({"InferenceComponents": [{"InferenceComponentName": "twin-ic"}]}),
)


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), **variables}
    return subprocess.run(
        [sys.executable, "-m", "llm_deploy.cli.main", *arguments],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def account(server: RuntimeServer) -> dict[str, str]:
    return {
        "LLMDEPLOY_TARGET": "sagemaker",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY": "made-up",
        "AWS_SECRET_KEY": "made-up",
    }


def test_a_url_is_asked_with_its_key(tmp_path: Path) -> None:
    """No account is needed; the key comes from the environment and is nowhere to be seen."""
    with serving(COMPLETION) as server:
        options = ["--model", "tiny", "--max-new-tokens", "3"]
        done = run(tmp_path, "invoke", f"{server.url}/v1", "Hi", *options, LLMDEPLOY_API_KEY="made-up-key")
        (seen,) = server.seen
    assert (done.returncode, done.stdout) == (0, " Paris\n"), done.stderr
    assert (seen.path, seen.document["model"]) == ("/v1/completions", "tiny")
    assert seen.headers["authorization"] == "Bearer made-up-key"
    assert "made-up-key" not in done.stderr


def test_an_answer_is_bound_to_the_schema_of_a_file(tmp_path: Path) -> None:
    """In a chat, when the system is told something."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    (tmp_path / "city.json").write_text(json.dumps(schema))
    with serving(CHAT) as server:
        options = ["--system", "Answer in JSON.", "--json-schema", "city.json"]
        done = run(tmp_path, "invoke", f"{server.url}/v1", "Where?", *options)
        (seen,) = server.seen
    assert json.loads(done.stdout) == {"city": "Paris"}, done.stderr
    assert [message["role"] for message in seen.document["messages"]] == ["system", "user"]
    assert seen.document["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize("content", ["", "[]", "{", None])
def test_what_is_no_schema_is_a_spec_error(tmp_path: Path, content: str | None) -> None:
    """Before anything is sent."""
    if content is not None:
        (tmp_path / "city.json").write_text(content)
    done = run(tmp_path, "invoke", "http://127.0.0.1:9/v1", "Where?", "--json-schema", "city.json")
    assert done.returncode == SpecError.exit_code, done.stderr


def test_a_token_is_written_for_programs(tmp_path: Path) -> None:
    """Address, token and end as JSON; lines for a shell."""
    with serving(*LOOKED_UP) as server:
        done = run(tmp_path, "token", "twin", "--json", "--lifetime", "30m", **account(server))
        document = json.loads(done.stdout)
        base = f"{server.url}/endpoints/twin/inference-components/twin-ic/openai/v1"
    assert document["base_url"] == base
    assert document["api_key"].startswith("sagemaker-api-key-")
    assert "sagemaker-api-key-" not in done.stderr
    with serving(*LOOKED_UP) as server:
        done = run(tmp_path, "token", "twin", "--yes", **account(server))
    assert [line.partition("=")[0] for line in done.stdout.splitlines()] == [
        "export OPENAI_BASE_URL",
        "export OPENAI_API_KEY",
    ]
    assert "holds until" in done.stderr


def test_a_token_does_not_go_where_nobody_watches(tmp_path: Path) -> None:
    """A pipe or a file needs --yes; nothing is asked before."""
    with serving(*LOOKED_UP) as server:
        done = run(tmp_path, "token", "twin", **account(server))
        assert (done.returncode, done.stdout, server.seen) == (SpecError.exit_code, "", [])
        assert "--yes" in done.stderr


def test_a_terminal_may_have_it(tmp_path: Path) -> None:
    """Without more words."""
    with serving(*LOOKED_UP) as server:
        here, there = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **account(server)}
        done = subprocess.run(
            [sys.executable, "-m", "llm_deploy.cli.main", "token", "twin"],
            cwd=tmp_path, env=environment, stdin=there, stdout=there, stderr=there, timeout=60, check=False,
        )  # fmt: skip
        seen = os.read(here, 65536).decode()
        os.close(here)
        os.close(there)
    assert done.returncode == 0, seen
    assert "OPENAI_API_KEY=sagemaker-api-key-" in seen


@pytest.mark.parametrize("lifetime", ["13h", "0s", "soon"])
def test_a_life_that_aws_would_refuse(tmp_path: Path, lifetime: str) -> None:
    """A spec error."""
    with serving(*LOOKED_UP) as server:
        done = run(tmp_path, "token", "twin", "--yes", "--lifetime", lifetime, **account(server))
    assert done.returncode == SpecError.exit_code, done.stderr
