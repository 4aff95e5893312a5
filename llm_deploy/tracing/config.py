"""What is traced, how much of it, what is taken out, and where it goes: section `tracing:` of a service's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from llm_deploy.tracing.rules import BUILT_IN, DEFAULT_RULES, checked_pattern

Exporter = Literal["local", "otlp"]


def _known(name: str) -> str:
    if name not in BUILT_IN:
        raise ValueError(f"no built-in rule {name!r}; there are {', '.join(sorted(BUILT_IN))}")
    return name


Rule = Annotated[str, AfterValidator(_known)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class PatternRule(_Section):
    """A redaction rule of one's own."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
    """Stands in the text for what was taken out: `[name]`."""
    pattern: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(checked_pattern)]
    """A regular expression. One that takes too long on a text has that whole text withheld."""


class Redaction(_Section):
    """What is taken out before anything leaves the process or touches the disk."""

    rules: tuple[Rule, ...] = DEFAULT_RULES
    """Built-in rules: aws-keys, bearer-tokens, api-keys, email, phone, credit-card, ip. All but ip by default."""
    patterns: Annotated[tuple[PatternRule, ...], Field(max_length=50)] = ()
    """Rules of one's own, after the built-in ones."""


class Otlp(_Section):
    """An OTLP back end, over HTTP with protobuf; what is not set here is read from OTEL_EXPORTER_OTLP_*."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+", max_length=2000)] | None = None
    """Its base address; `/v1/traces` is added unless it ends so."""
    headers: Annotated[dict[str, SecretStr], Field(max_length=50)] = Field(default_factory=dict)
    """Sent with each request. `${NAME}` stands for a variable of the environment: keys are not written in files."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] | None = None
    """Longest time for one batch, retries included; 10 s unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""
    compression: Literal["gzip", "none"] | None = None
    """gzip unless OTEL_EXPORTER_OTLP_COMPRESSION says otherwise."""


class Local(_Section):
    """The store on this machine that `llmdeploy traces` reads."""

    path: Path | None = None
    """The SQLite file; `traces.db` in the state folder by default. Only its owner may read it."""
    max_mib: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Oldest traces are removed to stay below it."""
    max_age_s: Annotated[int, Field(ge=60)] = 14 * 86_400
    """Traces older than this are removed."""


class Bounds(_Section):
    """How much may wait in memory for each exporter; what does not fit is dropped and counted."""

    spans: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    mib: Annotated[int, Field(ge=1, le=4096)] = 32
    flush_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Longest time that a stop waits for what is left."""


class TracingConfig(_Section):
    """The whole section. LLMDEPLOY_TRACING_* in the environment win over the file (`environment.overlaid`)."""

    exporters: tuple[Exporter, ...] | None = None
    """Where spans go; `[]`: nowhere. By default `otlp` where an endpoint is set, here or in the environment, else
    `local`."""
    capture_content: bool | None = None
    """Record prompts, answers, queries and documents' text. By default as
    OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says, else no."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of traces that are kept, decided when a trace begins; a caller's decision in `traceparent` is followed."""
    keep_errors: bool = True
    """Keep traces with an error whatever was decided: they are held in memory until they end."""
    keep_slower_than_s: Annotated[float, Field(gt=0)] | None = None
    """Keep traces that took longer than this, in the same way."""
    max_content_characters: Annotated[int, Field(ge=100, le=1_000_000)] = 16_000
    """Longer texts are cut."""
    service_name: Annotated[str, Field(min_length=1, max_length=100)] = "llmdeploy"
    """`service.name` of the resource; OTEL_SERVICE_NAME wins."""
    redaction: Redaction = Redaction()
    otlp: Otlp = Otlp()
    local: Local = Local()
    queue: Bounds = Bounds()
