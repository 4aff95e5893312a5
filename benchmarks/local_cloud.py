"""A local cloud for a benchmark: a state folder of its own, and environments that lead to it and to no real account."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LLMDEPLOY = Path(sys.executable).with_name("llmdeploy")
SPEED = 2000.0
"""AWS's waiting is no part of what is measured."""


@dataclass(frozen=True)
class LocalCloud:
    """Where the cloud keeps its state and where commands run."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For `llmdeploy`: no AWS settings of the person's own, no home folder, byte code as in a normal process."""
        dropped = ("AWS_", "LLMDEPLOY_TARGET", "LLMDEPLOY_HOME", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return kept | {
            "AWS_EC2_METADATA_DISABLED": "true",
            "LLMDEPLOY_CACHE": os.environ.get("LLMDEPLOY_CACHE", str(Path.home() / ".cache" / "llmdeploy")),
            "HOME": str(self.folder),
            "LLMDEPLOY_HOME": str(self.folder / "cloud"),
            "LLMDEPLOY_TARGET": "local",
        }

    @property
    def aws_environment(self) -> dict[str, str]:
        """For any AWS program, ours included: what `llmdeploy local env` says, without our own target."""
        lines = self.llmdeploy("local", "env", "--shell", "sh").splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
        said = {name: value.strip("'\"") for name, _, value in pairs}
        return {name: value for name, value in (self.environment | said).items() if name != "LLMDEPLOY_TARGET"}

    def llmdeploy(self, *arguments: str) -> str:
        """Run a command to its end; returns its standard output."""
        done = subprocess.run(
            [LLMDEPLOY, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"llmdeploy {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def up(self) -> dict[str, Any]:
        """Start it; returns what `--json` says."""
        document: dict[str, Any] = json.loads(
            self.llmdeploy("local", "up", "--port", "0", "--speed", str(SPEED), "--json")
        )
        return document


@contextlib.contextmanager
def stopped_cloud() -> Iterator[LocalCloud]:
    """A cloud that is not up yet; whatever was started is stopped at the end, and its folder removed."""
    with tempfile.TemporaryDirectory(prefix="llmdeploy-bench-") as text:
        cloud = LocalCloud(Path(text))
        try:
            yield cloud
        finally:
            cloud.llmdeploy("local", "down")


@contextlib.contextmanager
def running_cloud() -> Iterator[LocalCloud]:
    """A cloud that is up."""
    with stopped_cloud() as cloud:
        cloud.up()
        yield cloud


def byte_compile(folders: Sequence[Path]) -> None:
    """Compile every module below, with the interpreter that runs this, so that no contender pays for that."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=False, stdout=subprocess.DEVNULL)
