"""Whatever is in a file, a flag or a variable: a spec or a SpecError, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings as hypothesis_settings, strategies as st

from llm_deploy.catalog import load_spec, resolve
from llm_deploy.errors import SpecError
from llm_deploy.settings import load_settings
from llm_deploy.spec import DeploymentSpec, Place
from llm_deploy.spec.problems import fields_at

HOSTILE = hypothesis_settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
FIELDS = fields_at(DeploymentSpec, ())
WORDS = [
    "owner/name",
    "s3://bucket/a/",
    "ml.g5.xlarge",
    "model",
    "tgi",
    "vllm",
    "null",
    "1",
    "true",
    "a",
    "hf_" + "x" * 30,
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.sampled_from(WORDS) | st.text(max_size=8)
)
inner_names = st.sampled_from(
    sorted({name for field in FIELDS for name in fields_at(DeploymentSpec, (field,))} | {"HF_TOKEN", "A"})
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(inner_names, inner, max_size=4), max_leaves=8
)
documents = st.dictionaries(st.sampled_from([*FIELDS, "from_env", "x"]), values, max_size=8)


def outcome(text: str | None, overrides: dict[str, str] | None = None) -> DeploymentSpec | str:
    path = None
    if text is not None:
        path = Path("hostile.yaml")
        path.write_text(text, encoding="utf-8")
    try:
        spec = load_spec(path, settings=load_settings(None), overrides=overrides or {}).spec
        resolve(spec, Place(region="us-east-1", account="123456789012"), "arn:aws:iam::123456789012:role/x")
    except SpecError as error:
        return error.message
    return spec


def small(document: dict[str, Any]) -> str:
    return yaml.safe_dump({"name": "a", "model": "owner/name", **document}, allow_unicode=True)


@HOSTILE
@given(documents)
@example({"model": None, "instance": None, "environment": None})
@example({"environment": ["A"], "tags": 1, "network": {"subnets": {"a": 1}}})
@example({"network": {"subnets": [[1]], "security_group_ids": [{}]}, "autoscaling": {}})
@example({"model": {"id": {"a": 1}}, "limits": [], "instance": []})
@example({"resources": {"num_accelerators": 64}, "autoscaling": {"max_copies": 5}})
def test_any_document_is_a_spec_or_a_spec_error(document: dict[str, Any]) -> None:
    """No other exception, and every line of an error is about a place."""
    found = outcome(small(document))
    if isinstance(found, str):
        assert all(line.startswith(("hostile.yaml", "'")) or ": " in line for line in found.splitlines())
        assert "hf_xxxxxxxxxxxxxxxx" not in found


@HOSTILE
@given(st.text(max_size=200))
@example("{? x}")
@example("a: !!int x")
@example("a: 1:2:3\nb: 0x1\n")
@example("%YAML 9.9\n---\na: 1\n")
@example("\x00")
@example("a: \ud7ff\n")
@example("environment: {1: x, null: y, true: z, 1.5: 2}\nname: a\nmodel: a/b\n")
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    """Bytes from anywhere."""
    assert outcome(text)


@HOSTILE
@given(
    st.dictionaries(
        st.text(max_size=10) | st.sampled_from(FIELDS).map(lambda name: f"{name}.type"), st.text(max_size=10)
    )
)
@example({"model": "[", "x": "{", "environment": "1", "tags": "[a]", "instance": "null"})
@example({"environment": "{A: 1}", "environment.B": "2", "environment.": "3"})
@example({"model.id": "a/b", "model": "c/d"})
@example({"instance": "{type: ml.g5.xlarge}", "instance.max_count": "2"})
@example({"name": "null"})
def test_any_flags_make_a_spec_or_a_spec_error(overrides: dict[str, str]) -> None:
    """Also without a file."""
    assert outcome(small({}), overrides)
    assert outcome(None, overrides)
