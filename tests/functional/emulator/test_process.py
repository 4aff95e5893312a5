"""The cloud as a process: its start, its end, its death, and what survives."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.functional.emulator.cloud import RunningCloud, processes_of, start

COMMAND = [sys.executable, "-m", "llm_deploy.emulator"]


def lists(cloud: RunningCloud) -> dict[str, Any]:
    """Everything that a client can list."""
    sagemaker = cloud.sagemaker
    answers = {
        "models": sagemaker.list_models()["Models"],
        "configs": sagemaker.list_endpoint_configs()["EndpointConfigs"],
        "endpoints": sagemaker.list_endpoints()["Endpoints"],
        "components": sagemaker.list_inference_components()["InferenceComponents"],
    }
    arn = answers["endpoints"][0]["EndpointArn"]
    return {**answers, "tags": sagemaker.list_tags(ResourceArn=arn)["Tags"]}


def test_after_sigkill_no_process_is_left_and_everything_comes_back(cloud: RunningCloud) -> None:
    """Model processes die with the cloud; a new one has the same lists, and answers without virtual minutes."""
    cloud.make_model_endpoint("up", HF_MODEL_ID="org/model", FAKE_TOKEN_S="0.05")
    cloud.endpoint_rests("up")
    cloud.make_component_endpoint("parts")
    cloud.make_component("part", "parts", "up")
    cloud.component_rests("part")
    before = lists(cloud)
    busy = cloud.runtime.invoke_endpoint_with_response_stream(
        EndpointName="up", Body=b'{"stream": true, "fake": {"tokens": 100000}}'
    )
    next(iter(busy["Body"]))
    assert len(processes_of(cloud.state_dir)) == 2
    cloud.kill()
    cloud.eventually(lambda: not processes_of(cloud.state_dir), timeout_s=5)
    cloud.speed = 0.001  # any virtual waiting would now take for ever
    cloud.start_again()
    assert lists(cloud) == before
    answer = cloud.runtime.invoke_endpoint(EndpointName="up", Body=b'{"inputs": "x"}')
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    answer = cloud.runtime.invoke_endpoint(EndpointName="parts", InferenceComponentName="part", Body=b"{}")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_stop_ends_everything_and_takes_the_announcement_away(cloud: RunningCloud) -> None:
    """SIGTERM or the local address: exit code 0, no process, no cloud.json."""
    cloud.make_model_endpoint("up")
    cloud.endpoint_rests("up")
    request = urllib.request.Request(cloud.url + "/_local/stop", method="POST")  # noqa: S310 - a URL of our own
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
        assert answer.status == 202
    assert cloud.process.wait(timeout=15) == 0
    assert processes_of(cloud.state_dir) == []
    assert not (cloud.state_dir / "cloud.json").exists()
    cloud.start_again()
    assert cloud.stop() == 0


def test_the_announcement_is_private_and_true(cloud: RunningCloud) -> None:
    """Mode 0600, the process's own id, and an address that answers."""
    announced = cloud.announced
    assert (cloud.state_dir / "cloud.json").stat().st_mode & 0o777 == 0o600
    assert announced.keys() == {"pid", "port", "url", "region", "account", "speed", "started_at", "version"}
    assert announced["pid"] == cloud.process.pid
    health = cloud.health()
    assert {key: health[key] for key in ("status", "pid", "speed", "account", "region", "endpoints", "processes")} == {
        "status": "ok",
        "pid": cloud.process.pid,
        "speed": 2000,
        "account": "000000000000",
        "region": "eu-central-1",
        "endpoints": 0,
        "processes": 0,
    }


