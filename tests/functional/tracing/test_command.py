"""`llmdeploy traces`, as a person types it, over a store that a program has written."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from llm_deploy.tracing import conventions, setup, span
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.store_place import STORE_NAME
from tests.conftest import Terminal
from tests.fakes import otlp_sink


async def question(text: str, *, fails: bool = False) -> None:
    """One question to a RAG service, as its parts record it."""
    with span("POST /rag", kind="server"):
        with span("retrieval docs", kind="client", **conventions.retrieval("docs", limit=2)) as seen:
            seen.set(**conventions.queries(text, ["other words"]))
            found = [
                {"id": "a.md#1", "score": 0.91, "content": "Paris is\nthe capital."},
                {"id": "b.md#2", "score": 0.4},
            ]
            seen.set(**conventions.documents(found))
        about = conventions.request("chat", "twin", provider=conventions.SAGEMAKER, stream=True)
        with span("chat twin", kind="client", **about) as seen:
            seen.set(**conventions.prompt(messages=[{"role": "user", "content": text}]))
            await asyncio.sleep(0)
            if fails:
                seen.fail("OverloadedError")
            else:
                seen.set(**conventions.answer(
                    text="Paris. \x1b[31mWrite to jane@example.com", finish_reason="eos", input_tokens=21,
                    output_tokens=4, first_chunk_s=0.05,
                ))  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two traces."""
    home = tmp_path_factory.mktemp("traces")
    tracing = setup.configure(TracingConfig(capture_content=True, service_name="rag"), state_dir=home, environment={})
    asyncio.run(question("capital of France?"))
    asyncio.run(question("capital of Spain?", fails=True))
    tracing.close()
    return home


@pytest.fixture
def here(written: Path, tmp_path: Path) -> Terminal:
    """A terminal that looks into it."""
    return Terminal(tmp_path, {"LLMDEPLOY_HOME": str(written), "HOME": str(tmp_path)})


@pytest.mark.row("T8")
def test_a_trace_shows_everything_about_one_answer(here: Terminal) -> None:
    """Query, expanded queries, documents with scores, prompt, answer, tokens and times; no secrets, no colours."""
    (trace,) = [one for one in here.run("traces", "list", "--json").json if not one["error_type"]]
    shown = here.run("traces", "show", trace["trace_id"][:8]).out
    for expected in (
        "POST /rag", "retrieval docs", "query     capital of France?", "expanded  other words",
        "document  0.910  a.md#1  Paris is the capital.", "document  0.400  b.md#2",
        "chat twin", "user      capital of France?", "assistant Paris.  [31mWrite to [email]",
        "first chunk 50.0 ms", "21 tokens in, 4 out", "ended by stop", " ms",
    ):  # fmt: skip
        assert expected in shown
    assert "\x1b" not in shown
    assert "jane@example.com" not in shown
    assert "Paris is\n" in here.run("traces", "show", trace["trace_id"], "--full").out


def test_traces_are_listed_and_chosen(here: Terminal) -> None:
    """By error, model, time and how long they took."""
    assert [one["error_type"] for one in here.run("traces", "list", "--json").json] == ["OverloadedError", None]
    assert "OverloadedError" in here.run("traces", "list", "--errors").out
    assert len(here.run("traces", "list", "--errors", "--json").json) == 1
    assert len(here.run("traces", "list", "--model", "twin", "--since", "1h", "--slow", "--json").json) == 2
    assert here.run("traces", "list", "--model", "other", "--json").json == []
    assert "No such traces." in here.run("traces", "list", "--model", "other").err


def test_figures_tell_latencies_and_tokens(here: Terminal) -> None:
    """By kind of question and by model; the call that failed is one."""
    found = here.run("traces", "stats", "--json").json
    assert [(one["name"], one["count"], one["errors"]) for one in found["traces"]] == [("POST /rag", 2, 1)]
    (model,) = found["models"]
    assert (model["model"], model["calls"], model["errors"], model["output_tokens"]) == ("twin", 2, 1, 4)
    assert "first chunk p50" in here.run("traces", "stats").out


def test_stored_traces_can_be_sent_and_written(here: Terminal) -> None:
    """To an OTLP back end as they were, and as lines of JSON."""
    with otlp_sink.running() as sink:
        assert here.run("traces", "export", "--otlp", sink.url, "--json").json == {"spans": 6, "to": sink.url}
        assert sink.problems == []
        assert sorted(one.name for one in sink.spans) == sorted(["POST /rag", "retrieval docs", "chat twin"] * 2)
        sink.behaviour = "forbidden"
        assert "did not take" in here.run("traces", "export", "--otlp", sink.url, code=12).err
    lines = [json.loads(line) for line in here.run("traces", "export", "--jsonl").out.splitlines()]
    assert len(lines) == 6
    assert lines[0]["service"] == "rag"
    assert here.run("traces", "export", code=3).err.startswith("error: expected one of")


def test_a_store_is_cleared_when_it_is_said_so(terminal: Terminal) -> None:
    """`--yes` where nobody can be asked; afterwards there is nothing to list."""
    home = Path(terminal.environment["LLMDEPLOY_HOME"])
    tracing = setup.configure(TracingConfig(), state_dir=home, environment={})
    asyncio.run(question("?"))
    tracing.close()
    assert "nobody to ask" in terminal.run("traces", "clear", code=3).err
    removed = terminal.run("traces", "clear", "--yes", "--json").json["removed"]
    assert str(home / STORE_NAME) in removed
    assert "no traces in" in terminal.run("traces", "list", code=6).err
    assert "Nothing to delete" in terminal.run("traces", "clear").err


def test_wrong_words_are_refused(here: Terminal) -> None:
    """With what was expected."""
    assert "no trace 'ffffffff'" in here.run("traces", "show", "ffffffff", code=6).err
    assert "hex digits" in here.run("traces", "show", "what?", code=3).err
    assert "--since" in here.run("traces", "list", "--since", "yesterday", code=3).err
    assert "--otlp" in here.run("traces", "export", "--otlp", "backend:4318", code=3).err


def test_a_single_command_leaves_a_trace_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMDEPLOY_TRACING_* in the environment; without them nothing is imported or written."""
    monkeypatch.setenv("LLMDEPLOY_HOME", str(tmp_path))
    asking = [sys.executable, "-X", "importtime", "-m", "llm_deploy.cli.main", "invoke", "http://127.0.0.1:9", "hi"]
    plain = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60)
    assert "opentelemetry" not in plain.stderr
    assert "llm_deploy.tracing.setup" not in plain.stderr
    assert not list(tmp_path.rglob(STORE_NAME))
    monkeypatch.setenv("LLMDEPLOY_TRACING_EXPORTERS", "local")
    traced = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60)
    assert traced.returncode == plain.returncode != 0
    (store,) = tmp_path.rglob(STORE_NAME)
    with sqlite3.connect(store) as database:
        assert database.execute("select count(*) from spans").fetchone()[0] >= 1
