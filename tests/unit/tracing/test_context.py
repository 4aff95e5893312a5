"""Traces across HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.tracing import context, span
from tests.unit.tracing.conftest import Recorded

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    "headers",
    [{"TraceParent": VALID}, [(b"host", b"x"), (b"traceparent", VALID.encode()), (b"tracestate", b"a=b")]],
)
def test_a_callers_trace_is_continued(headers: dict[str, str], listening: Callable[..., Recorded]) -> None:
    """From a mapping and from ASGI's pairs; the parent is remote, and what is sent on names our span."""
    recorded = listening()
    sent: dict[str, str] = {}
    with context.extract(headers), span("x"):
        context.inject(sent)
    found = recorded.named("x")
    assert found.parent is not None
    assert found.parent.is_remote
    assert f"{found.parent.span_id:016x}" == PARENT
    assert sent["traceparent"] == f"00-{TRACE}-{found.context.span_id:016x}-01"


@pytest.mark.parametrize(
    "wrong",
    ["", "00", VALID + "-extra-more", VALID.replace("00-", "ff-"), f"00-{'0' * 32}-{PARENT}-01", VALID[:-1] + "g",
     "x" * 100_000],
)  # fmt: skip
def test_a_malformed_header_is_as_none(wrong: str, listening: Callable[..., Recorded]) -> None:
    """A new trace begins; nothing is said to the caller."""
    recorded = listening()
    with context.extract({"traceparent": wrong}), span("x"):
        pass
    assert recorded.named("x").parent is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.lists(
        st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"TRACEPARENT"]), st.binary(max_size=80))
    )
)
def test_no_header_makes_a_request_fail(headers: list[tuple[bytes, bytes]], listening: Callable[..., Recorded]) -> None:
    """Whatever bytes arrive."""
    listening()
    sent: dict[str, str] = {}
    with context.extract(headers), span("x"):
        context.inject(sent)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]", sent["traceparent"])
