"""Server processes for tests: started, watched, and never left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Running:
    """A server process, its address, its log so far, and the engine behind it."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Its standard error so far."""
        return (self.folder / "log").read_text()

    def client(self) -> httpx.Client:
        """A client for it."""
        return httpx.Client(base_url=self.url, timeout=60)

    def invoke(self, inputs: str, *, path: str = "/generate", **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        """One plain TGI request; the answer's document."""
        with self.client() as client:
            answer = client.post(path, json={"inputs": inputs, "parameters": parameters})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def busy_slots(self) -> int:
        """Slots that llama.cpp itself says it is working on."""
        socket = next(self.folder.glob("llmd-*/engine.sock"))
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
            return sum(slot["is_processing"] for slot in client.get("http://engine/slots").json())


def wait_for(condition: Callable[[], bool], within_s: float) -> float:
    """Wait until something holds; return how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, f"not within {within_s} s"
        time.sleep(0.01)
    return time.monotonic() - start


def command(model: Path, folder: Path, *more: str) -> list[str]:
    """The command line of a server on a free port."""
    port_file = str(folder / "port")
    return [
        sys.executable,
        "-m",
        "llm_deploy.serving",
        "--model",
        str(model),
        "--port",
        "0",
        "--port-file",
        port_file,
        *more,
    ]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A container's environment; the engine's private socket lands in the folder."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "TMPDIR": str(folder)} | more


@contextmanager
def running(model: Path, folder: Path, *more: str, **variables: str) -> Iterator[Running]:
    """Start a server, wait until it is healthy, and leave nothing behind."""
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command(model, folder, "--exit-with-parent", *more),
            env=environment(folder, **variables),
            stdin=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            wait_for((folder / "port").exists, 20)
            server = Running(process, int((folder / "port").read_text()), folder)
            with server.client() as client:
                wait_for(lambda: client.get("/ping").status_code == 200, 30)
            yield server
        finally:
            process.kill()


def sse(text: str) -> list[Any]:
    """The documents of an event stream, without `[DONE]`."""
    lines = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
