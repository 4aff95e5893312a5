"""A gateway as a process, and the stub of a model that costs nothing, for tests that talk to both over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.conftest import ROOT, Terminal

_ENDS_S = 20


@dataclass
class Running:
    """A gateway that answers.

    Attributes:
        greeting: The line that it writes when it is there.
        log: Where its standard error goes.
    """

    process: subprocess.Popen[str]
    url: str
    greeting: str
    log: Path

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One GET."""
        return httpx.get(self.url + path, headers=headers, timeout=20)

    def post(self, path: str, document: Any, **headers: str) -> httpx.Response:  # noqa: ANN401 - JSON
        """One POST."""
        return httpx.post(self.url + path, json=document, headers=headers, timeout=60)

    def gauge(self, name: str) -> float:
        """A number of /metrics."""
        lines = self.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"llmdeploy_gateway_{name} ")).split()[1])

    def descriptors(self) -> int:
        """Open files and sockets of the process."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def resident_mib(self) -> float:
        """Memory of the process now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_ENDS_S)


@contextmanager
def running(
    terminal: Terminal,
    document: dict[str, Any] | None = None,
    *arguments: str,
    stderr: int | None = None,
    **more: str,
) -> Iterator[Running]:
    """`llmdeploy gateway run` with this configuration, or with none, on a free port."""
    files = []
    if document is not None:
        path = terminal.folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(document))
        files = [str(path)]
    with started(terminal, "gateway", "run", *files, "--port", "0", *arguments, stderr=stderr, **more) as it:
        yield it


@contextmanager
def started(terminal: Terminal, *arguments: str, stderr: int | None = None, **more: str) -> Iterator[Running]:
    """A command that serves, from the line in which it says where, to its end. `stderr`: a pipe instead of a file."""
    log = terminal.folder / f"{arguments[0]}-{os.urandom(4).hex()}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("llmdeploy")), *arguments],
            cwd=terminal.folder,
            env=terminal.env(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file if stderr is None else stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        greeting = process.stdout.readline()
        assert "http://" in greeting, log.read_text()
        place = greeting.split("http://")[1].split()[0].split("/")[0].rstrip(":")
        yield Running(process, f"http://{place}", greeting.strip(), log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()


@contextmanager
def stub() -> Iterator[str]:
    """The address of a stub of model servers; see `benchmarks/stub.py`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stub", "--port", "0"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def events(text: str) -> list[dict[str, Any]]:
    """The documents of a stream."""
    payloads = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(payload) for payload in payloads if payload != "[DONE]"]
