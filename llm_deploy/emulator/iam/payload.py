"""Bodies of S3 requests, checked while they are passed on: by the hash that was signed, or chunk by chunk.

Source: "Authenticating Requests (AWS Signature Version 4)" and "Signature calculations: transferring payload in
multiple chunks", S3 API reference. Ledger: `access.s3.wrong-payload`, `access.s3.wrong-signature`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Protocol

from llm_deploy.emulator.http import Message, Receive
from llm_deploy.emulator.iam.signature import ALGORITHM, EMPTY_SHA256, Signature, signing_key

SIGNED_CHUNKS = {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": False, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": True}
"""What stands for such a body's hash, and whether headers follow its last chunk."""

_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9a-f]{64})")
_TRAILER_SIGNATURE = b"x-amz-trailer-signature:"
_LINE_END = b"\r\n"
_MAX_LINE_BYTES = 8192


class PayloadError(Exception):
    """The body is not the one that was signed."""


class PayloadCheck(Protocol):
    """Looks at a body as it passes."""

    def feed(self, piece: bytes) -> None:
        """Look at the next piece. Raises: PayloadError: It was not signed."""

    def finish(self) -> None:
        """Hear that it was the last piece. Raises: PayloadError: The whole was not signed."""


class HashCheck:
    """A body whose SHA-256 was signed."""

    def __init__(self, claimed: str) -> None:
        self._claimed = claimed.lower()
        self._digest = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        """See `PayloadCheck`."""
        self._digest.update(piece)

    def finish(self) -> None:
        """See `PayloadCheck`."""
        if not hmac.compare_digest(self._digest.hexdigest().encode(), self._claimed.encode()):
            raise PayloadError


class ChunkCheck:
    """A body in `aws-chunked` encoding, each of whose chunks carries a signature that includes the one before."""

    def __init__(self, signature: Signature, secret: str, *, trailer: bool) -> None:
        self._has_trailer = trailer
        self._scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
        self._stamp = signature.stamp
        self._key = signing_key(secret, signature.date, signature.region, signature.service)
        self._previous = signature.value
        self._rest = b""
        self._left: int | None = None
        self._expected = ""
        self._digest = hashlib.sha256()
        self._trailer = b""
        self._in_trailer = False
        self._done = False

    def feed(self, piece: bytes) -> None:
        """See `PayloadCheck`."""
        self._rest += piece
        while self._step():
            pass

    def finish(self) -> None:
        """See `PayloadCheck`."""
        if not self._done:
            raise PayloadError

    def _step(self) -> bool:
        """Take one thing from what has come; says whether there was enough."""
        if self._left is not None:
            return self._take_data(self._left)
        line, found, rest = self._rest.partition(_LINE_END)
        if not found:
            if len(line) > _MAX_LINE_BYTES:
                raise PayloadError
            return False
        self._rest = rest
        if self._in_trailer:
            self._take_trailer(line)
        else:
            self._take_head(line)
        return True

    def _take_head(self, line: bytes) -> None:
        head = _CHUNK_HEAD.fullmatch(line)
        if head is None:
            raise PayloadError
        self._left, self._expected = int(head[1], 16), head[2].decode()
        self._digest = hashlib.sha256()
        if self._left == 0:
            self._left = None
            self._check(f"{ALGORITHM}-PAYLOAD", EMPTY_SHA256, self._digest.hexdigest())
            self._in_trailer, self._done = True, not self._has_trailer

    def _take_data(self, left: int) -> bool:
        """The chunk's bytes, and the line's end behind them."""
        taken, self._rest = self._rest[:left], self._rest[left:]
        self._digest.update(taken)
        self._left = left - len(taken)
        if self._left or len(self._rest) < len(_LINE_END):
            return False
        if not self._rest.startswith(_LINE_END):
            raise PayloadError
        self._rest, self._left = self._rest[len(_LINE_END) :], None
        self._check(f"{ALGORITHM}-PAYLOAD", EMPTY_SHA256, self._digest.hexdigest())
        return True

    def _take_trailer(self, line: bytes) -> None:
        """Headers after the last chunk, which are signed too."""
        if line.startswith(_TRAILER_SIGNATURE):
            self._expected = line.removeprefix(_TRAILER_SIGNATURE).strip().decode("latin-1")
            self._check(f"{ALGORITHM}-TRAILER", hashlib.sha256(self._trailer).hexdigest())
            self._done = True
        elif line:
            if not self._has_trailer:
                raise PayloadError
            self._trailer += line.strip() + b"\n"

    def _check(self, *parts: str) -> None:
        kind, *hashes = parts
        text = "\n".join((kind, self._stamp, self._scope, self._previous, *hashes))
        expected = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), self._expected.encode()):
            raise PayloadError
        self._previous = expected


def checked(receive: Receive, check: PayloadCheck, refused: Callable[[], Exception]) -> Receive:
    """ASGI's receive, which keeps one piece back until the whole body has been checked.

    So whoever reads through it never has the whole of a body that was not signed.
    """
    held: list[bytes] = []

    async def receive_checked() -> Message:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            piece: bytes = message.get("body", b"")
            more = bool(message.get("more_body", False))
            try:
                check.feed(piece)
                if not more:
                    check.finish()
            except PayloadError as error:
                raise refused() from error
            held.append(piece)
            if not more:
                return {"type": "http.request", "body": b"".join(held), "more_body": False}
            if len(held) > 1:
                return {"type": "http.request", "body": held.pop(0), "more_body": True}

    return receive_checked
