"""The clouds that functional tests drive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.emulator.cloud import RunningCloud, start


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """One fast cloud for every test that leaves it as it found it."""
    state_dir = tmp_path_factory.mktemp("cloud")
    cloud = RunningCloud(state_dir, 2000, start(state_dir, 2000))
    yield cloud
    if cloud.process.poll() is None:
        cloud.stop()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[RunningCloud]:
    """A cloud of a test's own."""
    own = RunningCloud(tmp_path / "state", 2000, start(tmp_path / "state", 2000))
    yield own
    if own.process.poll() is None:
        own.kill()
