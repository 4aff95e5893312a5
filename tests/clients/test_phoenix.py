"""Arize Phoenix, an OTLP back end for questions and answers that nobody here wrote: it understands what we send.

It stands for the back ends that cannot run here, Opik among them: the same protocol and the same conventions.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_deploy.tracing import conventions, setup, span
from llm_deploy.tracing.config import TracingConfig
from tests.clients import environments
from tests.conftest import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("client-phoenix")]

START_S = 180


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """No cloud is needed here."""


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; its database is in a folder of the test, and it calls nobody."""
    folder = tmp_path_factory.mktemp("phoenix")
    program = environments.python("phoenix").with_name("phoenix")
    port = free_port()
    settings = {
        "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()), "PHOENIX_TELEMETRY_ENABLED": "false", "HOME": str(folder),
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "serve"], env=os.environ | settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            until(lambda: answers(url), START_S, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def until(true: Any, seconds: float, process: subprocess.Popen[bytes] | None = None) -> None:  # noqa: ANN401 - a callable
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen"
        assert process is None or process.poll() is None, "it ended"
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether it is up."""
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def spans_of(url: str) -> list[dict[str, Any]]:
    """What it holds, by its own REST interface."""
    answer = httpx.get(f"{url}/v1/projects/default/spans", params={"limit": 100}, timeout=30)
    found: list[dict[str, Any]] = answer.json().get("data", []) if answer.status_code == 200 else []
    return found


async def question() -> None:
    """A trace of a RAG service."""
    with span("POST /rag", kind="server"):
        with span("retrieval docs", kind="client", **conventions.retrieval("docs")) as seen:
            seen.set(**conventions.documents([{"id": "a", "score": 0.9, "content": "Paris is the capital."}]))
        about = conventions.request("chat", "twin", provider=conventions.SAGEMAKER, temperature=0.5)
        with span("chat twin", kind="client", **about) as seen:
            seen.set(**conventions.prompt(messages=[{"role": "user", "content": "capital? I am jane@example.com"}]))
            seen.set(**conventions.answer(text="Paris", finish_reason="eos", input_tokens=9, output_tokens=1))


@pytest.mark.row("T8")
def test_it_understands_what_we_send(phoenix: str, tmp_path: Path) -> None:
    """Live and from the store: the tree, the call of a model as one, with prompt, answer, tokens and parameters."""
    chosen = {"exporters": ["local", "otlp"], "capture_content": True, "otlp": {"endpoint": phoenix}}
    tracing = setup.configure(TracingConfig.model_validate(chosen), state_dir=tmp_path, environment={})
    asyncio.run(question())
    tracing.close()
    assert tracing.by_exporter()["otlp"].exported == 3
    until(lambda: len(spans_of(phoenix)) == 3, 60)
    by_name = {one["name"]: one for one in spans_of(phoenix)}
    root, call = by_name["POST /rag"], by_name["chat twin"]
    assert {one["parent_id"] for name, one in by_name.items() if name != "POST /rag"} == {root["context"]["span_id"]}
    assert call["span_kind"] == "LLM"
    assert by_name["retrieval docs"]["span_kind"] == "RETRIEVER"
    understood = call["attributes"]
    assert understood["llm.model_name"] == "twin"
    assert understood["llm.token_count.total"] == 10
    assert understood["llm.input_messages.0.message.content"] == "capital? I am [email]"
    assert understood["llm.output_messages.0.message.content"] == "Paris"

    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)})
    assert terminal.run("traces", "export", "--otlp", phoenix, "--json").json["spans"] == 3
