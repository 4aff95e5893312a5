"""A very small HTTP/1.1 client over a unix socket, for the hop between the server and its engine.

One connection a request, no pool, no redirects: the engine is in this very process. A general client (httpx) costs
1 to 2 ms of CPU a token here, which is a tenth of the model itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import httptools

from llm_deploy.serving.engine import EngineFailureError, Json


class Exchange(asyncio.Protocol):
    """One request and its answer, read as it arrives."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._blocks: deque[bytes] = deque()
        self._done = False
        self._has_status = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Feed the parser and wake the reader."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Wake the reader, who finds out whether the answer was complete."""
        self._transport = None
        self._wake()

    # the parser's side

    def on_headers_complete(self) -> None:
        """Remember that there is a status."""
        self._has_status = True

    def on_body(self, block: bytes) -> None:
        """Keep a piece of the body."""
        self._blocks.append(block)

    def on_message_complete(self) -> None:
        """Remember that nothing will follow."""
        self._done = True

    # the reader's side

    async def status(self) -> int:
        """Wait for the head of the answer and return its status."""
        while not self._has_status:
            await self._wait()
        return int(self._parser.get_status_code())

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it arrives."""
        while True:
            while self._blocks:
                yield self._blocks.popleft()
            if self._done:
                return
            await self._wait()

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([block async for block in self.blocks()])

    def close(self) -> None:
        """Drop the connection without ceremony, which is what makes the engine stop."""
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """End the connection now, from any thread and without the event loop, whose turn may not come."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def _wait(self) -> None:
        if self._transport is None:
            raise EngineFailureError("The engine closed the connection in the middle of its answer.")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@asynccontextmanager
async def exchange(place: Path, method: str, target: str, document: object = None) -> AsyncIterator[Exchange]:
    """Send a JSON document and hand out the answer; leaving the block drops the connection.

    Raises:
        EngineFailureError: Nobody listens there, or the answer broke off.
    """
    body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    try:
        _, protocol = await loop.create_unix_connection(lambda: Exchange(request), str(place))
    except OSError as error:
        raise EngineFailureError(f"The engine cannot be reached: {error}.") from error
    try:
        yield protocol
    finally:
        protocol.close()


async def document_of(answer: Exchange, target: str) -> tuple[int, Json]:
    """Return status and parsed body of an answer.

    Raises:
        EngineFailureError: It broke off, or is not JSON.
    """
    status, body = await answer.status(), await answer.read()
    try:
        return status, json.loads(body)
    except ValueError as error:
        raise EngineFailureError(f"The engine answered {target} with {body[:200]!r}.") from error
