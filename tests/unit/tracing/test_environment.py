"""Variables over the file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llm_deploy import tracing
from llm_deploy.errors import MissingExtraError, SpecError
from llm_deploy.tracing import otlp, setup
from llm_deploy.tracing.config import Otlp, TracingConfig
from llm_deploy.tracing.environment import PREFIX, VARIABLES, overlaid
from llm_deploy.tracing.setup import configure


def read(environment: Mapping[str, str], **section: Any) -> TracingConfig:  # noqa: ANN401 - any YAML
    """A section of a file, under an environment."""
    return overlaid(TracingConfig.model_validate(section), environment)


def test_every_field_that_is_one_value_has_its_variable() -> None:
    """So that no setting needs a file, but for headers and own patterns, which hold several things."""
    fields: set[tuple[str, ...]] = set()
    for name, info in TracingConfig.model_fields.items():
        inner = getattr(info.annotation, "model_fields", None)
        fields |= {(name, one) for one in inner} if inner else {(name,)}
    assert fields - set(VARIABLES.values()) == {("otlp", "headers"), ("redaction", "patterns")}


def test_the_environment_wins_over_the_file() -> None:
    """And leaves the rest of the file."""
    found = read(
        {f"{PREFIX}SAMPLE_RATIO": "0.5", f"{PREFIX}OTLP_ENDPOINT": "http://b", f"{PREFIX}REDACTION_RULES": "email,ip"},
        sample_ratio=1,
        otlp={"endpoint": "http://a", "timeout_s": 3},
    )
    assert (found.sample_ratio, found.otlp.endpoint, found.otlp.timeout_s) == (0.5, "http://b", 3)
    assert found.redaction.rules == ("email", "ip")


@pytest.mark.parametrize(
    ("environment", "section", "exporters"),
    [
        ({}, {}, ("local",)),
        ({}, {"otlp": {"endpoint": "http://a"}}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, {}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, {"exporters": ["local"]}, ("local",)),
        ({f"{PREFIX}EXPORTERS": "local, otlp"}, {}, ("local", "otlp")),
        ({f"{PREFIX}EXPORTERS": "none"}, {"exporters": ["local"]}, ()),
        ({"OTEL_SDK_DISABLED": "true"}, {"exporters": ["local"]}, ()),
    ],
)
def test_where_spans_go(environment: dict[str, str], section: dict[str, Any], exporters: tuple[str, ...]) -> None:
    """To the back end that is named somewhere, else to the store."""
    assert read(environment, **section).exporters == exporters


@pytest.mark.parametrize(
    ("environment", "section", "captures"),
    [
        ({}, {}, False),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}, {}, True),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}, {}, True),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"}, {}, False),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}, {"capture_content": False}, False),
        ({f"{PREFIX}CAPTURE_CONTENT": "true"}, {"capture_content": False}, True),
    ],
)
def test_whether_content_is_captured(environment: dict[str, str], section: dict[str, Any], captures: bool) -> None:  # noqa: FBT001 - an expected value
    """Only when somebody says so."""
    assert read(environment, **section).capture_content is captures


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SAMPLE_RATIO", "much", "LLMDEPLOY_TRACING_SAMPLE_RATIO"),
        ("SAMPLE_RATIO", "2", "LLMDEPLOY_TRACING_SAMPLE_RATIO"),
        ("EXPORTERS", "opik", "LLMDEPLOY_TRACING_EXPORTERS"),
        ("REDACTION_RULES", "emails", "no built-in rule 'emails'"),
        ("SAMPEL_RATIO", "1", "no such variable"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, said: str) -> None:
    """With what was expected."""
    with pytest.raises(SpecError, match=said):
        read({PREFIX + name: value})


def test_a_wrong_section_is_refused() -> None:
    """By pydantic, when the file is read; a header's value is not repeated."""
    with pytest.raises(ValidationError) as caught:
        TracingConfig.model_validate({"otlp": {"headers": {"Authorization": ["hunter22"]}, "url": "hunter22"}})
    assert "hunter22" not in str(caught.value)


def test_a_header_that_refers_to_nothing_is_an_error() -> None:
    """The variable is named, other values are not."""
    config = Otlp.model_validate({"headers": {"Authorization": "Bearer ${KEY}"}})
    assert otlp.resolved_headers(config, {"KEY": "abc"}) == {"Authorization": "Bearer abc"}
    with pytest.raises(SpecError, match=r"headers\.Authorization: KEY is not set"):
        otlp.resolved_headers(config, {})
    with pytest.raises(SpecError, match="line breaks") as caught:
        otlp.resolved_headers(config, {"KEY": "abc\r\nX-Evil: 1"})
    assert "abc" not in caught.value.message


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("http://h:4318/", "http://h:4318/v1/traces"),
        ("https://h/api/v1/private/otel", "https://h/api/v1/private/otel/v1/traces"),
        ("https://h/otel/v1/traces", "https://h/otel/v1/traces"),
    ],
)
def test_the_path_of_traces_is_added_once(endpoint: str, url: str) -> None:
    """People give either."""
    assert otlp.traces_url(endpoint) == url


def test_without_opentelemetry_only_who_asks_for_traces_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service without a section runs without traces."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert configure(TracingConfig(), state_dir=tmp_path, environment={}).counts().exported == 0
    assert not tracing.enabled()
    with pytest.raises(MissingExtraError):
        configure(TracingConfig(sample_ratio=0.5), state_dir=tmp_path, environment={})
    with pytest.raises(MissingExtraError):
        tracing.use_opentelemetry()


def test_a_second_configuration_replaces_the_first(tmp_path: Path) -> None:
    """And closing the first then does not stop the second."""
    first = setup.configure(TracingConfig(), state_dir=tmp_path, environment={})
    second = setup.configure(TracingConfig(), state_dir=tmp_path, environment={})
    first.close()
    assert tracing.enabled()
    second.close()
    assert not tracing.enabled()
    assert not setup.configure(TracingConfig(exporters=()), state_dir=tmp_path, environment={}).by_exporter()
