"""Connections that are kept and used again, for callers that block.

What may be sent a second time, and what never. A request is sent on a kept connection only after a look at it: what
has something to read there has been closed by the other end, and is thrown away unused. If sending then fails before
the system has taken the request's last byte, the other end cannot have had the whole request, so that it cannot have
run it (its length was announced, and SageMaker checks a signature over all of it): it is sent again on a new
connection, once. Once the last byte was taken, nothing is sent again, whatever happens: that the connection ended
before one byte of an answer came does not prove that no model is at work.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from contextlib import suppress

from llm_deploy.client.origin import NoConnectionError, NotTrustedError, Origin, set_options, tls_context
from llm_deploy.client.transport import CONNECT_TIMEOUT_S, POOL_SIZE

MAX_IDLE_S = 50.0
"""Load balancers close silent connections, by default, after 60 s. Source: AWS documentation of ALB, idle timeout."""

_READ_BYTES = 64 * 1024
JOINED_BYTES = 64 * 1024
"""Up to here, head and body go out in one piece."""


class Connection:
    """One connection, used by one request at a time.

    Attributes:
        spoilt: It has not taken a whole request, so that the other end waits for the rest.
        idle_since_s: On the monotonic clock.
    """

    __slots__ = ("_poll", "_receive", "_socket", "_timeout_s", "idle_since_s", "spoilt")

    def __init__(self, connected: socket.socket) -> None:
        self.spoilt = False
        self.idle_since_s = 0.0
        self._socket = connected
        self._receive = connected.recv
        self._timeout_s = connected.gettimeout()
        self._poll = _poll_of(connected)

    def allow(self, timeout_s: float) -> None:
        """How long each send and receive may block from now on; at least a moment."""
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            self._socket.settimeout(max(timeout_s, 0.001))

    def send(self, head: bytes, body: bytes) -> None:
        """Hand a request to the system.

        Raises:
            OSError: The request's last byte was not taken. `TimeoutError`: the other end does not read.
        """
        if len(body) <= JOINED_BYTES:
            self._socket.sendall(head + body)
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)

    def receive(self) -> bytes:
        """What has arrived, at least one byte; nothing at the connection's end.

        Raises:
            OSError: The connection broke. `TimeoutError`: nothing came in the time allowed.
        """
        return self._receive(_READ_BYTES)

    def is_stale(self) -> bool:
        """Whether the other end has closed it, or said something that nobody asked for."""
        return bool(self._poll.poll(0))

    def shut(self) -> None:
        """Wake up whoever is reading; for other threads."""
        with suppress(OSError):  # it ended by itself in this very moment
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # past the one of TLS, which a reader may be in

    def close(self) -> None:
        """Harmless when called again."""
        with suppress(OSError):
            self._socket.close()


class Pool:
    """The connections to one origin. Safe to use from several threads at once; safe to inherit in a forked process."""

    def __init__(self, origin: Origin, *, size: int = POOL_SIZE) -> None:
        self._origin = origin
        self._process = os.getpid()
        self._size = size
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection | None:
        """A kept connection that is good as far as can be seen; `None` where there is none."""
        if self._process != os.getpid():
            self._leave_to_parent()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - connection.idle_since_s < MAX_IDLE_S and not connection.is_stale():
                return connection
            connection.close()

    def connect(self, allowed_s: float) -> Connection:
        """A new connection.

        Raises:
            NoConnectionError, NotTrustedError, SpecError: See there.
        """
        origin, timeout_s = self._origin, min(CONNECT_TIMEOUT_S, allowed_s)
        try:
            connected = socket.create_connection((origin.host, origin.port), timeout=max(timeout_s, 0.001))
        except (OSError, UnicodeError) as error:
            raise NoConnectionError(f"{origin.host_header}: {error}") from error
        try:
            set_options(connected)
            return Connection(_secured(connected, origin) if origin.tls else connected)
        except BaseException:
            connected.close()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        connection.idle_since_s = time.monotonic()
        self._idle.append(connection)
        if len(self._idle) > self._size:
            with suppress(IndexError):
                self._idle.popleft().close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def _leave_to_parent(self) -> None:
        self._process = os.getpid()
        self.close()  # closes this process's copies; the parent's stay open


def _secured(connected: socket.socket, origin: Origin) -> socket.socket:
    import ssl  # noqa: PLC0415 - 15 ms that only TLS needs

    context = tls_context(origin.authorities)
    try:
        return context.wrap_socket(connected, server_hostname=origin.host)
    except ssl.SSLError as error:
        raise NotTrustedError(f"{origin.host_header}: {error}") from error
    except OSError as error:
        raise NoConnectionError(f"{origin.host_header}: {error}") from error


class _Selected:
    """`select.poll` where there is none (Windows)."""

    def __init__(self, of: socket.socket) -> None:
        self._of = of

    def poll(self, _: int) -> list[object]:
        """What is readable."""
        return list(select.select([self._of], [], [], 0)[0])


def _poll_of(connected: socket.socket) -> select.poll | _Selected:
    if not hasattr(select, "poll"):
        return _Selected(connected)
    poll = select.poll()
    poll.register(connected, select.POLLIN | select.POLLPRI)
    return poll
