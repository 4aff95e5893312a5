"""The business service over real models: on the local cloud, behind a model server, and in its own process."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.gateway.processes import Running, events, running, started

CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SAME = {"messages": QUESTION, "max_tokens": 12, "temperature": 0, "seed": 1}


@pytest.fixture(scope="module")
def deployed(local_cloud: Terminal) -> Terminal:
    """The local cloud with one deployment."""
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "smollm2.yaml"), "--yes")
    return local_cloud


@pytest.fixture(scope="module")
def gateway(deployed: Terminal) -> Iterator[Running]:
    """A gateway that was told nothing: it serves what is deployed, without keys, on loopback."""
    with running(deployed) as it:
        yield it


@pytest.fixture(scope="module")
def monolith(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with the engine in its own process, which also answers from documents."""
    folder = tmp_path_factory.mktemp("monolith")
    (folder / "docs").mkdir()
    (folder / "docs" / "heron.md").write_text("# Herons\n\nThe grey heron of the Aare eats eleven trout a day.\n")
    terminal = Terminal(folder, {"LLMDEPLOY_HOME": str(folder / "home")})
    terminal.run("rag", "ingest", "docs")
    document = {
        "keys": "off",
        "models": {"smollm2": {"backends": [{"engine": "smollm2", "parallel": 2}]}},
        "rag": {"k": 2, "max_new_tokens": 16},
    }
    with running(terminal, document) as it:
        yield it


@pytest.mark.row("T6")
def test_a_command_runs_the_service_and_a_command_calls_it(deployed: Terminal, gateway: Running) -> None:
    """`llmdeploy gateway run` in front of a deployment, `llmdeploy gateway ask` with and without streaming."""
    assert "models smollm2; keys off" in gateway.greeting
    for stream in ((), ("--stream",)):
        told = deployed.run("gateway", "ask", gateway.url, "The capital of France is", "--max-tokens", "8", *stream)
        assert told.out.strip()
    wrong = deployed.run("gateway", "ask", gateway.url, "x", "--model", "nobody", code=None)
    assert wrong.code != 0
    assert "nobody" in wrong.err


@pytest.mark.row("T6")
def test_a_deployment_speaks_openai_and_tgi_through_the_service(gateway: Running) -> None:
    """Chats, completions from TGI's token events, TGI's own routes: the same model under its public name."""
    whole = gateway.post(CHAT, {"model": "smollm2", **SAME}).json()
    assert whole["model"] == "smollm2"
    assert whole["usage"]["completion_tokens"] > 0
    streamed = gateway.post(CHAT, {"model": "smollm2", **SAME, "stream": True}).text
    assert said(streamed) == whole["choices"][0]["message"]["content"]
    asked = {"model": "smollm2", "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
    text = gateway.post("/v1/completions", asked).json()["choices"][0]["text"]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    found = events(gateway.post("/v1/completions", asked | options).text)
    assert "".join(each["choices"][0]["text"] for each in found if each["choices"]) == text
    assert found[-1]["usage"]["completion_tokens"] == 8
    tgi = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 8}}
    assert gateway.post("/generate", tgi).json() == {"generated_text": text}
    assert events(gateway.post("/generate_stream", tgi).text)[-1]["generated_text"] == text
    refused = gateway.post(
        CHAT, {"model": "smollm2", **SAME, "tools": [{"type": "function", "function": {"name": "f"}}]}
    )
    assert refused.status_code == 400
    assert "tools" in refused.json()["error"]["message"]


def test_sagemakers_own_openai_path_is_a_backend(deployed: Terminal, gateway: Running) -> None:
    """`native: true` asks the endpoint's OpenAI-compatible path with a token that the gateway makes."""
    document = {"keys": "off", "models": {"n": {"backends": [{"endpoint": "smollm2", "native": True}]}}}
    expected = gateway.post(CHAT, {"model": "smollm2", **SAME}).json()["choices"][0]["message"]
    with running(deployed, document) as it:
        assert it.post(CHAT, {"model": "n", **SAME}).json()["choices"][0]["message"] == expected
        assert it.post("/generate", {"inputs": "x"}).status_code == 400


def test_a_proxy_lets_openai_programs_use_an_endpoint(deployed: Terminal) -> None:
    """`llmdeploy proxy NAME` says what to export, and listens on this machine alone."""
    with started(deployed, "proxy", "smollm2", "--port", "0") as it:
        assert it.process.stdout is not None
        export = it.process.stdout.readline()
        assert export.startswith(f"export OPENAI_BASE_URL={it.url}/v1")
        assert it.url.startswith("http://127.0.0.1:")
        answer = it.post(CHAT, {"model": "smollm2", **SAME}, authorization="Bearer none")
        assert answer.json()["choices"][0]["message"]["content"]


@pytest.mark.row("T11")
def test_one_process_or_two_is_a_line_of_the_configuration(monolith: Running, tmp_path: Path) -> None:
    """The same questions to an engine in the gateway's process and to a model server behind it: the same answers."""
    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)})
    with model_server(terminal) as url:
        document = {"keys": "off", "models": {"smollm2": {"backends": [{"url": url}]}}}
        with running(terminal, document) as micro:
            for path, asked in (
                (CHAT, SAME),
                (CHAT, SAME | {"stream": True}),
                ("/v1/completions", {"prompt": "One, two, three,", "max_tokens": 6, "temperature": 0, "stream": True}),
            ):
                one = monolith.post(path, {"model": "smollm2", **asked})
                two = micro.post(path, {"model": "smollm2", **asked})
                assert bare(one) == bare(two)
            wrong = {"model": "smollm2", "messages": QUESTION, "temperature": 0, "max_tokens": 4000}
            assert monolith.post(CHAT, wrong).json() == micro.post(CHAT, wrong).json()


