"""A gateway's file: what it may say, and how it is told what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.gateway.config import Backend, Limits
from llm_deploy.gateway.config_file import check_openness, is_loopback, json_schema, load
from llm_deploy.gateway.generations import HOT_ROUTES
from llm_deploy.gateway.opening import revealed
from scripts.schema import schemas

ROOT = Path(__file__).parents[3]


def loaded(tmp_path: Path, text: str) -> str:
    """What is wrong with a file."""
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as wrong:
        load(path)
    return wrong.value.message.replace(str(path), "FILE")


def test_the_example_is_right_and_keeps_to_its_schema() -> None:
    """configs/gateway.yaml loads, and the schema beside it takes it."""
    path = ROOT / "configs" / "gateway.yaml"
    assert load(path).models["smollm2"].backends[0].endpoint == "smollm2"
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())


def test_the_schema_is_up_to_date() -> None:
    """`python scripts/schema.py` was run after the last change."""
    path = ROOT / "configs" / "gateway.schema.json"
    assert path.read_text() == schemas()[path]


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    """Unknown fields with what was meant, wrong values with what was expected, all at once."""
    text = """keys: maybe
models:
  twin:
    backends:
      - endpoint: a
        wieght: 2
    concurency: 7
  "bad name":
    backends: []
limits:
  body_bytes: 1
"""
    found = loaded(tmp_path, text).splitlines()
    assert any(line.startswith("FILE:1: keys") for line in found)
    assert any(line.startswith("FILE:6:") and "did you mean weight?" in line for line in found)
    assert any(line.startswith("FILE:7:") and "did you mean concurrency?" in line for line in found)
    assert any(line.startswith("FILE:8:") for line in found)
    assert any(line.startswith("FILE:11:") for line in found)


@pytest.mark.parametrize(
    "backend",
    ["{}", "{endpoint: a, url: 'http://x'}", "{endpoint: a, key: '${K}'}", "{url: 'http://x', native: true}"],
)
def test_a_backend_is_one_place(tmp_path: Path, backend: str) -> None:
    """Exactly one of endpoint, url and engine, with what belongs to it."""
    assert "FILE:1" in loaded(tmp_path, f"models: {{m: {{backends: [{backend}]}}}}\n")


def test_secrets_are_names_and_never_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the file is refused without being repeated; a reference is read from the environment."""
    text = "models: {m: {backends: [{url: 'http://x', key: 'sk-very-secret'}]}}\n"
    assert "sk-very-secret" not in loaded(tmp_path, text)
    monkeypatch.setenv("VLLM_KEY", "s3")
    assert revealed("${VLLM_KEY}") == "s3"
    monkeypatch.delenv("VLLM_KEY")
    with pytest.raises(SpecError, match="VLLM_KEY"):
        revealed("${VLLM_KEY}")


def test_names_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    """default_model and rag.model name models of the file."""
    model = "models: {m: {backends: [{endpoint: a}]}}\n"
    assert "default_model names x" in loaded(tmp_path, model + "default_model: x\n")
    assert "rag.model names x" in loaded(tmp_path, model + "rag: {model: x}\n")


def test_a_bare_off_turns_keys_off_on_loopback_only(tmp_path: Path) -> None:
    """YAML reads `off` as false; and without keys nobody else may reach it unless somebody says so."""
    path = tmp_path / "gateway.yaml"
    path.write_text("keys: off\n")
    config = load(path)
    assert config.keys == "off"
    check_openness(config, "127.0.0.1")
    with pytest.raises(SpecError, match="keys are off"):
        check_openness(config, "0.0.0.0")  # noqa: S104 - what is refused
    path.write_text("keys: off\nallow_open: true\n")
    check_openness(load(path), "0.0.0.0")  # noqa: S104 - allowed on purpose


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("x.com", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Only what the system keeps on this machine."""
    assert is_loopback(host) is expected


def test_an_address_holds_no_password() -> None:
    """Logs, metrics and spans name backends by their address."""
    with pytest.raises(ValidationError, match="user or password"):
        Backend(url="http://me:secret@10.0.0.7:8000/v1")


def test_a_limit_of_a_route_that_is_none_is_refused() -> None:
    """A mistyped path would be no limit at all; every route that is met at the desk may have one."""
    for route in (*HOT_ROUTES, "/rag"):
        assert Limits.model_validate({"routes": {route: 1}}).routes
    with pytest.raises(ValidationError):
        Limits.model_validate({"routes": {"/v1/chat": 1}})
