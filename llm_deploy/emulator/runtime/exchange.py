"""One request to a container and its answer, as it arrives.

A bare asyncio protocol with httptools: a token passes through here, so it must cost microseconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self, cast

import httptools

HIGH_WATER_BYTES = 256 * 1024
"""Above this the container is not read from, until the client has taken something."""


class ExchangeBrokenError(Exception):
    """The container ended the connection before its answer was complete, or it does not speak HTTP."""


class Exchange(asyncio.Protocol):
    """`async with Exchange(...)`: then `head()`, then `chunk()` until it is empty. Leaving cancels the request."""

    def __init__(self, host: str, port: int, head: bytes, body: bytes) -> None:
        self._address = (host, port)
        self._request = head + body
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._complete = False
        self._broken: str | None = None
        self._arrived = asyncio.Event()
        self._has_head = False
        self._transport: asyncio.Transport | None = None
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, *self._address)
        except OSError as error:
            raise ExchangeBrokenError(str(error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport:
            self._transport.abort()

    async def head(self) -> int:
        """Wait for the status line and the headers; the status.

        Raises:
            ExchangeBrokenError: They will not come.
        """
        while not self._has_head:
            self._raise_if_broken()
            await self._wait()
        return int(self._parser.get_status_code())

    async def chunk(self) -> bytes:
        """The next piece of the body; empty at its end.

        Raises:
            ExchangeBrokenError: The rest will not come.
        """
        while not self._chunks:
            if self._complete:
                return b""
            self._raise_if_broken()
            await self._wait()
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise ExchangeBrokenError(self._broken)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._broken = f"the container's answer is not HTTP: {error}"
            self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come."""
        if not self._complete:
            self._broken = str(exc) if exc else "the container closed the connection"
        self._arrived.set()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Let `head` go on."""
        self._has_head = True
        self._arrived.set()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER_BYTES and self._transport and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._arrived.set()

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        self._complete = True
        self._arrived.set()


def request_head(host: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
    """The head of a POST. Header values come from a parsed HTTP request, so they hold no line breaks."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {length}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
