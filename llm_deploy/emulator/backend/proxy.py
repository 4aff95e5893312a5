"""A streaming reverse proxy: requests go to the backend's child byte for byte, bodies are never held whole here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from xml.sax.saxutils import escape

import httpcore

from llm_deploy.emulator.backend.channel import CALLER_HEADER, INTERNAL
from llm_deploy.emulator.backend.durable import Receive, Scope, Send
from llm_deploy.emulator.backend.guard import KEY_HEADER
from llm_deploy.emulator.backend.process import BackendProcess
from llm_deploy.emulator.iam.caller import Caller

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 120.0
MAX_CONNECTIONS = 64
IDLE_S = 60.0
"""Well below the child's keep-alive: a connection taken from the pool is never one that the child is closing."""

UNAVAILABLE = "LocalCloudBackendUnavailable"

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection", b"expect"})
"""They concern one connection (RFC 9110, 7.6.1); `expect` has been answered by the server in front of us."""

_OURS = INTERNAL | {KEY_HEADER}

Report = Callable[[Caller | None, dict[bytes, bytes]], None]


class BackendProxy:
    """ASGI application that answers with what the child answers.

    Args:
        process: Where the child listens, and whether it has been given up.
        report: Told who asked, and what an answer says of IAM.
    """

    def __init__(self, process: BackendProcess, report: Report) -> None:
        self._report = report
        self._process = process
        self._pool = httpcore.AsyncConnectionPool(max_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, caller: Caller | None = None) -> None:
        """Pass one HTTP request on; a backend that does not answer is 503, one that was given up 501."""
        try:
            response = await self._forward(scope, receive, caller)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            # Not 503 for good: clients would try again for half a minute before they show the reason.
            status = 503 if self._process.failure is None else 501
            reason = self._process.failure or f"the backend does not answer: {error!r}"
            await _unavailable(scope, send, status, reason)
            return
        self._report(caller, {name.lower(): value for name, value in response.headers if name.lower() in INTERNAL})
        await _pass_back(response, send)

    async def _forward(self, scope: Scope, receive: Receive, caller: Caller | None) -> httpcore.Response:
        if self._process.failure is not None:
            raise httpcore.ConnectError
        return await self._pool.handle_async_request(_request(scope, receive, self._process, caller))

    async def aclose(self) -> None:
        """Close the idle connections."""
        await self._pool.aclose()


def _request(scope: Scope, receive: Receive, process: BackendProcess, caller: Caller | None) -> httpcore.Request:
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    host, port = process.address
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP | _OURS]
    if caller is not None:
        headers.append((CALLER_HEADER, caller.access_key.encode("latin-1")))
    return httpcore.Request(
        method=scope["method"],
        url=httpcore.URL(scheme=b"http", host=host.encode(), port=port, target=target),
        headers=[*headers, (KEY_HEADER, process.key)],
        content=_body(receive) if _has_body(scope) else b"",
        extensions={"timeout": {"connect": CONNECT_TIMEOUT_S, "read": READ_TIMEOUT_S, "pool": READ_TIMEOUT_S}},
    )


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpcore.ReadError("the client went away in the middle of its request")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _pass_back(response: httpcore.Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in response.headers if _is_passed_back(name.lower())]
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        async for chunk in response.aiter_stream():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await response.aclose()


def _is_passed_back(name: bytes) -> bool:
    """Not `date`, which the server in front adds, and not the permission for all web pages to read the answer."""
    return name not in _HOP_BY_HOP | INTERNAL and name != b"date" and not name.startswith(b"access-control-")


async def _unavailable(scope: Scope, send: Send, status: int, reason: str) -> None:
    """Write an error in the protocol that the client reads."""
    if any(name == b"x-amz-target" for name, _ in scope["headers"]):
        kind, text = b"application/x-amz-json-1.1", json.dumps({"__type": UNAVAILABLE, "message": reason})
    else:
        words = f"<Code>{UNAVAILABLE}</Code><Message>{escape(reason)}</Message>"
        kind, text = b"text/xml", f"<ErrorResponse><Error>{words}</Error></ErrorResponse>"
    body = text.encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
