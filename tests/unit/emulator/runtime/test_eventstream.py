"""Frames are read back by botocore, however they are cut."""

from __future__ import annotations

import random

from botocore.eventstream import EventStreamBuffer
from hypothesis import given, strategies as st

from llm_deploy.emulator.runtime.eventstream import failure, payload_part
from llm_deploy.emulator.runtime.splitter import Splitter


@given(st.lists(st.binary(max_size=300), max_size=10), st.integers(min_value=1, max_value=64))
def test_what_is_written_is_read(payloads: list[bytes], step: int) -> None:
    """Any payloads, in pieces of any size: botocore reads the same payloads."""
    stream = b"".join(payload_part(payload) for payload in payloads)
    buffer, seen = EventStreamBuffer(), []
    for start in range(0, len(stream), step):
        buffer.add_data(stream[start : start + step])
        seen += [event.payload for event in buffer]
    assert seen == payloads


def test_a_failure_in_a_stream_is_an_exception_of_the_model() -> None:
    """The headers that make a client raise, and the error's fields as JSON."""
    buffer = EventStreamBuffer()
    buffer.add_data(failure("ModelStreamError", {"Message": "gone", "ErrorCode": "StreamBroken"}))
    (event,) = buffer
    assert event.headers[":message-type"] == "exception"
    assert event.headers[":exception-type"] == "ModelStreamError"
    assert event.payload == b'{"Message": "gone", "ErrorCode": "StreamBroken"}'


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.integers())
def test_cut_pieces_are_the_stream(chunks: list[bytes], seed: int) -> None:
    """Nothing is lost, doubled or reordered, and no piece is empty."""
    splitter = Splitter(random.Random(seed))  # noqa: S311 - places of cuts
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.flush()
    assert b"".join(pieces) == b"".join(chunks)
    assert all(pieces)


def test_events_are_really_split_and_merged() -> None:
    """By default a client sees half events and two events in one part."""
    splitter = Splitter(random.Random(1))  # noqa: S311 - places of cuts
    events = [f"data:{index:03}\n\n".encode() for index in range(200)]
    pieces = [piece for event in events for piece in splitter.feed(event)] + splitter.flush()
    assert any(not piece.endswith(b"\n\n") for piece in pieces)
    assert any(b"\n\ndata" in piece for piece in pieces)


def test_without_a_generator_nothing_is_cut() -> None:
    """`--no-split` passes every chunk on as it came."""
    splitter = Splitter(None)
    assert splitter.feed(b"data:1\n\n") == [b"data:1\n\n"]
    assert splitter.flush() == []
