"""Spans for the provider that the application has set up: its exporters, its sampling, its resource."""

from __future__ import annotations

from llm_deploy.errors import MissingExtraError


def listen(*, capture_content: bool) -> None:
    """See `tracing.use_opentelemetry`."""
    raise MissingExtraError("OpenTelemetry is not wired yet", hint=f"capture_content={capture_content}")