def test_a_client_that_leaves_an_engine_in_this_process_frees_its_slot(monolith: Running) -> None:
    """Two slots, two streams that are left: the next two are answered at once, and not after a thousand tokens."""
    asked = {"model": "smollm2", "messages": QUESTION, "max_tokens": 1000, "temperature": 0, "stream": True}
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                response = stack.enter_context(httpx.stream("POST", monolith.url + CHAT, json=asked))
                next(response.iter_bytes())
    assert monolith.post(CHAT, {"model": "smollm2", **SAME}).status_code == 200
    end = time.monotonic() + 10
    while monolith.gauge("in_flight"):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.row("T6")
@pytest.mark.row("T7")
def test_rag_answers_from_documents_with_citations(monolith: Running) -> None:
    """POST /rag takes a query and gives an answer with the passages it was made from; or both as events."""
    found = monolith.post("/rag", {"query": "What does the heron eat?"})
    assert found.status_code == 200
    document = found.json()
    assert document["answer"]
    assert document["citations"][0]["source"].endswith("heron.md")
    assert "eleven trout" in document["citations"][0]["text"]
    assert document["usage"]["completion_tokens"] > 0
    assert found.headers["x-request-id"]
    streamed = monolith.post("/rag", {"query": "What does the heron eat?", "stream": True}).text
    names = [line.removeprefix("event: ") for line in streamed.splitlines() if line.startswith("event: ")]
    assert names[0] == "citations"
    assert names[-1] == "done"
    parts = events(streamed)
    assert "".join(each.get("text", "") for each in parts[1:-1]) == parts[-1]["answer"] == document["answer"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"query": ""}, 422),
        ({"query": "x", "k": 0}, 422),
        ({"query": "x", "filters": {"no": 1}}, 422),
        ({"query": "x", "filters": {"page": 10**30}}, 422),
        ([], 422),
    ],
)
def test_wrong_queries_are_refused_in_the_services_shape(monolith: Running, asked: Any, status: int) -> None:  # noqa: ANN401 - JSON
    """As everywhere: a status, and an error with a code."""
    refused = monolith.post("/rag", asked)
    assert refused.status_code == status
    assert refused.json()["error"]["code"] == "invalid_request"
    if isinstance(asked, dict):
        assert monolith.post("/rag", {**asked, "stream": True}).status_code == status


def test_keys_budgets_and_usage_hold_over_http(tmp_path: Path) -> None:
    """Keys made by the command are asked for, scopes and rates hold, and what was used is written down."""
    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path / "home")})
    key = terminal.run("gateway", "keys", "create", "app", "--requests-per-minute", "2", "--json").json["secret"]
    narrow = terminal.run("gateway", "keys", "create", "narrow", "--scope", "models", "--json").json["secret"]
    document = {"models": {"m": {"backends": [{"engine": "smollm2"}]}}}
    with running(terminal, document) as it:
        assert "keys required" in it.greeting
        asked = {"model": "m", **SAME}
        assert it.post(CHAT, asked).status_code == 401
        assert it.post(CHAT, asked, authorization="Bearer sk-wrong").status_code == 401
        assert it.post(CHAT, asked, authorization=f"Bearer {narrow}").status_code == 403
        assert it.get("/v1/models", authorization=f"Bearer {narrow}").status_code == 200
        told = terminal.run("gateway", "ask", it.url, "Hi", "--max-tokens", "4", LLMDEPLOY_API_KEY=key)
        assert told.out.strip()
        assert it.post(CHAT, asked, authorization=f"Bearer {key}").status_code == 200
        limited = it.post(CHAT, asked, authorization=f"Bearer {key}")
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) > 0
        assert it.stop() == 0
        assert key not in it.log.read_text()


def test_nothing_deployed_and_nothing_configured_says_what_to_do(terminal: Terminal, local_cloud: Terminal) -> None:
    """A wrong file, an address that others reach without keys, a taken port: each an error and no traceback."""
    path = terminal.folder / "gateway.yaml"
    path.write_text("keys: off\n")
    refused = terminal.run("gateway", "run", str(path), "--host", "0.0.0.0", code=None)  # noqa: S104 - what is refused
    assert refused.code == 3
    assert "keys are off" in refused.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "taken" in terminal.run("gateway", "run", str(path), "--port", port, code=None).err
    assert terminal.run("gateway", "check", str(path)).out
    empty = Terminal(terminal.folder, {**local_cloud.environment})
    gone = empty.run("proxy", "not-there", "--port", "0", code=None)
    assert "Traceback" not in gone.err


def said(stream: str) -> str:
    """The text of a chat's stream."""
    found = [each for each in events(stream) if each.get("choices")]
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in found)


def bare(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """An answer without what differs from call to call."""
    assert response.status_code == 200, response.text
    found = events(response.text) if response.text.startswith("data:") else [response.json()]
    return [{name: value for name, value in each.items() if name not in {"id", "created"}} for each in found]


@contextlib.contextmanager
def model_server(terminal: Terminal) -> Iterator[str]:
    """`llmdeploy serve` on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process: subprocess.Popen[str] = terminal.start("serve", "smollm2", "--port", str(port), "--parallel", "2")
    try:
        end = time.monotonic() + 60
        while not _is_up(url):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _is_up(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health").status_code == 200
    return False
