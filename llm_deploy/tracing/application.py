"""Spans for the provider that the application has set up: its exporters, its sampling, its resource.

Its exporters are not ours, so texts are redacted as they are set, in the thread that sets them.
"""

from __future__ import annotations

import importlib.util

from llm_deploy.errors import MissingExtraError
from llm_deploy.tracing import spans

LONGEST_CONTENT = 16_000


def listen(*, capture_content: bool) -> None:
    """See `tracing.use_opentelemetry`."""
    if importlib.util.find_spec("opentelemetry") is None:
        raise MissingExtraError("OpenTelemetry is not installed", hint='Install it: pip install "llm-deploy[otel]"')
    from opentelemetry import trace  # noqa: PLC0415 - after the check

    from llm_deploy.tracing.config import Redaction  # noqa: PLC0415 - as above
    from llm_deploy.tracing.recorder import OpenTelemetryRecorder  # noqa: PLC0415 - as above
    from llm_deploy.tracing.redaction import Redactor  # noqa: PLC0415 - as above
    from llm_deploy.tracing.values import texts_changed  # noqa: PLC0415 - as above

    redactor = Redactor(Redaction())
    recorder = OpenTelemetryRecorder(
        trace.get_tracer("llm_deploy"),
        captures_content=capture_content,
        limit=LONGEST_CONTENT,
        redact=lambda value: texts_changed(value, redactor.text),
    )
    spans.listen(recorder)
