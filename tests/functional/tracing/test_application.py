"""A program that has OpenTelemetry set up by itself."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import asyncio, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from llm_deploy import tracing
from llm_deploy.tracing import conventions

{before}
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
{after}

async def call():
    with tracing.span("chat twin", kind="client") as seen:
        seen.set(**conventions.prompt(text="I am jane@example.com"))

async def main():
    with trace.get_tracer("app").start_as_current_span("theirs"):
        await asyncio.gather(call(), call())

asyncio.run(main())
print(json.dumps([json.loads(span.to_json()) for span in kept.get_finished_spans()]))
"""
USE = "tracing.use_opentelemetry(capture_content=True)"


def run(before: str = "", after: str = "") -> list[dict[str, object]]:
    """What the application's exporter got."""
    code = PROGRAM.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_our_spans_join_the_applications_traces() -> None:
    """As children of its spans, through its exporters, redacted before they get there; set up before or after it."""
    for spans in (run(before=USE), run(after=USE)):
        *ours, theirs = spans
        assert [one["name"] for one in ours] == ["chat twin", "chat twin"]
        assert theirs["name"] == "theirs"
        context = theirs["context"]
        assert isinstance(context, dict)
        assert [one["parent_id"] for one in ours] == [context["span_id"]] * 2
        assert "I am [email]" in json.dumps(ours)


def test_an_application_that_does_not_ask_gets_nothing_of_ours() -> None:
    """Its traces are its own until it calls `use_opentelemetry`."""
    assert [one["name"] for one in run()] == ["theirs"]
