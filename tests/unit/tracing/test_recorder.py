"""Real spans: parents, errors, content, and that nothing of it can hurt the traced code."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from llm_deploy.errors import OverloadedError
from llm_deploy.tracing import begin, context, span, spans
from llm_deploy.tracing.recorder import OpenTelemetryRecorder
from tests.unit.tracing.conftest import Recorded

Listening = Callable[..., Recorded]


def test_a_span_made_inside_another_is_its_child(listening: Listening) -> None:
    """Also two levels down; what comes after the block is nobody's child."""
    recorded = listening()
    with span("a", kind="server"), span("b"), span("c", kind="client"):
        pass
    with span("d"):
        pass
    assert [recorded.parent_of(name) for name in "abcd"] == [None, "a", "b", None]
    assert recorded.named("a").kind is SpanKind.SERVER


def test_tasks_are_children_of_who_started_them_and_do_not_mix(listening: Listening) -> None:
    """Of many tasks at once each has its own current span."""
    recorded = listening()

    async def work(name: str) -> None:
        with span(name):
            await asyncio.sleep(0)
            with span(name + "-inner"):
                await asyncio.sleep(0)

    async def main() -> None:
        with span("root"):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(work(str(number)))

    asyncio.run(main())
    for number in range(20):
        assert recorded.parent_of(str(number)) == "root"
        assert recorded.parent_of(f"{number}-inner") == str(number)


def test_a_carried_function_is_a_child_in_another_thread(listening: Listening) -> None:
    """And a function that is not carried begins a trace of its own."""
    recorded = listening()
    with ThreadPoolExecutor(1) as pool, span("root"):
        pool.submit(context.carry(lambda: span("carried").end())).result()
        pool.submit(lambda: span("alone").end()).result()
    assert recorded.parent_of("carried") == "root"
    assert recorded.named("alone").parent is None


def test_a_generator_that_uses_begin_leaves_nothing_behind_in_its_reader(listening: Listening) -> None:
    """Between two pieces the reader's current span is its own."""
    recorded = listening()

    def pieces() -> Iterator[int]:
        seen = begin("stream")
        try:
            for number in range(2):
                with seen.active():
                    span(f"inner-{number}").end()
                yield number
        finally:
            seen.end()

    with span("reader"):
        for number in pieces():
            span(f"outer-{number}").end()
    assert recorded.parent_of("stream") == "reader"
    assert [recorded.parent_of(f"inner-{number}") for number in range(2)] == ["stream", "stream"]
    assert [recorded.parent_of(f"outer-{number}") for number in range(2)] == ["reader", "reader"]


def test_a_span_that_another_task_leaves_ends_quietly(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    """As when the event loop closes a generator that nobody read to its end."""
    recorded = listening()

    async def pieces() -> AsyncGenerator[int]:
        with span("stream"):
            yield 1
            yield 2

    async def main() -> None:
        left = pieces()
        await anext(left)
        await asyncio.create_task(left.aclose())
        forgotten = pieces()
        await anext(forgotten)
        del forgotten
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [one.name for one in recorded.all()] == ["stream", "stream"]
    assert not caplog.records


def test_an_error_marks_its_span_and_goes_on(listening: Listening) -> None:
    """`error.type` is the class: by its name for ours and Python's, with its module for others."""
    recorded = listening()
    with pytest.raises(OverloadedError), span("a"):
        raise OverloadedError("no free place")
    with pytest.raises(asyncio.QueueEmpty), span("b"):
        raise asyncio.QueueEmpty
    with span("c") as seen:
        seen.fail("timeout")
    kinds = [(one.attributes or {}).get("error.type") for one in recorded.all()]
    assert kinds == ["OverloadedError", "asyncio.queues.QueueEmpty", "timeout"]
    assert {one.status.status_code for one in recorded.all()} == {StatusCode.ERROR}
    assert recorded.named("a").status.description == "no free place"
    assert not any(one.events for one in recorded.all())


@pytest.mark.parametrize("left", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt])
def test_who_leaves_early_made_no_error(left: type[BaseException], listening: Listening) -> None:
    """It is noted, and the status stays unset."""
    recorded = listening()
    with pytest.raises(left), span("a"):
        raise left
    assert recorded.named("a").status.status_code is StatusCode.UNSET
    assert dict(recorded.named("a").attributes or {}) == {"llmdeploy.cancelled": True}


def test_content_is_recorded_only_when_it_is_captured(listening: Listening) -> None:
    """Whoever sets it: prompts, answers, queries and what errors say."""
    recorded = listening(captures_content=False)
    content: dict[str, Any] = {
        "gen_ai.input.messages": [{"role": "user", "content": "secret"}],
        "rag.query.expanded": ["secret"],
        "llmdeploy.content.note": "secret",
        "tokens": 3,
    }
    with span("a", **content) as seen:
        seen.set(**content)
        seen.event("e", **content)
        seen.fail(ValueError("secret"))
    assert "secret" not in recorded.named("a").to_json()
    assert (recorded.named("a").attributes or {})["tokens"] == 3


def test_a_spans_end_is_its_end(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    """What comes later changes nothing and logs nothing."""
    recorded = listening()
    seen = begin("a")
    seen.end()
    seen.end()
    seen.set(late=1)
    seen.event("late")
    seen.fail("late")
    assert len(recorded.all()) == 1
    assert dict(recorded.named("a").attributes or {}) == {}
    assert not caplog.records


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), anything, max_size=5), st.text())
def test_no_value_makes_a_span_raise(values: dict[str, Any], name: str) -> None:
    """Traced code may set whatever it has."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    recorder = OpenTelemetryRecorder(tracer, captures_content=True, limit=50)
    seen = recorder.begin(name, "internal", values)
    seen.set(**values)
    seen.event(name, **values)
    seen.end()


def test_an_unsampled_caller_is_followed_without_recording(listening: Listening) -> None:
    """Spans below one that is not recorded are not either, and say so."""
    listening()
    with context.extract({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-00"}), span("x") as seen:
        assert not seen.recording
        headers: dict[str, str] = {}
        context.inject(headers)
    assert headers["traceparent"].startswith("00-" + "a" * 32)
    assert headers["traceparent"].endswith("-00")
    assert spans.enabled()
