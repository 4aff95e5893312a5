"""The generated files are those of this code, and the schema takes what the loader takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llm_deploy.spec.schema import json_schema
from tests.specs import OWN_FILES

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("script", ["schema.py", "reference.py"])
def test_generated_files_are_up_to_date(script: str) -> None:
    """`python scripts/<script>` changes nothing."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, f"run: python scripts/{script}"


def test_the_schema_is_one() -> None:
    """By the judgement of its own metaschema."""
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_our_own_files_hold_the_schema_and_point_at_it(path: Path) -> None:
    """Editors show no error in what people copy."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=deployment.schema.json\n")
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(text))


SMALL = {"name": "a", "model": "a/b"}


@pytest.mark.parametrize(
    "document",
    [
        SMALL,
        {**SMALL, "model": "a/b@main"},
        {**SMALL, "model": "s3://bucket/a/"},
        {**SMALL, "model": {"s3_uri": "s3://bucket/a/"}},
        {**SMALL, "instance": "ml.g5.xlarge"},
        {**SMALL, "from_env": True},
        {**SMALL, "environment": {"A": 1}},
        {**SMALL, "endpoint_type": "model"},
    ],
    ids=str,
)
def test_the_schema_takes_short_forms(document: dict[str, Any]) -> None:
    """What the loader takes is not underlined in red."""
    jsonschema.Draft202012Validator(json_schema()).validate(document)


@pytest.mark.parametrize(
    "document",
    [{}, {**SMALL, "nmae": "x"}, {**SMALL, "model": "b"}, {**SMALL, "name": "a_b"}, {**SMALL, "instance": "g5"}],
    ids=str,
)
def test_the_schema_refuses_what_the_loader_refuses(document: dict[str, Any]) -> None:
    """Misspelt fields and bad values are seen while typing."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(document)
