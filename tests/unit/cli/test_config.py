"""`llmdeploy config`: values with their origins, all problems of all files, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_deploy.cli.config import app
from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings
from llm_deploy.spec.masking import MASK
from tests.specs import OWN_FILES

ROOT = Path(__file__).parents[3]
TOKEN = "hf_" + "A1b2" * 9


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "AWS_DEFAULT_REGION"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_show_says_where_each_value_came_from() -> None:
    """A file, its line, a flag, a default, a setting."""
    Path("s.yaml").write_text("name: mine\nmodel: a/b\n")
    Path(".env").write_text("AWS_REGION=us-east-1\n")
    found = json.loads(
        run("show", "s.yaml", "--set", "resources.num_cpus=1", "--endpoint-type", "inference-component", "--json")
    )
    spec = {row["field"]: (row["value"], row["origin"]) for row in found["spec"]}
    assert spec["model.id"] == ("a/b", "s.yaml:2")
    assert spec["resources.num_cpus"] == (1.0, "--set resources.num_cpus")
    assert spec["endpoint_type"] == ("InferenceComponentBased", "--endpoint-type")
    assert spec["engine"] == ("tgi", "default")
    settings = {row["field"]: (row["value"], row["origin"]) for row in found["settings"]}
    assert settings["AWS_REGION"] == ("us-east-1", ".env:1 AWS_REGION")


def test_show_without_a_file_is_the_twin_of_the_variables() -> None:
    """As `llmdeploy deploy-endpoint` would deploy it."""
    Path(".env").write_text("HF_MODEL_ID=other/model\n")
    text = run("show")
    assert "other/model" in text
    assert ".env:1 HF_MODEL_ID" in text


def test_show_masks_every_secret() -> None:
    """In both forms, also a token that the spec allows, and passwords under names of the user's own."""
    Path(".env").write_text(f"HUGGINGFACE_ACCESS_TOKEN={TOKEN}\nAWS_ACCESS_KEY=AKIAX\nAWS_SECRET_KEY=very-secret\n")
    Path("s.yaml").write_text(
        "name: mine\nmodel: a/b\nallow_token_in_environment: true\nenvironment: {DB_PASSWORD: very-secret}\n"
    )
    for arguments in (["show", "s.yaml"], ["show", "s.yaml", "--json"]):
        text = run(*arguments)
        assert MASK in text
        assert not any(secret in text for secret in (TOKEN, "AKIAX", "very-secret"))


def test_validate_reports_every_problem_of_every_file() -> None:
    """One run over a folder."""
    Path("a.yaml").write_text("name: a_b\nmodel: a/b\n")
    Path("b.yaml").write_text("name: b\nmodel: a/b\ninstance: ml.g5.huge\n")
    Path("c.yaml").write_text("name: c\nmodel: a/b\n")
    with pytest.raises(SpecError) as caught:
        run("validate", "a.yaml", "b.yaml", "c.yaml")
    assert [line.partition(": ")[0] for line in caught.value.message.splitlines()] == ["a.yaml:1", "b.yaml:3"]


def test_validate_takes_our_own_files() -> None:
    """One line each."""
    paths = [str(path) for path in OWN_FILES]
    assert len(run("validate", *paths).splitlines()) == len(paths)


def test_schema_is_the_file_in_configs() -> None:
    """For those who installed the package and have no configs folder."""
    assert json.loads(run("schema")) == json.loads((ROOT / "configs" / "deployment.schema.json").read_text())


def test_a_flag_without_a_value_is_explained() -> None:
    """FIELD=VALUE, with an example."""
    Path("s.yaml").write_text("name: mine\nmodel: a/b\n")
    with pytest.raises(SpecError, match="expected FIELD=VALUE"):
        run("show", "s.yaml", "--set", "resources.copies")


def test_importing_the_command_loads_nothing_heavy() -> None:
    """`llmdeploy --help` and completion must stay fast."""
    code = (
        "import sys, llm_deploy.cli.config as c; sys.exit(any(m in sys.modules for m in ('pydantic','yaml','boto3')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_stray_variable_is_noted() -> None:
    """It is not used, and it is not hidden either."""
    Path("s.yaml").write_text("name: mine\nmodel: a/b\n")
    Path(".env").write_text("GPUS=all\n")
    (note,) = json.loads(run("show", "s.yaml", "--json"))["notes"]
    assert note.startswith("not used here: .env:1 GPUS: ")
