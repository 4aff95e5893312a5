"""What the foreign judges share: where they are pointed, how they are run, and that they leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments
from tests.conftest import ROOT, Result, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
PROGRAM_TIMEOUT_S = 400


@dataclass(frozen=True)
class Foreign:
    """A program that nobody here wrote, pointed at the local cloud by AWS's own variables and nothing else."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path

    def run(self, *arguments: str, code: int | None = 0) -> Result:
        """Run it to its end; `code` is the exit code expected, `None` for any."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_TIMEOUT_S,
        )
        what = f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        assert code is None or done.returncode == code, what
        return Result(done.returncode, done.stdout, done.stderr)

    def report(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the program observed
        """Run a program of `programs/` or `javascript/`; what it wrote as the last line, which is JSON."""
        result = self.run(*arguments)
        return json.loads(result.out.splitlines()[-1])


Runner = Callable[..., Foreign]


@pytest.fixture
def foreign(pointed_at_it: dict[str, str], tmp_path: Path) -> Runner:
    """Makes a foreign program of a command; its home is empty, so no profile and no configuration reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LLMDEPLOY_", "PYTHON"))}
    environment = {**kept, **pointed_at_it, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}

    def make(*command: str | Path) -> Foreign:
        return Foreign(tuple(map(str, command)), environment, tmp_path)

    return make


def python_program(foreign: Runner, environment: str, program: str, *arguments: str) -> Any:  # noqa: ANN401 - as above
    """Run a file of `programs/` in an environment of `requirements/`, with our package importable; its report."""
    runner = foreign(environments.python(environment), environments.HERE / "programs" / program)
    paths = {"PYTHONPATH": str(ROOT), "SAGEMAKER_SUPPRESS_V2_WARNING": "1"}
    return replace(runner, environment={**runner.environment, **paths}).report(*arguments)


@pytest.fixture(autouse=True)
def nothing_left(pointed_at_it: dict[str, str]) -> Iterator[None]:
    """Every judge finds an empty cloud and leaves it empty."""
    assert not any(everything(pointed_at_it).values())
    yield
    assert not any(everything(pointed_at_it).values())


@pytest.fixture(params=["inference-component", "model"])
def endpoint_type(request: pytest.FixtureRequest) -> str:
    """Both types of endpoint."""
    return str(request.param)


@pytest.fixture
def twin(local_cloud: Terminal, endpoint_type: str) -> Iterator[str]:
    """The inference component's name, or nothing, of the endpoint `twin` that `llmdeploy` deployed."""
    local_cloud.run("deploy-endpoint", TWIN, "--endpoint-type", endpoint_type, "--yes")
    yield "twin" if endpoint_type == "inference-component" else ""
    local_cloud.run("delete-endpoint", "twin", "--yes")
