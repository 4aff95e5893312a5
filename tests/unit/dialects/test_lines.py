"""Lines and events from bytes, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.dialects.lines import LineSplitter
from llm_deploy.dialects.sse import Event, SseDecoder

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
    assert lines == expected


def test_a_byte_order_mark_is_dropped_at_the_start_alone() -> None:
    """Even when it is cut."""
    splitter = LineSplitter()
    mark = b"\xef\xbb\xbf"
    lines = [line for piece in (mark[:1], mark[1:] + b"a\n", mark + b"b\n") for line in splitter.feed(piece)]
    assert lines == [b"a", mark + b"b"]


@pytest.mark.parametrize("data", [b"12345", b"12345\n"])
def test_a_line_over_the_limit_is_refused_after_those_before_it(data: bytes) -> None:
    """Ended or not; a line at the limit is fine."""
    splitter = LineSplitter(limit_bytes=4)
    assert splitter.feed(b"1234\n" + data) == [b"1234"]
    assert "longer than 4 bytes" in str(splitter.failure)
    assert splitter.feed(b"a\n") == splitter.close() == []


def test_an_event_over_the_limit_is_refused() -> None:
    """Also when it comes in many short lines."""
    decoder = SseDecoder(limit_bytes=8)
    assert decoder.feed(b"data:a\n\ndata:123\ndata:456\ndata:789\n\ndata:b\n\n") == [("message", b"a")]
    assert "longer than 8" in str(decoder.failure)
    assert decoder.feed(b"data:c\n\n") == decoder.close() == []


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [("message", b"a")]),
        (b"data:a\n\n", [("message", b"a")]),
        (b"data:  a\n\n", [("message", b" a")]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b"data\n\n", [("message", b"")]),
        (b"event: ping\ndata: a\n\ndata: b\n\n", [("ping", b"a"), ("message", b"b")]),
        (b"event: ping\n\ndata: b\n\n", [("message", b"b")]),
        (b": comment\n:\n\nid: 1\nretry: 5\nunknown: x\ndata: a", [("message", b"a")]),
        (b'data: a\n{"b":1}\n[2]\n', [("message", b"a"), ("message", b'{"b":1}'), ("message", b"[2]")]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(data: bytes, events: list[Event]) -> None:
    """One space after the colon, data lines joined, comments dropped; and JSON lines as events of their own."""
    decoder = SseDecoder()
    assert [*decoder.feed(data), *decoder.close()] == events