def test_a_second_cloud_on_the_same_state_is_refused(cloud: RunningCloud) -> None:
    """Two writers of one state would ruin it; exit code 13 and one line."""
    done = subprocess.run(
        [*COMMAND, "--state-dir", str(cloud.state_dir), "--port", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 13
    assert done.stderr.strip().splitlines()[-1].startswith("local cloud: another local cloud already runs on ")
    assert cloud.health()["status"] == "ok"


def test_a_taken_port_is_one_line_and_exit_code_13(tmp_path: Path) -> None:
    """Nothing half started is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--state-dir", str(tmp_path), "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 13
    assert done.stderr.strip() == f"local cloud: port {port} on 127.0.0.1 is taken by another program"
    assert not (tmp_path / "cloud.json").exists()


def test_a_damaged_state_is_one_line_and_exit_code_13(tmp_path: Path) -> None:
    """It is neither overwritten nor a traceback."""
    (tmp_path / "state.sqlite").write_bytes(b"this is no database" * 100)
    done = subprocess.run(
        [*COMMAND, "--state-dir", str(tmp_path), "--port", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 13
    assert "cannot use the state in" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "state.sqlite").read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize("argument", [["--speed", "0"], ["--speed", "nan"], ["--model-server", "{}"], ["--port", "x"]])
def test_wrong_arguments_are_usage_errors(tmp_path: Path, argument: list[str]) -> None:
    """Before anything is touched."""
    done = subprocess.run(
        [*COMMAND, "--state-dir", str(tmp_path / "state"), *argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not (tmp_path / "state").exists()


def test_it_listens_on_the_loopback_only(cloud: RunningCloud) -> None:
    """Nobody else on the network is served."""
    port = cloud.announced["port"]
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {each[1] for each in listening if each[3] == "0A" and each[1].endswith(f":{port:04X}")}
    assert addresses == {f"0100007F:{port:04X}"}


def test_it_is_ready_within_two_seconds(tmp_path: Path) -> None:
    """From the start of the process to an answer, the best of three on a busy machine."""
    took = []
    for attempt in range(3):
        state_dir = tmp_path / str(attempt)
        started = time.monotonic()
        own = RunningCloud(state_dir, 60, start(state_dir, 60))
        own.health()
        took.append(time.monotonic() - started)
        own.kill()
    assert min(took) < 2


def test_whole_answers_and_streams_have_their_time_limits(tmp_path: Path) -> None:
    """ModelError for a whole answer, an exception in a stream. Ledger: runtime.timeout, runtime.stream-timeout."""
    state_dir = tmp_path / "state"
    extra = ("--invoke-timeout", "0.6", "--stream-timeout", "0.6")
    own = RunningCloud(state_dir, 2000, start(state_dir, 2000, extra), extra)
    try:
        own.make_model_endpoint("slow", FAKE_TOKENS="100", FAKE_TOKEN_S="0.1")
        own.endpoint_rests("slow")
        with pytest.raises(ClientError, match=r"Received server error \(0\) from primary .*invocation timed out"):
            own.runtime.invoke_endpoint(EndpointName="slow", Body=b"{}")
        answer = own.runtime.invoke_endpoint_with_response_stream(EndpointName="slow", Body=b'{"stream": true}')
        with pytest.raises(EventStreamError, match="did not complete sending the inference response"):
            list(answer["Body"])
    finally:
        own.kill()


def test_without_splitting_every_chunk_is_one_part(tmp_path: Path) -> None:
    """`--no-split` is for looking at a stream with one's own eyes."""
    state_dir = tmp_path / "state"
    own = RunningCloud(state_dir, 2000, start(state_dir, 2000, ("--no-split",)))
    try:
        own.make_model_endpoint("plain", FAKE_TOKENS="20", FAKE_TOKEN_S="0.01")
        own.endpoint_rests("plain")
        answer = own.runtime.invoke_endpoint_with_response_stream(EndpointName="plain", Body=b'{"stream": true}')
        assert all(event["PayloadPart"]["Bytes"].endswith(b"\n\n") for event in answer["Body"])
    finally:
        own.kill()


def test_a_container_that_cannot_start_is_told_in_the_log_and_not_by_a_crash(tmp_path: Path) -> None:
    """No model server at all: the endpoint stays Creating, as a crash loop does; the cloud lives."""
    state_dir = tmp_path / "state"
    own = RunningCloud(state_dir, 2000, start(state_dir, 2000, ("--model-server", json.dumps(["/no/such/program"]))))
    try:
        own.make_model_endpoint("none")
        time.sleep(1)
        assert own.sagemaker.describe_endpoint(EndpointName="none")["EndpointStatus"] == "Creating"
        assert own.health()["status"] == "ok"
    finally:
        own.kill()


def test_no_descriptor_of_the_cloud_reaches_a_container(cloud: RunningCloud) -> None:
    """A container holds its pipes and its own socket; not the state, not the port."""
    cloud.make_model_endpoint("up")
    cloud.endpoint_rests("up")
    (pid,) = processes_of(cloud.state_dir)
    held = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
    assert not any("state.sqlite" in each or "cloud.lock" in each for each in held)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_a_random_moment_it_goes_on_where_it_was(tmp_path: Path, seed: int) -> None:
    """What a client was told before the kill is there after it, and what was under way is finished."""
    rng = random.Random(seed)  # noqa: S311 - moments of a test
    state_dir = tmp_path / "state"
    own = RunningCloud(state_dir, 400, start(state_dir, 400))  # an endpoint takes 0.6 s, a component 0.9 s
    try:
        own.make_component_endpoint("parts")
        own.make_model_endpoint("whole", HF_MODEL_ID="org/model")
        own.make_component("part", "parts", "whole")
        time.sleep(rng.uniform(0, 1.2))
        before = {key: [each["CreationTime"] for each in value] for key, value in lists(own).items() if key != "tags"}
        own.kill()
        own.start_again()
        after = {key: [each["CreationTime"] for each in value] for key, value in lists(own).items() if key != "tags"}
        assert after == before
        assert own.endpoint_rests("whole")["EndpointStatus"] == "InService"
        assert own.component_rests("part")["InferenceComponentStatus"] == "InService"
        own.runtime.invoke_endpoint(EndpointName="whole", Body=b"{}")
        own.runtime.invoke_endpoint(EndpointName="parts", InferenceComponentName="part", Body=b"{}")
        assert own.health()["processes"] == 2
    finally:
        own.kill()
    own.eventually(lambda: not processes_of(state_dir), timeout_s=5)
