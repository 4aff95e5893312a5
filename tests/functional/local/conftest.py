"""A local cloud of this folder's own, as a process, with the real backend behind it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from llm_deploy.aws import Session
from llm_deploy.targets.local import LocalCloud


@dataclass
class Running:
    """A local cloud that runs, and boto3 clients for it."""

    cloud: LocalCloud

    def client(self, service: str, **more: Any) -> Any:  # noqa: ANN401 - boto3 ships no types
        """A client that does not retry."""
        environment = self.cloud.environment()
        given = {
            "region_name": environment["AWS_REGION"],
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        config = Config(retries={"total_max_attempts": 1})
        return boto3.client(service, endpoint_url=environment["AWS_ENDPOINT_URL"], config=config, **(given | more))

    def session(self) -> Session:
        """What the product talks to it with, as the account root."""
        environment = self.cloud.environment()
        return Session(
            region=environment["AWS_REGION"],
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def pid(self) -> int:
        """The cloud's process."""
        status = self.cloud.status()
        assert status is not None
        return status.pid

    def kill(self) -> list[int]:
        """SIGKILL the cloud; the ids of the processes that it had started."""
        pid = self.pid()
        children = children_of(pid)
        os.kill(pid, signal.SIGKILL)
        return children


def children_of(pid: int) -> list[int]:
    """Direct children, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def is_running(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(fulfilled: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait for something that a process does by itself."""
    deadline = time.monotonic() + timeout_s
    while not fulfilled():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cloud for the tests of one module."""
    cloud = LocalCloud(tmp_path_factory.mktemp("cloud") / "home")
    cloud.ensure_running(port=0, speed=1000)
    yield Running(cloud)
    cloud.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """A cloud for one test that stops or kills it."""
    cloud = LocalCloud(tmp_path / "home")
    cloud.ensure_running(port=0, speed=1000)
    yield Running(cloud)
    cloud.stop()


@pytest.fixture
def bucket(running: Running) -> Iterator[str]:
    """An empty bucket of the account."""
    s3, name = running.client("s3"), f"bucket-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield name
    for each in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=each["Key"])
    s3.delete_bucket(Bucket=name)
