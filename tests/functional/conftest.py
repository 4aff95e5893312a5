"""What functional tests share: the local cloud from inside the test's process."""

from __future__ import annotations

import os

import pytest

from llm_deploy.targets.registry import Connection, connect
from tests.conftest import Terminal


@pytest.fixture
def connection(local_cloud: Terminal, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The local cloud, reached from this process."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "LLMDEPLOY_"))]:
        monkeypatch.delenv(name)
    for name, value in local_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(local_cloud.folder)
    return connect("local")
