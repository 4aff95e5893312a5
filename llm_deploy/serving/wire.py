"""Bytes of ASGI: read a bounded body, send a document, notice that the client went away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from llm_deploy.serving.engine import Json

# ASGI's own types. Source: https://asgi.readthedocs.io/en/latest/specs/main.html
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyTooLargeError(Exception):
    """The body is longer than allowed."""


class ClientGoneError(Exception):
    """The client closed the connection before its answer was complete."""


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Return the request's body.

    Raises:
        BodyTooLargeError: Longer than the limit; the rest is not read.
        ClientGoneError: The connection ended first.
    """
    blocks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        block = message.get("body", b"")
        size += len(block)
        if size > limit_bytes:
            raise BodyTooLargeError
        blocks.append(block)
        if not message.get("more_body"):
            return b"".join(blocks)


def parse_json(body: bytes) -> Json:
    """Parse strictly: no NaN, no depth that Python cannot hold.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def header(scope: Scope, name: bytes) -> str:
    """Return a header of the request, or an empty string; names are in lower case."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def send_head(send: Send, status: int, content_type: str) -> None:
    """Send status and headers."""
    headers = [(b"content-type", content_type.encode())]
    if content_type == "text/event-stream":
        headers.append((b"cache-control", b"no-cache"))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_json(send: Send, status: int, document: object) -> None:
    """Send a JSON document."""
    body = json.dumps(document, separators=(",", ":")).encode()
    await send_bytes(send, status, body, "application/json")


async def send_bytes(send: Send, status: int, body: bytes, content_type: str) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def while_connected(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Run `work`, and cancel it at once when the client goes away: ASGI servers do not.

    Raises:
        ClientGoneError: It did.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return
        raise ClientGoneError
    finally:
        for each in (task, watch):
            each.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({each})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
