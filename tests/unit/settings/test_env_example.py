"""`.env.example`: a copy of it changes nothing, and each of its lines can be changed alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_deploy.catalog import load_spec
from llm_deploy.settings import Settings, load_settings
from llm_deploy.spec import DeploymentSpec

EXAMPLE = (Path(__file__).parents[3] / ".env.example").read_text("utf-8")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "AWS_DEFAULT_REGION"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def spec_of(text: str) -> DeploymentSpec:
    Path(".env").write_text(text)
    return load_spec(None, settings=load_settings()).spec


@pytest.mark.row("T2")
def test_a_copy_changes_nothing() -> None:
    """Every line shows its default, and describes the Twin as no line at all does."""
    assert spec_of(EXAMPLE) == spec_of("")


def test_another_name_is_one_line() -> None:
    """The endpoint configuration's name follows the endpoint's."""
    text = EXAMPLE.replace("SAGEMAKER_ENDPOINT_INFERENCE=twin", "SAGEMAKER_ENDPOINT_INFERENCE=other")
    assert text != EXAMPLE
    assert spec_of(text).endpoint_config_base == "other"


def test_another_number_of_gpus_is_one_line() -> None:
    """The tensor parallel degree follows the GPUs of a copy."""
    text = EXAMPLE.replace("\nGPUS=1", "\nGPUS=4").replace("ml.g5.2xlarge", "ml.g5.12xlarge")
    assert spec_of(text).resources.num_accelerators == 4
