"""The server as a process: socket, port file, loading in the background, signals, and no life after its parent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

import uvicorn

from llm_deploy.errors import LlmDeployError, LocalCloudError
from llm_deploy.serving.admission import Admission
from llm_deploy.serving.app import ModelServer
from llm_deploy.serving.contract import Contract, DialectName
from llm_deploy.serving.embedding import EmbeddingEngine
from llm_deploy.serving.embedding_app import EmbeddingLimits, EmbeddingServer
from llm_deploy.serving.engine import Engine
from llm_deploy.serving.generation import Generator
from llm_deploy.serving.journal import Journal, logger

_DRAIN_S = 2
_KEEP_ALIVE_S = 75  # longer than the 60 s after which load balancers drop an idle connection
_BACKLOG = 2048
_HARD_EXIT_S = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen. Port 0 is any free one; `port_file` gets the number as soon as connections are accepted."""

    host: str
    port: int
    port_file: Path | None = None


class Loadable(Protocol):
    """An engine, as far as a process is concerned with it."""

    def load(self) -> None:
        """Load the model; blocks."""

    def close(self) -> None:
        """Release everything."""

    def remove_socket(self) -> None:
        """Remove the engine's private socket, and nothing else."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a process serves.

    Attributes:
        app: The ASGI application.
        about: What the log says of it, in one line.
        loaded: What the log says when its model is loaded.
    """

    app: ModelServer | EmbeddingServer
    engine: Loadable
    about: str
    loaded: str


def generation(engine: Engine, contract: Contract, *, model: str, dialect: DialectName) -> Service:
    """A server of generated text."""
    limits = contract.limits(engine.facts.context_tokens)
    if cut := contract.cut(limits):
        logger.warning("%s", cut)
    capacity = contract.max_concurrent_requests
    admission = Admission(parallel=engine.facts.parallel, capacity=capacity)
    app = ModelServer(
        Generator(engine, limits, admission, Journal(time.monotonic), model),
        dialect=dialect,
        payload_bytes=contract.payload_bytes,
        max_concurrent_requests=capacity,
    )
    facts = engine.facts
    loaded = f"{facts.model}, {facts.parallel} slots of {facts.context_tokens} tokens"
    return Service(app, engine, f"dialect={dialect} model={model}", loaded)


def embedding(engine: EmbeddingEngine, limits: EmbeddingLimits, *, model: str) -> Service:
    """A server of embeddings and ranks."""
    app = EmbeddingServer(engine, limits, Journal(time.monotonic), model=model)
    loaded = f"{engine.model}, {engine.dimensions} dimensions, {engine.max_tokens} tokens a text"
    return Service(app, engine, f"embeddings model={model}", loaded)


def serve(service: Service, place: Place) -> int:
    """Serve until a signal ends it; return the exit code.

    `/ping` is 200 once the model is loaded. SIGTERM and SIGINT give running answers two seconds.

    Raises:
        LocalCloudError: The port is taken.
        LlmDeployError: The model cannot be loaded.
    """
    listener = listen(place)
    host, port = listener.getsockname()[:2]
    logger.info("listening on http://%s:%s %s", host, port, service.about)
    failure = _run(service, listener)
    if failure is not None:
        raise failure
    return 0


def _run(service: Service, listener: socket.socket) -> LlmDeployError | None:
    """Run the event loop; return what went wrong with loading."""
    server = uvicorn.Server(
        uvicorn.Config(
            service.app,
            http="httptools",
            loop="asyncio",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            backlog=_BACKLOG,
        )
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn restores these and raises the signal again when it is done; by then they do no harm.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    failures: list[LlmDeployError] = []
    asyncio.run(_serve_and_load(server, service, listener, failures))
    _close(service.engine)
    return failures[0] if failures else None


async def _serve_and_load(
    server: uvicorn.Server, service: Service, listener: socket.socket, failures: list[LlmDeployError]
) -> None:
    loading = asyncio.create_task(_load(server, service, failures))
    await server.serve(sockets=[listener])
    await loading


async def _load(server: uvicorn.Server, service: Service, failures: list[LlmDeployError]) -> None:
    started_s = time.monotonic()
    try:
        await asyncio.to_thread(service.engine.load)
    except LlmDeployError as error:
        failures.append(error)
        server.should_exit = True
        return
    logger.info("model loaded in %.1f s: %s", time.monotonic() - started_s, service.loaded)


def _close(engine: Loadable) -> None:
    """Close the engine, but not for ever: an engine that hangs must not keep a copy from being replaced."""
    timer = threading.Timer(_HARD_EXIT_S, os._exit, args=(1,))
    timer.daemon = True
    timer.start()
    engine.close()
    timer.cancel()


def listen(place: Place) -> socket.socket:
    """Open the socket and write the port file.

    Raises:
        LocalCloudError: The port is taken, or the address is not this machine's.
    """
    try:
        listener = socket.create_server((place.host, place.port), backlog=_BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "the port is taken" if taken else (error.strerror or str(error))
        raise LocalCloudError(
            f"Cannot listen on {place.host}:{place.port}: {why}.",
            hint="Choose another with --port, or --port 0 for any free one." if taken else None,
        ) from error
    listener.setblocking(False)
    # Accepted connections inherit it: else Nagle's algorithm may hold a token back for 40 ms, until the client has
    # acknowledged the one before.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if place.port_file is not None:
        partial = place.port_file.with_name(f".{place.port_file.name}.{os.getpid()}")
        partial.write_text(f"{listener.getsockname()[1]}\n")
        partial.replace(place.port_file)
    return listener


def exit_with_parent(clean_up: Callable[[], None]) -> None:
    """End this process when its standard input ends, which happens however the parent dies.

    The exit is immediate: `clean_up` runs (it removes the engine's socket), generations do not finish.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        clean_up()
        os._exit(0)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()


def set_up_log() -> None:
    """Write this server's log to standard error, one line an event, as container logs want it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logger.setLevel(logging.INFO)
