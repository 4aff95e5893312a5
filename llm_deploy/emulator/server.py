"""One local cloud as a process: its lock, its port, its announcement, its end."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from llm_deploy.emulator import __version__
from llm_deploy.emulator.assembly import new_app, new_cloud
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import CloudSettings

HOST = "127.0.0.1"
ANNOUNCEMENT = "cloud.json"
LOCK = "cloud.lock"
KEEP_ALIVE_S = 75
"""Longer than a client thinks between two calls: one that reuses a connection as it is closed sees an error."""
SHUTDOWN_S = 2
"""How long open requests may go on after a stop was asked for."""


class CannotStartError(Exception):
    """The cloud cannot start; the text is one line for a person."""


async def run(settings: CloudSettings) -> None:
    """Run one cloud until SIGTERM, SIGINT or `POST /_local/stop`.

    Raises:
        CannotStartError: The port or the state directory is taken, or the directory cannot be written.
    """
    with _locked(settings.state_dir), _listening(settings.port) as listener:
        try:
            # Port 0 stands for any free one: the services behind the cloud have to know which.
            cloud = new_cloud(replace(settings, port=listener.getsockname()[1]))
        except sqlite3.Error as error:
            raise CannotStartError(f"cannot use the state in {settings.state_dir}: {error}") from error
        try:
            await _serve(cloud, listener)
        finally:
            cloud.store.close()


async def _serve(cloud: Cloud, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cloud.stopping.set)
    server = _Server(_config(cloud))
    announcement = cloud.settings.state_dir / ANNOUNCEMENT
    await cloud.start()
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has a flag and no event
            await asyncio.sleep(0.005)
        if not server.started:
            raise CannotStartError("the HTTP server ended before it listened")
        try:
            _announce(announcement, cloud.settings, listener)
        except OSError as error:
            raise CannotStartError(f"cannot write {announcement}: {error.strerror}") from error
        stopping = asyncio.create_task(cloud.stopping.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    finally:
        announcement.unlink(missing_ok=True)
        server.should_exit = True
        await serving
        await cloud.stop()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: what a signal means is decided here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(cloud: Cloud) -> uvicorn.Config:
    return uvicorn.Config(
        new_app(cloud),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _announce(path: Path, settings: CloudSettings, listener: socket.socket) -> None:
    """Say that the cloud is ready, and where. Atomic: whoever sees the file sees all of it."""
    port = listener.getsockname()[1]
    body = {
        "pid": os.getpid(),
        "port": port,
        "url": f"http://{HOST}:{port}",
        "region": settings.region,
        "account": settings.account,
        "speed": settings.speed,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(body, file)
    draft.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Kept open, and never removed: a lock file that is deleted can be locked twice.
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise CannotStartError(f"cannot write to {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStartError(f"another local cloud already runs on {folder}") from error
        with suppress(OSError):
            (folder / ANNOUNCEMENT).unlink()  # left by one that was killed
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # The protocol is named because asyncio turns Nagle's algorithm off only then: else every answer on a kept
    # connection waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(512)
        except OverflowError as error:
            raise CannotStartError(f"{port} is no port number") from error
        except OSError as error:
            cause = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise CannotStartError(f"port {port} on {HOST} {cause}") from error
        yield listener
