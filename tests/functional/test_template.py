"""`llmdeploy template` and `make synth` as a person runs them: no credentials, no cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Terminal

TWIN = str(ROOT / "configs" / "twin.yaml")


@pytest.mark.row("T3")
def test_a_template_is_printed_and_notes_are_not_in_it(terminal: Terminal) -> None:
    """YAML by default, JSON on request, the same document; what there is to know goes to standard error."""
    by_default, asked = terminal.run("template", TWIN), terminal.run("template", TWIN, "--format", "json")
    assert yaml.safe_load(by_default.out) == asked.json
    assert asked.json["Resources"]["Endpoint"]["Properties"]["EndpointName"] == "twin"
    assert "note: no execution role is named" in asked.err


def test_it_is_written_to_a_file_in_the_form_of_its_name(terminal: Terminal) -> None:
    """`-o twin.json` is JSON, any other name YAML; nothing is on standard output then."""
    done = terminal.run("template", TWIN, "--with-roles", "-o", "twin.json")
    assert done.out == ""
    assert "ExecutionRole" in json.loads((terminal.folder / "twin.json").read_text("utf-8"))["Resources"]
    terminal.run("template", TWIN, "-o", "twin.yaml")
    assert "Model" in yaml.safe_load((terminal.folder / "twin.yaml").read_text("utf-8"))["Resources"]
    assert "cannot be written" in terminal.run("template", TWIN, "-o", "none/twin.yaml", code=18).err


def test_flags_change_it_as_they_change_a_deployment(terminal: Terminal) -> None:
    """--set, --endpoint-type, --region and --account; a mistake is exit code 3 and no template."""
    flags = ["--set", "instance.type=ml.g6.xlarge", "--endpoint-type", "model", "--region", "us-east-1"]
    found = terminal.run("template", TWIN, "--format", "json", *flags).json["Resources"]
    assert found["EndpointConfig"]["Properties"]["ProductionVariants"][0]["InstanceType"] == "ml.g6.xlarge"
    assert "InferenceComponent" not in found
    assert ".us-east-1." in found["Model"]["Properties"]["PrimaryContainer"]["Image"]
    wrong = terminal.run("template", TWIN, "--account", "1", code=3)
    assert wrong.out == ""
    assert "12 digits" in wrong.err


def test_a_text_that_a_stack_would_fill_in_is_refused(terminal: Terminal) -> None:
    """It would be one thing in a template and another in a call; other braces are texts in both."""
    refused = terminal.run("template", TWIN, "--set", "environment.X=${AWS::AccountId}", code=3)
    assert "environment.X" in refused.err
    kept = terminal.run("template", TWIN, "--format", "json", "--set", "environment.X=${HOME}").json
    assert kept["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"]["X"] == "${HOME}"


@pytest.mark.row("T3")
@pytest.mark.xdist_group("cdk")
def test_make_synth_prints_the_template_and_nothing_else() -> None:
    """Both ways give the same resources from the same folder, so that either may be deployed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LLMDEPLOY_"))}

    def printed(*command: str) -> Any:  # noqa: ANN401 - a JSON document
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, encoding="utf-8"
        )
        return json.loads(done.stdout)

    llmdeploy = str(Path(sys.executable).with_name("llmdeploy"))
    ours = printed(llmdeploy, "template", "configs/twin.yaml", "--format", "json")
    synthesised = printed("make", "-s", "synth", "CONFIG=configs/twin.yaml")
    assert synthesised["Resources"] == ours["Resources"]
