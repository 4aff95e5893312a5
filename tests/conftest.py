"""What every tier shares: a local cloud, and the command line as a person starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LLMDEPLOY = Path(sys.executable).with_name("llmdeploy")
FAST = 2000.0
"""Ten minutes of AWS's waiting in a third of a second: what is left is real work."""


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command wrote
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Terminal:
    """A shell in a folder of its own, with an environment that leads to no real account."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a command here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LLMDEPLOY_"))}
        return kept | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(self.environment) | more

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a command and do not wait."""
        return subprocess.Popen(
            [str(LLMDEPLOY), *arguments],
            cwd=self.folder,
            env=self.env(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int | None = 0, **more: str) -> Result:
        """Run a command to its end; `code` is the exit code expected, `None` for any."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=150)
        assert code is None or process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return Result(process.returncode, out, err)


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A running local cloud of this worker's own, and a terminal whose commands go to it."""
    folder = tmp_path_factory.mktemp("cloud")
    terminal = Terminal(folder, {"LLMDEPLOY_HOME": str(folder / "home"), "LLMDEPLOY_TARGET": "local"})
    terminal.run("local", "up", "--port", "0", "--speed", str(FAST))
    yield terminal
    terminal.run("local", "down")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> Iterator[None]:
    """A job in the background of a script ignores SIGINT, and so would every program that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember what failed, for `as_new_after_a_failure`."""
    report = yield
    item.stash[_FAILED] = report.failed or item.stash.get(_FAILED, False)
    return report


_LEFT = pytest.StashKey[bool]()


@pytest.fixture(autouse=True)
def as_new_after_a_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves a worker's local cloud as it found it: empty. One failure is then one failure.

    Where a module's tests share a deployment, which a second try needs too, it is emptied before the next module.
    """
    left = request.config.stash.setdefault(_LEFT, False)
    if left:
        _empty_if_free(request)
    yield
    if request.node.stash.get(_FAILED, False):
        request.node.stash[_FAILED] = False
        request.config.stash[_LEFT] = True
        _empty_if_free(request)


def _empty_if_free(request: pytest.FixtureRequest) -> None:
    if "local_cloud" in request.fixturenames and not _shares_a_deployment(request.node):
        request.config.stash[_LEFT] = False
        _empty(request.getfixturevalue("local_cloud"))


def _shares_a_deployment(test: Any) -> bool:  # noqa: ANN401 - pytest's functions have this, its items do not say so
    fixtures = [fixture for found in test._fixtureinfo.name2fixturedefs.values() for fixture in found]
    return any(fixture.scope in {"module", "class", "package"} for fixture in fixtures)


def _empty(cloud: Terminal) -> None:
    port = cloud.run("local", "status", "--json").json["url"].rpartition(":")[2]
    cloud.run("local", "down")
    shutil.rmtree(cloud.environment["LLMDEPLOY_HOME"])
    cloud.run("local", "up", "--port", port, "--speed", str(FAST))


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal with no cloud behind it."""
    return Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})


@pytest.fixture(scope="session")
def pointed_at_it(local_cloud: Terminal) -> dict[str, str]:
    """The variables that point foreign AWS programs at the local cloud."""
    lines = local_cloud.run("local", "env", "--shell", "sh").out.splitlines()
    exports = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
    return {name: value.strip("'\"") for name, _, value in exports}
