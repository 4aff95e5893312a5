"""Connections that are kept and used again, on one event loop.

The rule of what may be sent twice is `pool`'s. Here nobody sees which bytes the system took, so that only what was
closed before a request was written to it is replaced; once written, nothing is sent again.

There is no task and no timer for a connection: one sweep over all of them finds those that have been silent for too
long, and those that nobody has used. Only a deadline for a whole answer has a timer.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque

from llm_deploy.client.connection_async import Connection
from llm_deploy.client.origin import NoConnectionError, NotTrustedError, Origin, set_options, tls_context
from llm_deploy.client.transport import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

IDLE_CONNECTIONS = 512
"""Kept when nobody uses them; half of the files that a process may usually have open."""

SWEEP_S = 5.0


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
