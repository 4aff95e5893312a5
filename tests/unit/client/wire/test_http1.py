"""Answers of HTTP/1.1 from bytes: cut anywhere, strict, bounded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.client.wire.http1 import MAX_CHUNK_LINE_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Response
from llm_deploy.errors import WireFormatError

on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Wire:
    """An answer's bytes, and what is in them."""

    data: bytes
    status: int
    body: bytes
    lasting: bool


bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
statuses = st.sampled_from([200, 201, 400, 424, 503])
sizes = st.sampled_from([b"%x", b"%X", b"%04x", b"%x;name=value", b'%x ; a="b"'])
trailers = st.sampled_from([b"", b"X-Checksum: 1\r\n", b"a: b\r\nc: d\r\n"])
interim = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2])


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    """A whole answer in one of the forms that servers send."""
    parts, status = draw(bodies), draw(statuses)
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" \xfcber"]))
    head = draw(interim) + b"HTTP/1.1 %d%s\r\nServer: x\r\n" % (status, reason)
    kind = draw(st.sampled_from(["length", "chunked", "rest"]))
    body = b"".join(parts)
    if kind == "length":
        return Wire(head + b"Content-Length:  %d \r\n\r\n%s" % (len(body), body), status, body, lasting=True)
    if kind == "rest":
        return Wire(head + b"Connection: close\r\n\r\n" + body, status, body, lasting=False)
    chunks = b"".join(draw(sizes) % len(part) + b"\r\n%s\r\n" % part for part in parts)
    end = draw(st.sampled_from([b"0", b"000", b"0;a=b"])) + b"\r\n" + draw(trailers) + b"\r\n"
    return Wire(head + b"transfer-ENCODING: Chunked\r\n\r\n" + chunks + end, status, body, lasting=True)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def fed(pieces: list[bytes]) -> tuple[bytes, Response]:
    """The body in these pieces, and the reader of it."""
    response = Response()
    return b"".join([response.feed(piece) for piece in pieces]), response


@on_a_busy_machine
@given(wires(), st.lists(st.integers(0, 500), max_size=12))
def test_any_split_gives_the_same_answer(wire: Wire, places: list[int]) -> None:
    """Status, body, whether it is whole, and whether the connection lasts."""
    response = Response()
    body = b"".join(response.feed(piece) for piece in cut(wire.data, places) if piece)
    assert (response.status, body) == (wire.status, wire.body)
    assert response.ended == response.reusable == wire.lasting
    assert response.close()


@on_a_busy_machine
@given(wires())
def test_byte_by_byte(wire: Wire) -> None:
    """The same again, at its most cut."""
    response = Response()
    assert b"".join(response.feed(wire.data[at : at + 1]) for at in range(len(wire.data))) == wire.body
    assert response.reusable == wire.lasting


@on_a_busy_machine
@given(wires().filter(lambda wire: wire.lasting), st.integers(0, 500), st.lists(st.integers(0, 500), max_size=4))
def test_a_cut_answer_is_never_whole(wire: Wire, place: int, places: list[int]) -> None:
    """Wherever the connection ends before the last byte; and what has come is the body's beginning."""
    data = wire.data[: place % len(wire.data)]
    response = Response()
    body = b"".join(response.feed(piece) for piece in cut(data, places) if piece)
    assert wire.body.startswith(body)
    assert not response.close()
    assert not response.reusable


