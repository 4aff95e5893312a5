"""Bodies that are checked while they pass."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.emulator.iam.payload import ChunkCheck, HashCheck, PayloadCheck, PayloadError, checked
from llm_deploy.emulator.iam.signature import EMPTY_SHA256, Signature, signing_key

SECRET, STAMP, SCOPE = "secret", "20260101T000000Z", "20260101/eu-central-1/s3/aws4_request"
SIGNATURE = Signature("AKIA", "20260101", "eu-central-1", "s3", STAMP, ("host",), "f" * 64, None)


def signed_chunks(pieces: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A body as an SDK writes it: each chunk's signature includes the one before."""
    key = signing_key(SECRET, "20260101", "eu-central-1", "s3")
    previous, body = SIGNATURE.value, b""

    def signature(kind: str, *hashes: str) -> str:
        text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", STAMP, SCOPE, previous, *hashes))
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    for piece in [*(each for each in pieces if each), b""]:
        previous = signature("PAYLOAD", EMPTY_SHA256, hashlib.sha256(piece).hexdigest())
        body += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + (piece + b"\r\n" if piece else b"")
    if trailer:
        previous = signature("TRAILER", hashlib.sha256(trailer + b"\n").hexdigest())
        body += trailer + b"\r\nx-amz-trailer-signature:" + previous.encode() + b"\r\n"
    return body + b"\r\n"


def passes(body: bytes, check: PayloadCheck, cuts: Sequence[int] = ()) -> bool:
    """Whether a body that comes in pieces is accepted."""
    places = sorted({cut % (len(body) + 1) for cut in cuts})
    pieces = [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]
    try:
        for piece in pieces:
            check.feed(piece)
        check.finish()
    except PayloadError:
        return False
    return True


cuts = st.lists(st.integers(0, 2000), max_size=6)


@given(st.lists(st.binary(max_size=200), max_size=4), cuts, st.sampled_from([b"", b"x-amz-checksum-crc32:AAAAAA=="]))
def test_signed_chunks_fit_however_they_arrive(pieces: list[bytes], places: list[int], trailer: bytes) -> None:
    """With trailing headers and without."""
    check = ChunkCheck(SIGNATURE, SECRET, trailer=bool(trailer))
    assert passes(signed_chunks(pieces, trailer), check, places)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=3), st.data())
def test_no_byte_of_signed_chunks_can_be_changed(pieces: list[bytes], data: st.DataObject) -> None:
    """Nor can the body end early."""
    whole = signed_chunks(pieces, b"x-amz-checksum-crc32:AAAAAA==")
    at = data.draw(st.integers(0, len(whole) - len(b"\r\n\r\n") - 1))
    changed = bytearray(whole)
    changed[at] ^= 0x01
    assert not passes(bytes(changed), ChunkCheck(SIGNATURE, SECRET, trailer=True))
    assert not passes(whole[:at], ChunkCheck(SIGNATURE, SECRET, trailer=True))
    assert not passes(whole, ChunkCheck(SIGNATURE, "another", trailer=True))


@given(st.binary(max_size=100), cuts)
def test_a_hash_is_of_one_body(body: bytes, places: list[int]) -> None:
    """However it arrives."""
    claimed = hashlib.sha256(body).hexdigest()
    assert passes(body, HashCheck(claimed), places)
    assert passes(body, HashCheck(claimed.upper()), places)
    assert not passes(body + b"x", HashCheck(claimed), places)


class RefusedError(Exception):
    """What the reader is told."""


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.booleans())
def test_nobody_gets_the_whole_of_an_unsigned_body(pieces: list[bytes], good: bool) -> None:  # noqa: FBT001 - drawn
    """A good body arrives unchanged; of a bad one the last piece never does."""
    body = b"".join(pieces)
    claimed = hashlib.sha256(body if good else body + b"x").hexdigest()
    waiting = [
        {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
        for index, piece in enumerate(pieces)
    ]
    got: list[bytes] = []

    async def receive() -> Any:  # noqa: ANN401 - an ASGI message
        return waiting.pop(0)

    async def read() -> None:
        through = checked(receive, HashCheck(claimed), RefusedError)
        while True:
            message = await through()
            got.append(message["body"])
            if not message["more_body"]:
                return

    if good:
        asyncio.run(read())
        assert b"".join(got) == body
    else:
        with pytest.raises(RefusedError):
            asyncio.run(read())
        assert len(got) <= max(0, len(pieces) - 2)
