"""The gateway as a process: socket, event loop, signals, and an end that lets answers finish."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from llm_deploy.errors import LocalCloudError, PortTakenError
from llm_deploy.gateway.app import Gateway
from llm_deploy.gateway.config import Drain
from llm_deploy.gateway.http_protocol import JoiningProtocol

_KEEP_ALIVE_S: Final = 75  # longer than the 60 s after which load balancers drop an idle connection
_BACKLOG: Final = 4096
_LAST_WORDS_S: Final = 3
"""From the moment that answers are cut until the server does not wait for them any more."""
_TURN_S: Final = 0.0005
"""How long a thread that computes (usage on its way to the database) may keep the event loop waiting; Python's own
choice is ten times as long, which is more than a request takes."""


def serve(gateway: Gateway, listener: socket.socket, *, started: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    SIGTERM and Ctrl-C: /readyz says 503 for `drain.notice_s`, then no more connections are accepted and running
    answers have `drain.finish_s`; a second signal ends it at once.

    Args:
        gateway: Opened and closed here.
        listener: From `listen`.
        started: Told the address as soon as requests are answered.

    Raises:
        LlmDeployError: Something that was configured cannot be had.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it is done; by then it shall do no harm.
        signal.signal(number, _ignored)
    server = _Server(gateway, listener, started)
    sys.setswitchinterval(_TURN_S)
    try:
        with gateway.journal.libraries(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    except SystemExit:  # how uvicorn ends when the application does not start
        if gateway.failure is None:
            raise
        raise gateway.failure from None
    finally:
        gateway.journal.close()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        PortTakenError: Another program listens there.
        LocalCloudError: The address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"port {port} of {host} is taken", hint="Choose another with --port.") from error
        raise LocalCloudError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    # Accepted connections inherit it: else a token may wait 40 ms for the acknowledgement of the one before.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def inherited(number: int) -> socket.socket:
    """The socket that a parent process has opened."""
    listener = socket.socket(fileno=number)
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop, where it is installed: a sixth less CPU a request."""
    if sys.platform == "win32":
        return None
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _ignored(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing."""


class _Server(uvicorn.Server):
    """uvicorn's server, with a drain before its shutdown."""

    def __init__(self, gateway: Gateway, listener: socket.socket, started: Callable[[str], None]) -> None:
        drain = gateway.config.drain
        super().__init__(_settings(gateway, drain))
        self._gateway = gateway
        self._drain = drain
        self._address = url_of(listener)
        self._told = started
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # What is loaded by now stays: the garbage collector need not look through it while somebody waits for a token.
        gc.collect()
        gc.freeze()
        if self.started:
            self._told(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends it at once."""
        if self._loop is None or self._draining is not None or not self.started:
            super().handle_exit(sig, frame)
            self._gateway.cut_all()
            return
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        if self._draining is None:
            self._gateway.pages.draining = True
            self._draining = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        await asyncio.sleep(self._drain.notice_s)
        self.should_exit = True
        await asyncio.sleep(self._drain.finish_s)
        self._gateway.cut_all()


def _settings(gateway: Gateway, drain: Drain) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http=JoiningProtocol,
        loop="none",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(drain.finish_s) + _LAST_WORDS_S,
        backlog=_BACKLOG,
    )
