"""The facade, with nobody behind it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llm_deploy import tracing
from llm_deploy.tracing import context, spans


def test_without_a_listener_a_span_is_one_and_the_same_object_that_does_nothing() -> None:
    """So that code which is traced costs next to nothing where it is not."""
    with tracing.span("chat", kind="client", model="twin") as one:
        one.set(tokens=1)
        one.event("first token")
        one.fail(ValueError("no"))
        with one.active():
            other = tracing.begin("inner")
    assert one is other
    assert not one.recording
    assert not tracing.enabled()
    assert not tracing.captures_content()


def test_without_a_listener_an_error_passes_through() -> None:
    """A span hides nothing."""
    with pytest.raises(ValueError, match="boom"), tracing.span("chat"):
        raise ValueError("boom")


def test_without_a_listener_headers_and_functions_stay_as_they_are() -> None:
    """Nothing is added to requests, nothing is wrapped."""
    headers: dict[str, str] = {}
    context.inject(headers)
    with context.extract({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}):
        assert spans.span("x") is spans.NOTHING
    assert headers == {}
    assert context.carry(len) is len


@pytest.mark.parametrize(
    "statement",
    [
        "import llm_deploy",
        "import llm_deploy.tracing as t; t.span('x').set(a=1); t.enabled(); t.captures_content()",
        "from llm_deploy.tracing import context, conventions; context.inject({}); conventions.prompt(text='x')",
    ],
)
def test_opentelemetry_is_imported_when_somebody_listens_and_not_before(statement: str) -> None:
    """`import llm_deploy` costs nothing of it, nor does the facade."""
    code = f"import sys; {statement}; print([m for m in sys.modules if m.startswith(('opentelemetry', 'pydantic'))])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
