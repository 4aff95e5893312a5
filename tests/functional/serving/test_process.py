"""The server as a process: how it starts, how it refuses to, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.functional.serving.servers import command, environment, running, wait_for

STREAM = b'{"inputs": "1, 2, 3, 4,", "stream": true, "parameters": {"max_new_tokens": 1500}}'


def run(model: Path, folder: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    done = subprocess.run(
        command(model, folder, *more),
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_stream(port: int) -> socket.socket:
    """Begin a long stream and wait for its first token."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(STREAM) + STREAM)
    assert b"200 OK" in connection.recv(4096)
    return connection


def test_sigterm_ends_it_within_the_drain_even_with_a_live_stream(model: Path, tmp_path: Path) -> None:
    """Two seconds for what runs, exit code 0, and no socket left behind."""
    with running(model, tmp_path) as server:
        connection = start_stream(server.port)
        started_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - started_s < 6
        connection.close()
        assert not list(tmp_path.glob("llmd-*"))


def test_sigterm_ends_an_idle_server_at_once(model: Path, tmp_path: Path) -> None:
    """There is nothing to wait for."""
    with running(model, tmp_path) as server:
        started_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - started_s < 4


def test_no_server_outlives_a_parent_that_was_killed(model: Path, tmp_path: Path) -> None:
    """SIGKILL to the parent, in the middle of a generation: the server is gone within two seconds."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    arguments = command(model, tmp_path, "--exit-with-parent")
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            wait_for(lambda: (tmp_path / "port").exists() and "engine.sock" in _names(tmp_path), 20)
            port = int((tmp_path / "port").read_text())
            wait_for(lambda: _is_healthy(port), 20)
            connection = start_stream(port)
        finally:
            parent.kill()
        try:
            wait_for(lambda: not is_alive(pid), 2)
        finally:
            connection.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # a test that fails leaves no orphan either
    assert not list(tmp_path.glob("llmd-*"))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def _is_healthy(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b" 200 " in connection.recv(100)


def test_a_taken_port(model: Path, tmp_path: Path) -> None:
    """One line, exit code 13, and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run(model, tmp_path, "--port", str(other.getsockname()[1]))
    assert done.returncode == 13
    assert "the port is taken" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize(("content", "text"), [(None, "There is no model file"), (b"x", "is not a GGUF model file")])
def test_a_model_file_that_is_none(tmp_path: Path, content: bytes | None, text: str) -> None:
    """One line and exit code 14."""
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    done = run(path, tmp_path)
    assert done.returncode == 14
    assert "ModelFileError" in done.stderr
    assert text in done.stderr


def test_a_model_that_cannot_be_loaded_ends_the_server(model: Path, tmp_path: Path) -> None:
    """It listens, finds out, says so, and exits 14 instead of answering 503 for ever."""
    short = tmp_path / "short.gguf"
    short.write_bytes(model.read_bytes()[:8_000_000])
    done = run(short, tmp_path)
    assert done.returncode == 14
    assert "llama.cpp cannot load" in done.stderr


def test_limits_that_contradict_each_other(model: Path, tmp_path: Path) -> None:
    """In TGI's words, before anything is loaded."""
    done = run(model, tmp_path, MAX_INPUT_TOKENS="5", MAX_INPUT_LENGTH="5")
    assert done.returncode == 3
    assert "Both `max_input_tokens` (5) and `max_input_length` (5) are set." in done.stderr


def test_limits_of_the_environment_hold(model: Path, tmp_path: Path) -> None:
    """MAX_TOTAL_TOKENS is the context of each slot, and shown."""
    with running(model, tmp_path, MAX_INPUT_TOKENS="50", MAX_TOTAL_TOKENS="64") as server, server.client() as client:
        info = client.get("/info").json()
        assert (info["max_input_tokens"], info["max_total_tokens"]) == (50, 64)
        answer = client.post("/invocations", json={"inputs": "x", "parameters": {"max_new_tokens": 64}})
        assert answer.status_code == 422
        assert server.invoke("1, 2,")["generated_text"]


def test_llmdeploy_serve_reports_an_engine_that_crashed(model: Path, tmp_path: Path) -> None:
    """The command runs the server as a child, so that even SIGSEGV ends in a sentence and exit code 13."""
    code = (
        "import sys\n"
        "from llm_deploy.cli.serve import serve\n"
        "from llm_deploy.errors import LlmDeployError\n"
        "try:\n"
        "    serve(sys.argv[1], '127.0.0.1', 0, 'tgi', 1, None, 1)\n"
        "except LlmDeployError as error:\n"
        "    sys.exit(f'{error.exit_code} {error.message}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(model)], env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as parent:
        wait_for(lambda: "engine.sock" in _names(tmp_path), 20)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGSEGV)
        _, errors = parent.communicate(timeout=20)
    assert "13 The model server died of SIGSEGV." in errors
    assert "Segmentation fault" in errors


def test_importing_the_package_is_cheap() -> None:
    """No web framework, no engine, no YAML."""
    heavy = {"uvicorn", "yaml", "xllamacpp", "starlette"}
    code = f"import sys, llm_deploy.serving; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
