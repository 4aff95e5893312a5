"""The gateways that are measured: how each is configured for the stub's endpoints, started, and asked.

All stand in front of the same SageMaker endpoints of the stub: they sign each request and take the event stream apart.
Ours has keys, limits, metering and metrics on. LiteLLM's proxy runs in its lightest setting: no key, no database, no
callbacks. The FastAPI gateway is `peers/fastapi_aiobotocore.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.client_adapters import PROMPT
from benchmarks.contest import ROOT, plain_environment
from benchmarks.stub_sigv4 import ACCESS_KEY, REGION, SECRET_KEY
from tests.clients import environments

PINNED = ROOT / "benchmarks" / "requirements"
CALLED, STREAMED = ("now", "d20"), ("b16", "b400", "p60-100")
"""The stub's endpoints, which are the models' names too."""
BOOT_LIMIT_S = 90
LIMITS = ("--requests-per-minute", "100000000", "--tokens-per-minute", "100000000000", "--concurrency", "100000")
"""On, and never reached."""
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass(frozen=True)
class Gateway:
    """How to start a gateway.

    Attributes:
        prepare: Writes what it needs into a folder; the command that then serves on a port, and its environment.
    """

    name: str
    prepare: Callable[[Path, str, int], Prepared]


@dataclass(frozen=True)
class Prepared:
    """A command ready to start, with the headers that its callers send."""

    command: list[str]
    environment: Mapping[str, str]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """A gateway that answers."""

    pid: int
    url: str
    boot_s: float
    headers: tuple[str, ...] = field(default=())

    def cpu_s(self) -> float:
        """CPU of its processes so far."""
        return sum(_cpu_s(pid) for pid in _family(self.pid))

    def resident_mib(self) -> float:
        """Memory of its processes now."""
        return sum(_resident_kib(pid) for pid in _family(self.pid)) / 1024

    def peak_mib(self) -> float:
        """The most memory that its processes have had."""
        return sum(_resident_kib(pid, "VmHWM") for pid in _family(self.pid)) / 1024


def body(path: str, model: str, *, stream: bool) -> bytes:
    """A request of OpenAI's shape."""
    asked = {"messages": [{"role": "user", "content": PROMPT}]} if path == CHAT else {"prompt": PROMPT}
    return json.dumps({"model": model, **asked, "max_tokens": 16, "temperature": 0.7, "stream": stream}).encode()


@contextlib.contextmanager
def running(gateway: Gateway, folder: Path, stub_url: str) -> Iterator[Running]:
    """Start a gateway and wait until it answers a chat.

    Raises:
        SystemExit: It did not come up; the end of what it wrote is the message.
    """
    port = _free_port()
    prepared = gateway.prepare(folder, stub_url, port)
    started = time.monotonic()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            prepared.command, cwd=folder, env=prepared.environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, prepared, folder)
        yield Running(process.pid, url, time.monotonic() - started, prepared.headers)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def ours(folder: Path, stub_url: str, port: int) -> Prepared:
    """`llmdeploy gateway run` with everything on that production has on."""
    models = {
        name: {"backends": [{"endpoint": name, "component": "stub-component", "dialect": "tgi"}], "concurrency": 4096}
        for name in (*CALLED, *STREAMED)
    }
    document = {
        "listen": {"port": port},
        "keys": "required",
        "models": models,
        "limits": {"concurrency": 4096},
        "logs": {"requests": False},
    }
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump(document), "utf-8")
    environment = {**_aws(stub_url), "LLMDEPLOY_HOME": str(folder / "home")}
    llmdeploy = str(Path(sys.executable).with_name("llmdeploy"))
    keys = [
        sys.executable,
        "-c",
        "from llm_deploy.cli.gateway_keys import app; app()",
        "create",
        "bench",
        "--json",
        *LIMITS,
    ]
    made = subprocess.run(keys, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    key = json.loads(made.stdout)["secret"]
    return Prepared([llmdeploy, "gateway", "run", str(config)], environment, (f"Authorization: Bearer {key}",))


def fastapi_aiobotocore(folder: Path, stub_url: str, port: int) -> Prepared:  # noqa: ARG001 - needs no file
    """One worker of uvicorn with its fast parts."""
    python = environments.python("aws", PINNED)
    options = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command = [str(python), "-m", "uvicorn", "benchmarks.peers.fastapi_aiobotocore:app", *options]
    return Prepared([*command, "--no-access-log", "--log-level", "warning"], _aws(stub_url))


def litellm(folder: Path, stub_url: str, port: int) -> Prepared:
    """LiteLLM's proxy, one worker, its SageMaker chat provider."""
    python = environments.python("litellm", PINNED)
    models = [
        _litellm_model(name, f"{stub_url}/endpoints/{name}/{operation}")
        for names, operation in ((CALLED, "invocations"), (STREAMED, "invocations-response-stream"))
        for name in names
    ]
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": models}), "utf-8")
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    environment = {**_aws(stub_url), "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Prepared([str(python.with_name("litellm")), *options], environment)


def _litellm_model(name: str, url: str) -> dict[str, object]:
    parameters = {"model": f"sagemaker_chat/{name}", "sagemaker_base_url": url, "aws_region_name": REGION}
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return {"model_name": name, "litellm_params": {**parameters, **keys}}


OURS = Gateway("llmdeploy", ours)
FASTAPI = Gateway("FastAPI + aiobotocore", fastapi_aiobotocore)
LITELLM = Gateway("LiteLLM proxy 1.102.4", litellm)


def _aws(stub_url: str) -> dict[str, str]:
    return plain_environment(
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_ENDPOINT_URL=stub_url,
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, prepared: Prepared, folder: Path) -> None:
    headers = {"Content-Type": "application/json", **dict(header.split(": ", 1) for header in prepared.headers)}
    deadline = time.monotonic() + BOOT_LIMIT_S
    while True:
        request = urllib.request.Request(url + CHAT, body(CHAT, "now", stream=False), headers)  # noqa: S310 - 127.0.0.1
        try:
            with urllib.request.urlopen(request, timeout=20):  # noqa: S310 - as above
                return
        except urllib.error.HTTPError as error:
            why = f"{error.code} {error.read()[:500]!r}"
        except OSError as error:
            why = str(error)
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{prepared.command[0]}: {why}\n{(folder / 'output').read_text()[-3000:]}")
        time.sleep(0.1)


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_kib(pid: int, what: str = "VmRSS") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))