@on_a_busy_machine
@given(wire=wires().filter(lambda wire: wire.lasting), more=st.binary(min_size=1, max_size=20), apart=st.booleans())
def test_bytes_after_the_end_are_nobodys_and_end_the_connection(wire: Wire, more: bytes, *, apart: bool) -> None:
    """A second answer that nobody asked for must not be taken for the next request's."""
    response = Response()
    body = b"".join(response.feed(piece) for piece in ([wire.data, more] if apart else [wire.data + more]))
    assert body == wire.body
    assert response.ended
    assert not response.reusable


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
        OK + b"Content-Length: 1, 1\r\n\r\na",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\na",
        OK + b"Content-Length: 0x1\r\n\r\na",
        OK + b"Content-Length: 1_0\r\n\r\n0123456789",
        OK + b"Content-Length: \xb2\r\n\r\n12",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Content-Length: 9999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length : 1\r\n\r\na",
        OK + b" Content-Length: 1\r\n\r\na",
        OK + b"X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: a\nContent-Length: 0\r\n\r\n",
        OK + b"X: a\rContent-Length: 0\r\n\r\n",
        OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        OK + b"nonsense\r\n\r\n",
        OK + b": empty\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
        b"\x15\x03\x03\x00\x02\x02\x28",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"+1\r\na\r\n",
        CHUNKED + b"0x1\r\na\r\n",
        CHUNKED + b"1_0\r\n",
        CHUNKED + b" 1\r\na\r\n",
        CHUNKED + b"g\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"1\na\n0\n\n\r\n\r\n",
        CHUNKED + b"1;a\nb\r\na\r\n",
        CHUNKED + b"123456789\r\n",
        CHUNKED + b"1\r\nab\r\n",
        CHUNKED + b"1\r\na\n\n",
        CHUNKED + b"1\r\na\r\r",
        CHUNKED + b"0\r\nnonsense\r\n\r\n",
        CHUNKED + b"0\r\na: b\nc: d\r\n\r\n",
        CHUNKED + b"1" + b";" * MAX_CHUNK_LINE_BYTES,
    ],
)  # fmt: skip
@pytest.mark.parametrize("bytewise", [False, True])
def test_what_is_ambiguous_or_malformed_is_refused(data: bytes, *, bytewise: bool) -> None:
    """Two readers could see two answers in it, and one of them could be another caller's."""
    with pytest.raises(WireFormatError):
        fed([data[at : at + 1] for at in range(len(data))] if bytewise else [data])


@pytest.mark.parametrize("start", [OK + b"X: ", CHUNKED + b"0\r\nX: "])
@pytest.mark.parametrize("step", [1, 999, 100_000])
def test_an_endless_head_is_refused(start: bytes, step: int) -> None:
    """At its limit; also after the last chunk; and in time that grows with its length alone."""
    with pytest.raises(WireFormatError, match="longer than"):
        fed([start, *[b"x" * step] * (2 * MAX_HEAD_BYTES // step + 2)])


def test_too_many_headers_are_refused() -> None:
    """Each is an object, however short."""
    with pytest.raises(WireFormatError):
        Response().feed(OK + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(status: int) -> None:
    """It ends with its head, whatever that says."""
    response = Response()
    assert response.feed(b"HTTP/1.1 %d X\r\n\r\n" % status) == b""
    assert response.reusable


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("header", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_an_answer_without_a_body_that_announces_one_ends_its_connection(status: int, header: bytes) -> None:
    """It has none, so that nobody waits for it; and what may follow is not taken for the next answer."""
    response = Response()
    assert response.feed(b"HTTP/1.1 %d X\r\n%b\r\n\r\n" % (status, header)) == b""
    assert response.ended
    assert not response.reusable


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close"])
def test_a_connection_that_is_said_to_close_is_not_used_again(value: bytes) -> None:
    """The server means it."""
    response = Response()
    response.feed(OK + b"Connection: %s\r\nContent-Length: 0\r\n\r\n" % value)
    assert response.ended
    assert not response.reusable


def test_a_name_that_stands_twice_gives_both_values() -> None:
    """In their order; names are in lower case."""
    response = Response()
    response.feed(OK + b"X-A: 1\r\nx-a: 2 \r\nContent-Length: 0\r\n\r\n")
    assert response.headers[b"x-a"] == b"1, 2"


@on_a_busy_machine
@given(st.binary(max_size=80), st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 5\r\n\r\n"]))
def test_no_bytes_raise_anything_but_our_error(noise: bytes, start: bytes) -> None:
    """Whatever arrives."""
    response = Response()
    try:
        response.feed(start + noise)
        response.feed(noise)
    except WireFormatError:
        return
    response.close()
