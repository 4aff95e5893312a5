"""`llmdeploy bench` as a person runs it: against the local cloud's real model, and against an address."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.bench.document import Report
from tests.conftest import ROOT, Terminal
from tests.fakes.runtime_server import Reply, serving

pytestmark = pytest.mark.xdist_group("bench")
SHORT = ("--output-tokens", "8", "--input-tokens", "16")


@pytest.fixture(scope="module")
def smollm2(local_cloud: Terminal) -> Iterator[Terminal]:
    """A deployment to load."""
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "smollm2.yaml"), "--yes")
    yield local_cloud
    local_cloud.run("delete-endpoint", "smollm2", "--yes")


@pytest.mark.row("T9")
def test_a_deployment_is_loaded(smollm2: Terminal, tmp_path: Path) -> None:
    """Real tokens, the price of its machines, a page, and figures that hang together."""
    page, file = tmp_path / "report.html", tmp_path / "report.json"
    done = smollm2.run(
        *("bench", "smollm2", "--rate", "4", "--duration", "3", "--slo", "ttft=20s", *SHORT),
        *("--html", str(page), "--output", str(file), "--json"),
    )
    report = Report.model_validate(done.json)
    (phase,) = report.phases
    assert Report.model_validate_json(file.read_text()) == report
    assert page.read_text().startswith("<!doctype html>")
    assert phase.errors == {}
    assert phase.good == phase.requests > 0
    assert 0 < phase.ttft.p50 <= phase.total.p50
    assert phase.tokens_per_s > 0
    assert phase.prompt_tokens_per_s > 0
    assert report.target.copies == 1
    assert report.target.usd_per_hour
    assert report.cost is not None
    assert report.capacity.best_per_s == 4
    assert report.cost.usd_per_million_tokens == pytest.approx(
        report.target.usd_per_hour / 3600 / phase.tokens_per_s * 1e6
    )


def test_ctrl_c_reports_what_was_measured(smollm2: Terminal) -> None:
    """The exit code is Ctrl-C's, the report is whole, and no request is left behind at the model."""
    process = smollm2.start("bench", "smollm2", "--users", "2", "--duration", "100", "--json", *SHORT)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    report = Report.model_validate_json(out)
    assert report.interrupted
    assert report.phases[0].requests > 0
    assert report.phases[0].errors == {}


def chunk(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def test_an_address_is_loaded(terminal: Terminal) -> None:
    """With its key, which is in no output; refusals are counted by their kind, and the rest goes on."""
    texts = [chunk({"choices": [{"index": 0, "text": f" {word}", "finish_reason": None}]}) for word in "abc"]
    last = chunk({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    answer = Reply(parts=[*texts, last, b"data: [DONE]\n\n"], headers={"Content-Type": "text/event-stream"})
    refusal = Reply(429, [b'{"error": {"message": "slow down"}}'], chunked=False)
    with serving(*itertools.islice(itertools.cycle([answer, answer, answer, refusal]), 30)) as server:
        done = terminal.run(
            *("bench", f"{server.url}/v1", "--rate", "10", "--arrivals", "constant", "--duration", "2", "--json"),
            *("--key", "SECRET_OF_MINE", "--model", "m", "--warm-up", "0"),
            SECRET_OF_MINE="sk-hidden",
        )
        keys = {seen.headers.get("authorization") for seen in server.seen}
    (phase,) = Report.model_validate(done.json).phases
    assert keys == {"Bearer sk-hidden"}
    assert "sk-hidden" not in done.out + done.err
    assert (phase.requests, phase.failed, set(phase.errors)) == (20, 5, {"OverloadedError"})


def test_nothing_is_sent_in_a_dry_run(terminal: Terminal) -> None:
    """It says what would be sent; neither the address nor an account needs to be there."""
    done = terminal.run("bench", "http://127.0.0.1:9/v1", "--rate", "1,2", "--duration", "10", "--dry-run")
    assert "2 per s, poisson, 10 s, at most 1024 at once: about 20 requests" in done.out
    assert "Nothing was sent." in done.out


def test_the_generator_measures_itself(terminal: Terminal) -> None:
    """What it costs and how far off it is, as JSON; at no load does it lose requests."""
    found = terminal.run("bench", "--self-test", "--json").json
    assert found["cost"]["request_us"] > 0
    assert [row["rate_per_s"] for row in found["accuracy"]] == [50, 200, 800]


def test_the_schema_is_printed(terminal: Terminal) -> None:
    """For those who read reports with programs."""
    assert "capacity" in terminal.run("bench", "--schema").json["properties"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name of a deployment or an address"),
        (("twin", "--rate", "fast"), "--rate fast: expected numbers"),
        (("twin", "--rate", "0"), "expected numbers above 0"),
        (("twin", "--rate", "1", "--users", "2"), "exclude each other"),
        (("twin", "--slo", "ttft=soon"), "--slo ttft=soon"),
        (("twin", "--output-tokens", "many"), "--output-tokens many"),
        (("http://127.0.0.1:9/v1", "--key", "NOT_THERE"), "no such variable"),
        (("bad_name!",), "no deployment's name"),
    ],
)
def test_wrong_input_is_told(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    """Before anything is sent, with the exit code of wrong input."""
    done = terminal.run("bench", *arguments, code=3)
    assert said in done.err
