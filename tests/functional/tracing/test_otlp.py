"""Spans at a back end that takes them, and at back ends that do not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from llm_deploy.tracing import conventions, setup, span
from llm_deploy.tracing.config import Bounds, Otlp, Redaction, TracingConfig
from llm_deploy.tracing.counts import Counts
from llm_deploy.tracing.delivery import Delivery
from tests.fakes import otlp_sink
from tests.fakes.otlp_sink import Behaviour, attributes

BROKEN = sorted(set(get_args(Behaviour)) - {"ok"})


def config(url: str, **more: object) -> TracingConfig:
    """Traces to this address, with little patience."""
    return TracingConfig.model_validate(
        {
            "exporters": ["otlp"],
            "capture_content": True,
            "otlp": Otlp(endpoint=url, timeout_s=0.5),
            "queue": Bounds(spans=64, mib=1, flush_s=1.5),
            **more,
        }
    )


def ask(question: str) -> str:
    """A call of a model, as the client records it."""
    with span("chat twin", kind="client", **conventions.request("chat", "twin", provider="aws.sagemaker")) as seen:
        seen.set(**conventions.prompt(text=question))
        seen.set(**conventions.answer(text="Paris", finish_reason="eos", input_tokens=7, output_tokens=1))
    return "Paris"


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


@pytest.mark.row("T8")
def test_a_back_end_gets_whole_traces_in_valid_protobuf(tmp_path: Path) -> None:
    """Parents, kinds, attributes and their types arrive; a strict reader of the protocol has nothing to say."""
    with otlp_sink.running() as sink:
        tracing = setup.configure(config(sink.url), state_dir=tmp_path)
        with span("POST /rag", kind="server"):
            ask("capital of France?")
        tracing.close()
    assert sink.problems == []
    root, call = sink.named("POST /rag"), sink.named("chat twin")
    assert call.parent_span_id == root.span_id
    assert call.trace_id == root.trace_id
    assert root.kind == root.SPAN_KIND_SERVER
    found = attributes(call)
    assert found["gen_ai.usage.input_tokens"] == 7
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Paris"}], "finish_reason": "stop"}
    ]
    assert sink.headers[0]["content-encoding"] == "gzip"
    assert tracing.counts() == Counts(exported=2)


def test_keys_come_from_the_environment_and_go_to_the_back_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${NAME}` in a header is filled in when sending; the configuration does not show it."""
    monkeypatch.setenv("BACKEND_KEY", "key-123")
    with otlp_sink.running() as sink:
        headers = {"Authorization": "${BACKEND_KEY}", "Comet-Workspace": "me"}
        chosen = config(sink.url, otlp={"endpoint": sink.url, "headers": headers})
        tracing = setup.configure(chosen, state_dir=tmp_path)
        ask("?")
        tracing.close()
    assert sink.headers[0]["authorization"] == "key-123"
    assert sink.headers[0]["comet-workspace"] == "me"
    assert "key-123" not in repr(tracing.config) + tracing.config.model_dump_json()


def test_opentelemetrys_own_variables_are_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an endpoint in the environment and nothing in the file, spans go there."""
    with otlp_sink.running() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracing = setup.configure(TracingConfig(), state_dir=tmp_path)
        ask("?")
        tracing.close()
    assert sink.problems == []
    assert sink.headers[0]["x-team"] == "blue"
    assert "content-encoding" not in sink.headers[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.row("T8")
@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_broken_back_end_changes_nothing_for_callers(behaviour: Behaviour, tmp_path: Path) -> None:
    """However it fails, every answer is given, no span counts as delivered, and closing comes to an end."""
    with otlp_sink.running(behaviour) as sink:
        tracing = setup.configure(config(sink.url), state_dir=tmp_path)
        assert [ask(f"question {number}") for number in range(300)] == ["Paris"] * 300
        tracing.close()
        sink.released.set()
    counts = tracing.counts()
    assert counts.exported == 0
    assert 0 < counts.failed + counts.dropped <= 300


def test_a_back_end_that_is_not_there_changes_nothing_for_callers(tmp_path: Path) -> None:
    """Refused connections are failures like others."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        tracing = setup.configure(config(f"http://127.0.0.1:{taken.getsockname()[1]}"), state_dir=tmp_path)
        assert ask("?") == "Paris"
        tracing.close()
    assert tracing.counts() == Counts(failed=1)


def test_a_back_end_that_comes_back_gets_spans_again(tmp_path: Path) -> None:
    """What was given up stays lost and counted; what comes later arrives."""
    with otlp_sink.running("error") as sink:
        tracing = setup.configure(config(sink.url), state_dir=tmp_path)
        ask("lost")
        until(lambda: tracing.counts().failed == 1)
        sink.behaviour = "ok"
        ask("kept")
        tracing.close()
    assert [attributes(one)["gen_ai.input.messages"] for one in sink.spans] == [
        '[{"role":"user","parts":[{"type":"text","content":"kept"}]}]'
    ]
    assert tracing.counts() == Counts(exported=1, failed=1)


def test_nothing_secret_leaves_the_process(tmp_path: Path) -> None:
    """Rules are applied before the wire: the bytes that arrive hold no secret, in content, names, events or errors."""
    key, mail = "AKIAIOSFODNN7EXAMPLE", "jane.doe@example.com"
    rules = {"redaction": Redaction.model_validate({"patterns": [{"name": "ticket", "pattern": r"TICKET-\d+"}]})}
    with otlp_sink.running() as sink:
        tracing = setup.configure(config(sink.url, **rules), state_dir=tmp_path)
        with span(f"search {mail}") as seen:
            seen.event("asked", who=mail)
            seen.set(**conventions.documents([{"id": 1, "score": 1, "content": f"key {key} TICKET-77"}]))
            seen.fail(ValueError(key))
        tracing.close()
    received = b"".join(one.SerializeToString() for one in sink.spans).decode("utf-8", "replace")
    assert sink.problems == []
    assert key not in received
    assert mail not in received
    assert "TICKET-77" not in received
    assert all(mark in received for mark in ("[aws-keys]", "[email]", "[ticket]"))


def test_two_exporters_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """The local store has every span while the back end hangs."""
    with otlp_sink.running("hang") as sink:
        tracing = setup.configure(config(sink.url, exporters=["local", "otlp"]), state_dir=tmp_path)
        for number in range(20):
            ask(str(number))
        until(lambda: tracing.by_exporter()["local"].exported == 20)
        sink.released.set()
        tracing.close()
    assert tracing.by_exporter()["otlp"].exported == 0


def test_a_delivery_is_a_thread_that_nobody_waits_for() -> None:
    """A process ends although an exporter hangs: its thread is a daemon."""
    with otlp_sink.running("hang") as sink:
        from llm_deploy.tracing import otlp  # noqa: PLC0415 - imports OpenTelemetry

        made = Delivery(
            otlp.exporter(Otlp(endpoint=sink.url)), name="x", scrub=lambda one: one, most_spans=1, most_bytes=1
        )
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "llmdeploy-traces-x")
        made.close(1)
