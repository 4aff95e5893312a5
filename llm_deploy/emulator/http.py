"""One HTTP request as services see it: an ASGI scope with the signature's scope read out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from llm_deploy.emulator.iam.caller import Caller

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[str, str]]

_CREDENTIAL = re.compile(r"Credential=([^/\s,]+)/(\d{8})/([^/\s,]+)/([^/\s,]+)/aws4_request")


class BodyTooLargeError(Exception):
    """The body is longer than the reader accepts; the rest of it was not read."""


class ClientGoneError(Exception):
    """The client hung up before its request was read."""


@dataclass(frozen=True, slots=True)
class SignatureScope:
    """Who says to have signed a request, and for what; `iam.gate` checks it."""

    access_key: str
    region: str
    service: str


class Request:
    """An ASGI HTTP request.

    Attributes:
        headers: Lower-case names; of repeated headers the last one.
        receive, send: ASGI's own, for handlers that stream.
        caller: Who asks, once that has been checked; `None` where nothing is checked.
    """

    __slots__ = ("__dict__", "_body", "caller", "headers", "method", "path", "raw_path", "receive", "scope", "send")

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope.get("raw_path") or self.path.encode()
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.caller: Caller | None = None
        self._body: bytes | None = None

    @property
    def query_string(self) -> str:
        """The query as it was sent, without the question mark."""
        query: bytes = self.scope.get("query_string", b"")
        return query.decode("latin-1")

    @cached_property
    def signature(self) -> SignatureScope | None:
        """Who signed it and for what, from the header or a presigned query; `None` when nobody did."""
        found = _CREDENTIAL.search(self.headers.get("authorization", ""))
        if found is None and "X-Amz-Credential" in self.query_string:
            credential = parse_qs(self.query_string).get("X-Amz-Credential", [""])[0]
            found = _CREDENTIAL.search(f"Credential={credential}")
        return SignatureScope(found[1], found[3], found[4]) if found else None

    async def body(self, limit: int) -> bytes:
        """The whole body. It is kept: whoever asks again, also through `receive`, gets it once more.

        Raises:
            BodyTooLargeError: It is longer than `limit` bytes.
            ClientGoneError: The client hung up.
        """
        if self._body is None:
            self._body = await self._read(limit)
            self.receive = _replaying(self._body, self.receive)
        if len(self._body) > limit:
            raise BodyTooLargeError
        return self._body

    async def _read(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise BodyTooLargeError
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def respond(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Answer at once, with the length of the body."""
        await self.begin(status, [*headers, ("content-length", str(len(body)))])
        await self.send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the status line and the headers of an answer whose body follows through `send`."""
        encoded = [(name.encode("latin-1"), _one_line(value).encode("latin-1", "replace")) for name, value in headers]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})


def _replaying(body: bytes, rest: Receive) -> Receive:
    """ASGI's receive as if the body had not been read."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await rest()

    return receive


def _one_line(value: str) -> str:
    """A header's value; some come from users (a model's name), and a line break would begin another header."""
    return "".join(char if char.isprintable() else " " for char in value)
