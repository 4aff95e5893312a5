"""Which traces are kept."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Status, StatusCode, Tracer

from llm_deploy.tracing.sampling import MOST_SPANS, MOST_TRACES, Chooser, Watched, share


def tracer(kept: list[ReadableSpan], *, ratio: float, keep_errors: bool, slow_s: float | None = None) -> Tracer:
    """A tracer whose kept spans go into a list."""
    provider = TracerProvider(sampler=Watched(share(ratio)), shutdown_on_exit=False)
    provider.add_span_processor(Chooser(kept.append, keep_errors=keep_errors, slow_s=slow_s))
    return provider.get_tracer("test")


def trace(made_by: Tracer, spans: int, failing: int | None = None) -> None:
    """One trace: a root and spans below it, of which one may fail."""
    with made_by.start_as_current_span("root"):
        for number in range(spans):
            with made_by.start_as_current_span(str(number)) as span:
                if number == failing:
                    span.set_status(Status(StatusCode.ERROR))


@given(st.integers(0, 5), st.none() | st.integers(0, 5), st.booleans())
def test_an_error_keeps_the_whole_trace_and_nothing_else_does(
    spans: int,
    failing: int | None,
    keep_errors: bool,  # noqa: FBT001 - hypothesis gives arguments by name
) -> None:
    """With a ratio of nothing."""
    kept: list[ReadableSpan] = []
    trace(tracer(kept, ratio=0, keep_errors=keep_errors), spans, failing)
    worth_it = keep_errors and failing is not None and failing < spans
    assert len(kept) == (spans + 1 if worth_it else 0)


def test_with_a_ratio_of_one_spans_are_given_on_as_they_end() -> None:
    """Nothing is held back."""
    kept: list[ReadableSpan] = []
    made_by = tracer(kept, ratio=1, keep_errors=True)
    with made_by.start_as_current_span("root"):
        made_by.start_span("a").end()
        assert [span.name for span in kept] == ["a"]


def test_the_share_is_the_share() -> None:
    """Of many traces about that many are kept, each whole."""
    kept: list[ReadableSpan] = []
    made_by = tracer(kept, ratio=0.25, keep_errors=False)
    for _ in range(2000):
        trace(made_by, 1)
    roots = [span for span in kept if span.name == "root"]
    assert len(kept) == 2 * len(roots)
    assert 350 < len(roots) < 650


def test_slow_traces_are_kept() -> None:
    """By the time of their first span."""
    kept: list[ReadableSpan] = []
    made_by = tracer(kept, ratio=0, keep_errors=False, slow_s=2)
    made_by.start_span("quick", start_time=1).end(end_time=1_000_000_000)
    made_by.start_span("slow", start_time=1).end(end_time=3_000_000_000)
    assert [span.name for span in kept] == ["slow"]


def test_spans_that_end_after_their_root_share_its_fate() -> None:
    """As those of a stream that goes on."""
    kept: list[ReadableSpan] = []
    made_by = tracer(kept, ratio=0, keep_errors=True)
    for fails in (True, False):
        with made_by.start_as_current_span("root") as root:
            late = made_by.start_span("late")
            if fails:
                root.set_status(Status(StatusCode.ERROR))
        late.end()
    assert [span.name for span in kept] == ["root", "late"]


@pytest.mark.parametrize("count", [MOST_TRACES * 3])
def test_what_is_held_is_bounded(count: int) -> None:
    """Traces that never end, and traces of very many spans, are forgotten from the oldest on."""
    kept: list[ReadableSpan] = []
    made_by = tracer(kept, ratio=0, keep_errors=True)
    for _ in range(count):
        with made_by.start_as_current_span("never ends", end_on_exit=False):
            made_by.start_span("child").end()
    with made_by.start_as_current_span("large") as root:
        for _ in range(MOST_SPANS * 3):
            made_by.start_span("child").end()
        root.set_status(Status(StatusCode.ERROR))
    assert len(kept) == MOST_SPANS + 1
    assert kept[-1].name == "large"
