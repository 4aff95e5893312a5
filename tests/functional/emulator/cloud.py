"""A local cloud as a process of its own, whose containers are the fake model server, driven by boto3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY

FAKE = Path(__file__).parents[2] / "fakes" / "model_server.py"
REGION = "eu-central-1"
ROLE = "arn:aws:iam::000000000000:role/llmdeploy-local-execution"
TGI_IMAGE = (
    "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124"
)


@dataclass
class RunningCloud:
    """A cloud that runs, and the ways to reach it."""

    state_dir: Path
    speed: float
    process: subprocess.Popen[bytes]
    extra: tuple[str, ...] = ()
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def announced(self) -> dict[str, Any]:
        """What the cloud wrote when it was ready."""
        document: dict[str, Any] = json.loads((self.state_dir / "cloud.json").read_text())
        return document

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.announced["url"])

    def client(self, service: str, region: str = REGION, read_timeout: float = 70) -> Any:  # noqa: ANN401 - boto3 ships no types
        """A new boto3 client that never retries."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=ROOT_ACCESS_KEY,
            aws_secret_access_key=ROOT_SECRET_KEY,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout, max_pool_connections=50),
        )

    @property
    def sagemaker(self) -> Any:  # noqa: ANN401 - as above
        """The control plane."""
        return self._kept("sagemaker")

    @property
    def runtime(self) -> Any:  # noqa: ANN401 - as above
        """The runtime."""
        return self._kept("sagemaker-runtime")

    def _kept(self, service: str) -> Any:  # noqa: ANN401 - as above
        if service not in self.clients:
            self.clients[service] = self.client(service)
        return self.clients[service]

    def health(self) -> dict[str, Any]:
        """What the cloud says of itself."""
        with urllib.request.urlopen(self.url + "/_local/health", timeout=5) as answer:  # noqa: S310 - a URL of our own
            document: dict[str, Any] = json.load(answer)
        return document

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as a person would; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    def start_again(self) -> None:
        """A new process on the same state."""
        self.clients.clear()
        self.process = start(self.state_dir, self.speed, self.extra)

    def eventually(self, condition: Any, timeout_s: float = 30) -> Any:  # noqa: ANN401 - as above
        """The first true value of a condition."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError("it did not happen in time")

    def make_model(self, name: str, **environment: str) -> None:
        """A model with a TGI image."""
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": TGI_IMAGE, "Environment": environment},
        )

    def make_model_endpoint(self, name: str, count: int = 1, **environment: str) -> None:
        """Model, config and endpoint of one name; does not wait."""
        self.make_model(name, **environment)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": "ml.g5.2xlarge",
            "InitialInstanceCount": count,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def make_component_endpoint(self, name: str, **variant: Any) -> None:  # noqa: ANN401 - as above
        """An empty endpoint for components, in service."""
        whole = {
            "VariantName": "AllTraffic",
            "InstanceType": "ml.g5.12xlarge",
            "InitialInstanceCount": 1,
            **variant,
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ExecutionRoleArn=ROLE, ProductionVariants=[whole]
        )
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.endpoint_rests(name)

    def make_component(self, name: str, endpoint: str, model: str, *, copies: int = 1, memory_mib: int = 1024) -> None:
        """A component of a model; does not wait."""
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName=endpoint,
            VariantName="AllTraffic",
            Specification={
                "ModelName": model,
                "ComputeResourceRequirements": {
                    "MinMemoryRequiredInMb": memory_mib,
                    "NumberOfAcceleratorDevicesRequired": 1,
                    "NumberOfCpuCoresRequired": 2,
                },
            },
            RuntimeConfig={"CopyCount": copies},
        )

    def endpoint_rests(self, name: str) -> dict[str, Any]:
        """Wait until an endpoint is in no transient status."""

        def resting() -> Any:  # noqa: ANN401 - as above
            found = self.sagemaker.describe_endpoint(EndpointName=name)
            return None if found["EndpointStatus"].endswith("ing") else found

        document: dict[str, Any] = self.eventually(resting)
        return document

    def component_rests(self, name: str) -> dict[str, Any]:
        """Wait until a component is in no transient status."""

        def resting() -> Any:  # noqa: ANN401 - as above
            found = self.sagemaker.describe_inference_component(InferenceComponentName=name)
            return None if found["InferenceComponentStatus"].endswith("ing") else found

        document: dict[str, Any] = self.eventually(resting)
        return document


def start(state_dir: Path, speed: float, extra: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a cloud and wait until it says that it is ready."""
    announcement = state_dir / "cloud.json"
    announcement.unlink(missing_ok=True)
    state_dir.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "llm_deploy.emulator", "--state-dir", str(state_dir), "--port", "0"]
    command += ["--speed", str(speed), "--seed", "7", "--model-server", json.dumps([sys.executable, str(FAKE)]), *extra]
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": "never-for-containers"}
    with (state_dir / "cloud.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    end = time.monotonic() + 20
    while not announcement.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError((state_dir / "cloud.log").read_text())
        time.sleep(0.01)
    return process


def processes_of(state_dir: Path, name: str = "") -> list[int]:
    """Model servers that were started below a state directory and still run; of one owner, when named."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                zombie = b") Z " in (entry / "stat").read_bytes()
            except OSError:
                continue
            if f"{state_dir}/containers/{name}".encode() in command and not zombie:
                found.append(int(entry.name))
    return found
