"""Event streams from bytes: cut anywhere, damaged anywhere, against botocore's reader."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import HealthCheck, example, given, settings, strategies as st

from llm_deploy.client.wire.eventstream import EventStream, read_headers
from tests.fakes.runtime_server import frame, payload_part, stream_exception

on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

payloads = st.lists(st.binary(max_size=60), max_size=6)
OTHER = frame({":message-type": "event", ":event-type": "initial-response"}, b"{}")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read(pieces: list[bytes]) -> tuple[bytes, EventStream]:
    stream = EventStream()
    data = b"".join(stream.feed(piece) for piece in pieces)
    stream.close()
    return data, stream


@on_a_busy_machine
@given(payloads, st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_gives_the_same_payloads(parts: list[bytes], places: list[int]) -> None:
    """The payloads joined, in their order; events of other kinds are passed over."""
    data = OTHER.join([b"", *map(payload_part, parts), b""])
    got, stream = read(cut(data, places))
    assert got == b"".join(parts)
    assert stream.fault is None


@on_a_busy_machine
@given(payloads.filter(bool), st.integers(0, 2000), st.integers(1, 255), st.lists(st.integers(0, 2000), max_size=4))
def test_one_damaged_byte_anywhere_is_noticed(parts: list[bytes], place: int, change: int, places: list[int]) -> None:
    """What came before it is handed out, nothing after it."""
    data = bytearray(b"".join(map(payload_part, parts)))
    data[place % len(data)] ^= change
    got, stream = read(cut(bytes(data), places))
    assert stream.fault is not None
    assert stream.fault.code is None
    whole = [b"".join(parts[:count]) for count in range(len(parts))]
    assert got in whole


@on_a_busy_machine
@given(payloads.filter(bool), st.integers(0, 2000))
def test_a_stream_that_is_cut_in_a_message_says_so(parts: list[bytes], place: int) -> None:
    """Between messages it may end."""
    frames = [payload_part(part) for part in parts]
    data = b"".join(frames)
    ends = {sum(map(len, frames[:count])) for count in range(len(frames) + 1)}
    length = place % (len(data) + 1)
    _, stream = read([data[:length]])
    assert (stream.fault is None) == (length in ends)


@pytest.mark.parametrize("together", [True, False])
def test_an_exception_comes_after_the_payloads_before_it(*, together: bool) -> None:
    """With its code and its document; what follows it is not read."""
    pieces = [payload_part(b"a"), stream_exception("ModelStreamError", {"Message": "gone"}), payload_part(b"b")]
    got, stream = read([b"".join(pieces)] if together else pieces)
    assert got == b"a"
    assert stream.fault is not None
    assert (stream.fault.code, stream.fault.payload) == ("ModelStreamError", b'{"Message": "gone"}')


def test_an_unmodelled_error_has_its_message_in_its_headers() -> None:
    """Source: the event-stream specification, messages of type error."""
    _, stream = read([frame({":message-type": "error", ":error-code": "Oops", ":error-message": "words"}, b"")])
    assert stream.fault is not None
    assert (stream.fault.code, stream.fault.message) == ("Oops", "words")


def prelude(total: int, headers: int) -> bytes:
    numbers = struct.pack(">II", total, headers)
    return numbers + struct.pack(">I", zlib.crc32(numbers))


@pytest.mark.parametrize(
    ("total", "headers"),
    [(0, 0), (15, 0), (16, 1), (2**32 - 1, 0), (30 * 2**20, 0), (200_000, 140_000), (16, 2**32 - 1)],
)
def test_a_length_that_cannot_be_is_refused_at_once(total: int, headers: int) -> None:
    """Before anything is kept for it, though its checksum is right."""
    stream = EventStream()
    assert stream.feed(prelude(total, headers)) == b""
    assert stream.fault is not None


def test_a_large_message_in_small_pieces_takes_linear_time() -> None:
    """Ten megabytes in pieces of 1 kB; copied at each piece, they would be 50 GB."""
    payload = bytes(10 * 2**20)
    data = payload_part(payload)
    got, stream = read([data[at : at + 1024] for at in range(0, len(data), 1024)])
    assert got == payload
    assert stream.fault is None


VALUES = {0: b"", 1: b"", 2: b"\1", 3: b"\1\2", 4: b"1234", 5: b"12345678", 6: b"\0\3abc", 7: b"\0\2hi",
          8: b"12345678", 9: b"1234567890123456"}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_headers_of_every_type_are_read_over(kind: int) -> None:
    """Only texts are wanted; the others must not hide them."""
    block = b"\1a" + bytes([kind]) + VALUES[kind] + b"\1b\7\0\3xyz"
    assert read_headers(block)["b"] == "xyz"


@on_a_busy_machine
@example(b"\1a\7\0\5ab")
@given(st.binary(max_size=40))
def test_malformed_headers_are_a_fault_and_nothing_else(block: bytes) -> None:
    """Whatever they are, under right checksums."""
    head = prelude(16 + len(block), len(block))
    message = head + block
    _, stream = read([message + struct.pack(">I", zlib.crc32(message))])
    assert stream.fault is not None or b":message-type" in block


@on_a_busy_machine
@given(payloads)
def test_botocore_reads_the_same(parts: list[bytes]) -> None:
    """The reference's reader, on the same bytes."""
    data = b"".join(map(payload_part, parts))
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    assert read([data])[0] == b"".join(event.payload for event in buffer)
