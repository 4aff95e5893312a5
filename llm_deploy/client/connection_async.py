"""One connection that is kept and used again, on one event loop: a protocol object, without a task of its own."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import TYPE_CHECKING, cast

from llm_deploy.client.pool import JOINED_BYTES, MAX_IDLE_S

if TYPE_CHECKING:
    from llm_deploy.client.pool_async import Home

_PAUSE_BYTES = 256 * 1024
"""So much may wait to be read; then the other end is made to wait."""

_LOOK_AFTER_S = 1.0
"""An idle time after which a look at the socket is worth its cost; in a shorter one, the loop has noticed."""


class Connection(asyncio.Protocol):
    """One connection, used by one request at a time.

    Attributes:
        home: Of its loop: it belongs there and nowhere else.
        idle_since_s: On the loop's clock; 0 while it is used.
        waiting_since_s: The same, of a read that waits; 0 while none does.
    """

    __slots__ = (
        "_deadline", "_error", "_loop", "_over", "_parts", "_paused", "_size", "_transport", "_waiter",
        "home", "idle_since_s", "waiting_since_s",
    )  # fmt: skip

    def __init__(self, home: Home) -> None:
        self.home = home
        self._loop = home.loop
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._over = False
        self._paused = False
        self.idle_since_s = 0.0
        self.waiting_since_s = 0.0

    @property
    def socket(self) -> socket.socket:
        """For its options."""
        return cast("socket.socket", cast("asyncio.Transport", self._transport).get_extra_info("socket"))

    def send(self, head: bytes, body: bytes) -> None:
        """Write a request."""
        transport = cast("asyncio.Transport", self._transport)
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    async def receive(self) -> bytes:
        """All that has arrived since the last time, at least one byte; nothing at the connection's end.

        Cancelling it loses nothing.

        Raises:
            OSError: The connection broke. `TimeoutError`: the deadline passed, or nothing came for too long.
        """
        if not self._parts and not self._over:
            self._waiter = self._loop.create_future()
            self.waiting_since_s = self._loop.time()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self.waiting_since_s = 0.0
        if self._parts:
            return self._take()
        if self._error is not None:
            raise self._error
        return b""

    def expire_at(self, deadline_s: float) -> None:
        """Break the connection off at this time of the loop's clock, unless `release` comes first."""
        self._deadline = self._loop.call_at(deadline_s, self.expire)

    def expire(self) -> None:
        """Break the connection off: the time allowed has passed."""
        self._error = TimeoutError("the time allowed has passed")
        self._break_off()

    def rest(self) -> bool:
        """End a request; tell whether another may follow."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        busy = self._parts or self._paused or cast("asyncio.Transport", self._transport).get_write_buffer_size()
        return not self._over and not busy

    def abort(self) -> None:
        """Close at once; harmless when called again."""
        self._parts.clear()
        self._break_off()

    def drop(self) -> None:
        """As `abort`, from any thread; for an answer that nobody reads any more."""
        if not self._over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.abort)

    def is_stale(self, now_s: float) -> bool:
        """Whether the other end has closed it, or nobody has used it for too long."""
        idle_s = now_s - self.idle_since_s
        if self._over or idle_s > MAX_IDLE_S or cast("asyncio.Transport", self._transport).is_closing():
            return True
        return idle_s > _LOOK_AFTER_S and self._has_something_to_read()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.idle_since_s:
            self.abort()  # nobody asked for it
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > _PAUSE_BYTES and not self._paused:
            self._paused = True
            cast("asyncio.Transport", self._transport).pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._error is None:
            self._error = exc if exc is None or isinstance(exc, OSError) else ConnectionError(str(exc))
        self._end()

    def _break_off(self) -> None:
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()
        self._end()

    def _take(self) -> bytes:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            if not self._over:
                cast("asyncio.Transport", self._transport).resume_reading()
        return data

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.home.used.discard(self)  # an idle one stays in its place until it is looked at
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _has_something_to_read(self) -> bool:
        descriptor = self.socket.fileno()
        if not hasattr(select, "poll"):
            return bool(select.select([descriptor], [], [], 0)[0])
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
