"""The cdk command itself, from npm, with no network once it is there: `synth` and `diff` of our app."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.synth import synthesised
from llm_deploy.settings import Settings
from llm_deploy.targets.blueprint import draft
from tests.conftest import ROOT

VERSION = "2.1148.1"
"""The 2.x line; npm's `latest` is 3.0.0, which does not read what aws-cdk-lib 2.275 writes."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cdk")]
Cdk = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def cdk(tmp_path_factory: pytest.TempPathFactory) -> Cdk:
    """The command in a folder of its own, run in `infra/` as a person does, cut off from every network where we can."""
    folder = tmp_path_factory.mktemp("cdk")
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"aws-cdk@{VERSION}"]
    subprocess.run(npm, cwd=folder, check=True, capture_output=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LLMDEPLOY_", "CDK_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = kept | {"PATH": path, "CDK_VALIDATION": "false", "HOME": str(folder), "CI": "true"}

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [*offline(), str(folder / "node_modules" / ".bin" / "cdk"), *arguments]
        done = subprocess.run(
            command, cwd=ROOT / "infra", env=environment, check=False, capture_output=True, text=True, timeout=150
        )
        assert done.returncode == code, done.stderr
        return done

    return run


def offline() -> Sequence[str]:
    """What runs a program without a network, where this system lets us."""
    command = ("unshare", "--map-root-user", "--net")
    able = shutil.which("unshare") and subprocess.run([*command, "true"], check=False, capture_output=True)
    return command if able and able.returncode == 0 else ()


@pytest.mark.row("T3")
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_cdk_synth_and_diff_know_the_same_stack(cdk: Cdk, tmp_path: Path, endpoint_type: str) -> None:
    """The command's template is that of `make synth`; a diff with it is empty, and a change of the context shows."""
    context = ["-c", "config=configs/twin.yaml", "-c", f"endpoint_type={endpoint_type}", "-c", "region=eu-west-1"]
    cdk("synth", "--quiet", "--output", str(tmp_path / "out"), *context)
    file = tmp_path / "out" / "llmdeploy-twin.template.json"
    expected = draft(
        ROOT / "configs" / "twin.yaml",
        settings=Settings(_env_file=None, AWS_ARN_ROLE=None),
        region="eu-west-1",
        endpoint_type=endpoint_type,
    )
    assert json.loads(file.read_text("utf-8"))["Resources"] == synthesised(expected)["Resources"]

    same = cdk("diff", "--template", str(file), "--fail", *context, "llmdeploy-twin")
    assert "There were no differences" in same.stdout + same.stderr
    other = cdk("diff", "--template", str(file), "--fail", *context, "-c", "with_roles=true", "llmdeploy-twin", code=1)
    assert "AWS::IAM::Role" in other.stdout + other.stderr
