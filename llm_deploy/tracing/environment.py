"""LLMDEPLOY_TRACING_* over the file, and what OpenTelemetry's own variables say where neither speaks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.tracing.config import Exporter, TracingConfig

PREFIX = "LLMDEPLOY_TRACING_"
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "EXPORTERS": ("exporters",),
    "CAPTURE_CONTENT": ("capture_content",),
    "SAMPLE_RATIO": ("sample_ratio",),
    "KEEP_ERRORS": ("keep_errors",),
    "KEEP_SLOWER_THAN_S": ("keep_slower_than_s",),
    "MAX_CONTENT_CHARACTERS": ("max_content_characters",),
    "SERVICE_NAME": ("service_name",),
    "REDACTION_RULES": ("redaction", "rules"),
    "OTLP_ENDPOINT": ("otlp", "endpoint"),
    "OTLP_TIMEOUT_S": ("otlp", "timeout_s"),
    "OTLP_COMPRESSION": ("otlp", "compression"),
    "LOCAL_PATH": ("local", "path"),
    "LOCAL_MAX_MIB": ("local", "max_mib"),
    "LOCAL_MAX_AGE_S": ("local", "max_age_s"),
    "QUEUE_SPANS": ("queue", "spans"),
    "QUEUE_MIB": ("queue", "mib"),
    "QUEUE_FLUSH_S": ("queue", "flush_s"),
}
"""After the prefix; lists are written with commas, and an empty one as `none`."""

LISTS = {"EXPORTERS", "REDACTION_RULES"}
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CAPTURING = {"true", "1", "span_only", "span_and_event"}
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def overlaid(config: TracingConfig, environment: Mapping[str, str]) -> TracingConfig:
    """The configuration with the environment's words over it, and nothing left open in exporters and content.

    Raises:
        SpecError: A variable has a wrong value, or one with the prefix has no meaning.
    """
    document = config.model_dump(exclude_unset=True)
    for name, text in environment.items():
        if name.startswith(PREFIX) and text:
            _set(document, name, text)
    try:
        merged = TracingConfig.model_validate(document)
    except ValidationError as error:
        raise SpecError("\n".join(_problem(item) for item in error.errors(include_input=False))) from None
    return merged.model_copy(
        update={
            "exporters": _exporters(merged, environment),
            "capture_content": _captures(merged, environment),
        }
    )


def asked_for(config: TracingConfig, environment: Mapping[str, str]) -> bool:
    """Whether anybody has written anything about traces: then a missing library is an error and no shrug."""
    own = any(name.startswith(PREFIX) for name in environment)
    return bool(config.model_fields_set) or own or any(environment.get(name) for name in ENDPOINTS)


def _exporters(config: TracingConfig, environment: Mapping[str, str]) -> tuple[Exporter, ...]:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    if config.exporters is not None:
        return config.exporters
    return ("otlp",) if config.otlp.endpoint or any(environment.get(name) for name in ENDPOINTS) else ("local",)


def _captures(config: TracingConfig, environment: Mapping[str, str]) -> bool:
    if config.capture_content is not None:
        return config.capture_content
    return environment.get(CAPTURE, "").strip().lower() in CAPTURING


def _set(document: dict[str, Any], name: str, text: str) -> None:
    short = name.removeprefix(PREFIX)
    path = VARIABLES.get(short)
    if path is None:
        known = ", ".join(PREFIX + word for word in VARIABLES)
        raise SpecError(f"environment {name}: no such variable", hint=f"There are {known}.")
    value: Any = text
    if short in LISTS:
        value = [] if text.strip().lower() == "none" else [item.strip() for item in text.split(",")]
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _problem(item: Mapping[str, Any]) -> str:
    path = tuple(str(part) for part in item["loc"] if not isinstance(part, int))
    variable = next((PREFIX + short for short, known in VARIABLES.items() if known == path), None)
    where = f"environment {variable}" if variable else f"tracing.{'.'.join(path)}"
    return f"{where}: {item['msg']}"
