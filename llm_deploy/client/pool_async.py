"""Connections that are kept and used again, on one event loop.

The rule of what may be sent twice is `pool`'s. Here nobody sees which bytes the system took, so that only what was
closed before a request was written to it is replaced; once written, nothing is sent again.

There is no task and no timer for a connection: one sweep over all of them finds those that have been silent for too
long, and those that nobody has used. Only a deadline for a whole answer has a timer.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections import deque
from typing import cast

from llm_deploy.client.origin import NoConnectionError, NotTrustedError, Origin, set_options, tls_context
from llm_deploy.client.pool import JOINED_BYTES, MAX_IDLE_S
from llm_deploy.client.transport import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

IDLE_CONNECTIONS = 512
"""Kept when nobody uses them; half of the files that a process may usually have open."""

SWEEP_S = 5.0

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
            await self._wait()
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

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        self.waiting_since_s = self._loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.waiting_since_s = 0.0

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


class Home:
    """The connections of one pool on one loop; touched on that loop alone."""

    __slots__ = ("_sweeping", "idle", "loop", "process", "used")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.process = os.getpid()
        self.idle: deque[Connection] = deque()
        self.used: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def sweep_later(self) -> None:
        """See to it that silent and unused connections are found."""
        if self._sweeping is None:
            self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().abort()
        if self._sweeping is not None and not self.used:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        now_s = self.loop.time()
        self._sweeping = None
        for connection in [each for each in self.used if each.waiting_since_s]:
            if now_s - connection.waiting_since_s > READ_TIMEOUT_S:
                connection.expire()
        while self.idle and self.idle[0].is_stale(now_s):
            self.idle.popleft().abort()
        if self.used or self.idle:
            self.sweep_later()


class AsyncPool:
    """The connections to one origin. Each loop has its own, so that loops in several threads may share one object."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._here = threading.local()  # a thread runs one loop at a time

    def take(self) -> Connection | None:
        """A kept connection that is good as far as can be seen; `None` where there is none."""
        home = self._home()
        while home.idle:
            connection = home.idle.pop()
            if not connection.is_stale(home.loop.time()):
                connection.idle_since_s = 0.0
                home.used.add(connection)
                return connection
            connection.abort()
        return None

    async def connect(self, allowed_s: float) -> Connection:
        """A new connection, in use.

        Raises:
            NoConnectionError, NotTrustedError, SpecError: See there.
        """
        import ssl  # noqa: PLC0415 - asyncio has loaded it

        home, origin = self._home(), self._origin
        context = await asyncio.to_thread(tls_context, origin.authorities) if origin.tls else None
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, allowed_s)):
                _, connection = await home.loop.create_connection(
                    lambda: Connection(home),
                    origin.host,
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if origin.tls else None,
                )
        except ssl.SSLError as error:
            raise NotTrustedError(f"{origin.host_header}: {error}") from error
        except (OSError, UnicodeError) as error:
            raise NoConnectionError(f"{origin.host_header}: {error or 'no answer in time'}") from error
        set_options(connection.socket)
        home.used.add(connection)
        home.sweep_later()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; close it where more has come than was asked for."""
        if not connection.rest():
            connection.abort()
            return
        home = connection.home
        home.used.discard(connection)
        connection.idle_since_s = home.loop.time()
        home.idle.append(connection)
        if len(home.idle) > IDLE_CONNECTIONS:
            home.idle.popleft().abort()

    def close(self) -> None:
        """Close the idle connections of the loop at hand; those of other loops go when they have been idle for long."""
        self._home().close()

    def _home(self) -> Home:
        loop = asyncio.get_running_loop()
        home: Home | None = getattr(self._here, "home", None)
        if home is None or home.loop is not loop or home.process != os.getpid():
            home = self._here.home = Home(loop)
        return home
