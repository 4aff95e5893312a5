"""The protocol of uvicorn, bounded, over a transport that joins writes.

An answer's head is sent together with what follows it: one call of the system instead of two, which is a tenth of
what a request costs. What uvicorn leaves without a bound has one here: the size of a request's head and the time that
it takes, how many requests are sent ahead on one connection, and how long a connection that is closed waits for a
reader who takes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1.1 "
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
HEAD_S: Final = 30.0
"""Longest time for a request's line and headers, from their first byte."""
HEAD_BYTES: Final = 64 * 1024
"""Largest line and headers; as much again as one read of the system may pass."""
AHEAD: Final = 16
"""Requests that may wait on a connection for the one before to be answered."""
LINGER_S: Final = 75.0
"""A closed connection is dropped when its reader has taken nothing of what is left for so long."""


class JoiningTransport:
    """Holds a head back until the next write, or the loop's next turn; everything else is the transport's own."""

    __slots__ = ("_held", "_linger_s", "_loop", "_transport")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, linger_s: float = LINGER_S
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._linger_s = linger_s
        self._held = b""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """As the transport."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send, or hold a head."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close; what its reader does not take is thrown away in the end."""
        self._flush()
        if self._transport.is_closing():
            return
        left = self._transport.get_write_buffer_size()
        self._transport.close()
        if left:
            self._loop.call_later(self._linger_s, self._linger, left)

    def _linger(self, before: int) -> None:
        left = self._transport.get_write_buffer_size()
        if 0 < left < before:
            self._loop.call_later(self._linger_s, self._linger, left)
        elif left:
            self._transport.abort()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


class JoiningProtocol(HttpToolsProtocol):
    """One connection."""

    head_s = HEAD_S
    linger_s = LINGER_S
    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn takes any stream transport
        """Put the joining transport in between; one that asks nothing is closed as an idle one is."""
        super().connection_made(JoiningTransport(transport, self.loop, self.linger_s))  # type: ignore[arg-type] # by its shape
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._forget_clock()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has grown too large."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse_head()
        elif self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self._idle()  # empty lines before a request are allowed, and no news

    def on_message_begin(self) -> None:
        """A head begins, and its clock."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._forget_clock()
        self._head_timer = self.loop.call_later(self.head_s, self._close)

    def on_headers_complete(self) -> None:
        """A head is whole; it waits for its turn, unless too many do."""
        self._in_head = False
        self._forget_clock()
        super().on_headers_complete()
        if len(self.pipeline) > AHEAD:
            self.transport.abort()

    def _idle(self) -> None:
        if not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _refuse_head(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(_TOO_LARGE)
        self._close()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _forget_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
