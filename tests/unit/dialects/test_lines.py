"""Lines and events from bytes, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.dialects.lines import LineSplitter
from llm_deploy.dialects.sse import Event, SseDecoder
from llm_deploy.errors import WireFormatError

pieces = st.lists(
    st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\x0b", b"\x85"])
)

on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@on_a_busy_machine
@given(pieces, st.lists(st.integers(0, 100), max_size=8))
def test_only_cr_lf_and_crlf_end_a_line_wherever_they_are_cut(parts: list[bytes], places: list[int]) -> None:
    """Not the line separators of Unicode, which may stand in a JSON string, nor vertical tabs."""
    data = b"".join(parts)
    splitter = LineSplitter()
    lines = [line for piece in cut(data, places) for line in splitter.feed(piece)]
    lines += splitter.close()
    expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert lines == [line.decode("utf-8", errors="replace") for line in expected]


def test_a_byte_order_mark_is_dropped_at_the_start_alone() -> None:
    """Even when it is cut."""
    splitter = LineSplitter()
    mark = b"\xef\xbb\xbf"
    lines = [line for piece in (mark[:1], mark[1:] + b"a\n", mark + b"b\n") for line in splitter.feed(piece)]
    assert lines == ["a", "\ufeffb"]


@pytest.mark.parametrize("data", [b"12345", b"12345\n"])
def test_a_line_over_the_limit_is_refused_after_those_before_it(data: bytes) -> None:
    """Ended or not; a line at the limit is fine."""
    lines = LineSplitter(limit_bytes=4).feed(b"1234\n" + data)
    assert next(lines) == "1234"
    with pytest.raises(WireFormatError, match="longer than 4 bytes"):
        next(lines)


def test_an_event_over_the_limit_is_refused() -> None:
    """Also when it comes in many short lines."""
    with pytest.raises(WireFormatError, match="longer than 8"):
        list(SseDecoder(limit_bytes=8).feed(b"data:123\ndata:456\ndata:789\n\n"))


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [Event("message", "a")]),
        (b"data:a\n\n", [Event("message", "a")]),
        (b"data:  a\n\n", [Event("message", " a")]),
        (b"data: a\ndata: b\n\n", [Event("message", "a\nb")]),
        (b"data\n\n", [Event("message", "")]),
        (b"event: ping\ndata: a\n\ndata: b\n\n", [Event("ping", "a"), Event("message", "b")]),
        (b"event: ping\n\ndata: b\n\n", [Event("message", "b")]),
        (b": comment\n:\n\nid: 1\nretry: 5\nunknown: x\ndata: a", [Event("message", "a")]),
        (b'data: a\n{"b":1}\n[2]\n', [Event("message", "a"), Event("message", '{"b":1}'), Event("message", "[2]")]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(data: bytes, events: list[Event]) -> None:
    """One space after the colon, data lines joined, comments dropped; and JSON lines as events of their own."""
    decoder = SseDecoder()
    assert [*decoder.feed(data), *decoder.close()] == events
