"""ASGI's words: bodies in, documents out, and the task that a request holds."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, Literal

from llm_deploy.errors import TooLargeError

# ASGI's own types. Source: https://asgi.readthedocs.io/en/latest/specs/main.html
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

Reason = Literal["gone", "slow_body", "stalled", "timeout", "shutdown"]
"""Why a request's task was cancelled by us."""

SAFETY: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every answer. Source: OWASP, HTTP security response headers."""

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WATCH_AFTER_S: Final = 0.05
"""An answer that is there before needs no watch over its client: most need none."""


class ClientGoneError(Exception):
    """The client closed its connection before its body was whole."""


class Held:
    """One request's hold on its task: who cancels it, why, and by when it must have moved on.

    Attributes:
        deadline_s: On the loop's clock; the overseer cancels what is later.
        late: The reason it then gives.
        reason: Why it was cancelled; `None` while it was not, or was cancelled by somebody else.
    """

    __slots__ = ("_finished", "_receive", "_task", "_timer", "_watch", "deadline_s", "late", "loop", "reason")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled by a task")
        self._task: asyncio.Task[Any] | None = task
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._finished = False
        self.loop = loop
        self.deadline_s = deadline_s
        self.late: Reason = "slow_body"
        self.reason: Reason | None = None

    def cancel(self, reason: Reason) -> None:
        """Cancel the request, unless it is done or cancelled already."""
        if self._task is not None and self.reason is None:
            self.reason = reason
            self._task.cancel()

    def watch_soon(self) -> None:
        """Cancel the request when its client goes away, from a moment on."""
        self._timer = self.loop.call_later(_WATCH_AFTER_S, self.watch_now)

    def watch_now(self) -> None:
        """Cancel the request when its client goes away, from now on."""
        if self._watch is None and self._task is not None:
            self._watch = self.loop.create_task(self._until_gone())

    def caught(self) -> bool:
        """Whether a cancellation that was caught was ours; it is taken back then."""
        if self.reason is None or self._task is None:
            return False
        self._task.uncancel()
        return True

    def release(self) -> None:
        """Let the task go: nothing cancels it any more."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def finish(self) -> None:
        """The end of the answer is about to be sent; after it, that the client leaves is no news."""
        self._finished = True

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._finished:
            self.cancel("gone")


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The request's body.

    Raises:
        TooLargeError: Longer than the limit; the rest is not read.
        ClientGoneError: The connection ended first.
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise TooLargeError(f"the body is larger than {limit_bytes} bytes")
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= limit_bytes:
        return body
    return await _read_rest(body, message, receive, limit_bytes)


async def _read_rest(body: bytes, message: Message, receive: Receive, limit_bytes: int) -> bytes:
    blocks, size = [body], len(body)
    while message.get("more_body") and size <= limit_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        blocks.append(message.get("body", b""))
        size += len(blocks[-1])
    if size > limit_bytes:
        raise TooLargeError(f"the body is larger than {limit_bytes} bytes")
    return b"".join(blocks)


def header(scope: Scope, name: bytes) -> bytes:
    """A header of the request, or nothing; names are in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def api_key(scope: Scope) -> str | None:
    """The API key: a bearer token, or `x-api-key`."""
    given = header(scope, b"authorization")
    if given[:7].lower() == b"bearer ":
        return given[7:].strip().decode("latin-1") or None
    return header(scope, b"x-api-key").decode("latin-1") or None


def request_id(scope: Scope) -> str:
    """The request's own id when it is a sane one, else a new one."""
    given = header(scope, b"x-request-id").decode("latin-1")
    return given if given and _SANE_ID.fullmatch(given) else secrets.token_hex(16)


async def send_whole(
    send: Send, status: int, body: bytes, *, content_type: bytes = b"application/json", headers: Iterable[Header] = ()
) -> None:
    """Send a whole answer."""
    found = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *SAFETY, *headers]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})


def abort(send: Send) -> None:
    """Drop the connection without sending what is still buffered: its reader takes nothing.

    ASGI has no word for it; uvicorn's `send` is a method of what knows the transport. Elsewhere nothing happens.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    drop = getattr(transport, "abort", None)
    if drop is not None:
        drop()
