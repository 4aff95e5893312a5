"""A gateway process of these tests, with a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.conftest import ROOT, Terminal
from tests.functional.soak.traffic import TOO_LARGE_BYTES
from tests.functional.soak.vitals import Vitals, read


@dataclass(frozen=True)
class Place:
    """A running gateway."""

    process: subprocess.Popen[str]
    url: str
    key: str
    folder: Path

    def vitals(self, at_s: float) -> Vitals:
        """What it holds now."""
        return read(self.process.pid, at_s, tasks=int(self.told()["tasks"]))

    def told(self) -> dict[str, Any]:
        """What it says of itself."""
        found: dict[str, Any] = httpx.get(f"{self.url}/_vitals", timeout=60).json()
        return found

    def gauge(self, name: str) -> float:
        """A figure of /metrics."""
        lines = httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(f"llmdeploy_gateway_{name} ")))

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "gateway.log").read_text()


@contextmanager
def gateway(folder: Path, backends: Mapping[str, str], **variables: str) -> Iterator[Place]:
    """A gateway in front of servers by model, with keys, limits, traces and its state in this folder."""
    state = f"sqlite:///{folder / 'state.db'}"
    document = {
        "models": {name: {"backends": [{"url": url}]} for name, url in backends.items()},
        "limits": {"body_bytes": TOO_LARGE_BYTES - 1000},
        "tracing": {"capture_content": True, "local": {"path": str(folder / "traces.db"), "max_mib": 4}},
        "state": {"url": state},
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(document))
    terminal = Terminal(folder, {"LLMDEPLOY_HOME": str(folder), "HOME": str(folder)})
    key = terminal.run("gateway", "keys", "create", "soak", "--state", state, "--json").json
    environment = terminal.env(PYTHONPATH=str(ROOT), **variables)
    with (
        (folder / "gateway.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.functional.soak.gateway_program", str(folder / "gateway.yaml")],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, (folder / "gateway.log").read_text()
            yield Place(process, url, _secret(key), folder)
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def stub(behaviour: str) -> Iterator[str]:
    """A model server that costs almost nothing; see `benchmarks/stub.py`."""
    command = [sys.executable, "-m", "benchmarks.stub", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"{process.stdout.readline().split()[0]}/{behaviour}"
        finally:
            process.terminate()


def settled(condition: Any, within_s: float = 60) -> None:  # noqa: ANN401 - a callable
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "did not settle"
        time.sleep(0.2)


def _secret(document: dict[str, Any]) -> str:
    return next(str(value) for name, value in document.items() if name in {"key", "secret"})
