"""Spans of what is asked of models, in OpenTelemetry's GenAI conventions; nothing where nobody listens.

`spans.span` is what the rest of the package calls. It does nothing, cheaply, until a program asks for traces: with
`setup.configure` (ours: a local store, an OTLP backend) or `use_opentelemetry` (the application's own provider).
OpenTelemetry is imported then and not before.
"""

from __future__ import annotations

from llm_deploy.tracing.spans import begin, captures_content, enabled, span

__all__ = ["begin", "captures_content", "enabled", "span", "use_opentelemetry"]


def use_opentelemetry(*, capture_content: bool = False) -> None:
    """Send spans to the `TracerProvider` that the application has set up. Idempotent.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    from llm_deploy.tracing import application  # noqa: PLC0415 - imports OpenTelemetry

    application.listen(capture_content=capture_content)
