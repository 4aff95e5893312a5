"""What a container is to the rest of the cloud, and the process that plays one.

The contract of the command that plays a container: it is given `--host --port 0 --port-file --dialect
--served-model-name --exit-with-parent`, writes its port to the file once it listens, answers `GET /ping` with 200 once
its model is loaded, and exits when its standard input ends, so that it cannot outlive the cloud.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"
PING_TIMEOUT_S = 2.0
"""Source: "Your own inference code with hosting services", AWS: the answer to /ping is awaited for two seconds."""
POLL_S = 0.03
"""Real seconds between two looks at a starting container."""
MAX_LINE_BYTES = 16 * 1024
STOP_S = 3.0
"""Real seconds between SIGTERM and SIGKILL. AWS gives 30; a person at a terminal should not wait that long."""
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What one copy runs.

    Attributes:
        dialect: What the image's engine speaks on /invocations: `tgi`, `openai`, `lmi` or `tei`.
        served_name: The model's name as the engine reports it.
        environment: The container's own variables.
        log_group: Where its output goes; empty: nowhere.
        stands_in_for: The model that was asked for, when the local one is another; else `None`.
        local_model: The model that really runs.
    """

    dialect: str
    served_name: str
    environment: Mapping[str, str] = field(repr=False)
    log_group: str = ""
    stands_in_for: str | None = None
    local_model: str = ""


class Container(Protocol):
    """One running container."""

    async def ready(self) -> int:
        """Wait until it answers its health check; its port on 127.0.0.1. For ever, if it never does."""

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""

    async def stop(self) -> None:
        """End it, the hard way when it does not listen."""


class Launcher(Protocol):
    """Starts containers. A fake one makes the state machines testable without processes."""

    async def launch(self, spec: ContainerSpec, name: str, on_line: Callable[[str], None]) -> Container:
        """Start one; `on_line` gets each line of its output. Raises OSError when there is nothing to start."""


class ProcessLauncher:
    """Starts the model server's command as a child process for each container."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self._command = command
        self._folder = folder

    def clear(self) -> None:
        """Remove the working folders that a killed cloud left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def launch(self, spec: ContainerSpec, name: str, on_line: Callable[[str], None]) -> Container:
        """See `Launcher`."""
        if not self._command:
            raise OSError("the local cloud was started without --model-server, so no container can run")
        home = self._folder / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, mode=0o700)
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *_arguments(spec, home / "port"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=home,
            env=_environment(spec, home),
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        return ProcessContainer(process, home, on_line)


class ProcessContainer:
    """A container that is a child process."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path, on_line: Callable[[str], None]) -> None:
        self._process = process
        self._home = home
        self._reader = asyncio.create_task(self._read(on_line))

    async def ready(self) -> int:
        """See `Container.ready`."""
        while (port := self._port()) is None or not await _ping(port):  # noqa: ASYNC110 - another process is polled
            await asyncio.sleep(POLL_S)
        return port

    async def wait(self) -> int:
        """See `Container.wait`. All output has been read when it returns."""
        code = await self._process.wait()
        # A grandchild may hold the pipe open; it is not waited for.
        await asyncio.wait({self._reader}, timeout=1.0)
        return code

    async def stop(self) -> None:
        """See `Container.stop`."""
        if self._process.stdin:
            self._process.stdin.close()
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STOP_S)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        self._reader.cancel()
        shutil.rmtree(self._home, ignore_errors=True)

    def _port(self) -> int | None:
        try:
            return int((self._home / "port").read_text())
        except (OSError, ValueError):
            return None

    def _signal(self, number: int) -> None:
        # The whole group: an engine may have processes of its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        rest = b""
        while chunk := await self._process.stdout.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r"))
        if rest:
            on_line(rest.decode("utf-8", "replace"))


async def _ping(port: int) -> bool:
    with suppress(OSError, TimeoutError, ValueError, asyncio.LimitOverrunError):
        async with asyncio.timeout(PING_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"GET /ping HTTP/1.1\r\nhost: container\r\nconnection: close\r\n\r\n")
                status = await reader.readline()
                return status.split(b" ", 2)[1:2] == [b"200"]
            finally:
                writer.close()
    return False


def _arguments(spec: ContainerSpec, port_file: Path) -> list[str]:
    return [
        *("--host", HOST, "--port", "0", "--port-file", str(port_file)),
        *("--dialect", spec.dialect, "--exit-with-parent"),
        # With "=", because the name is the user's and may begin with a dash.
        f"--served-model-name={spec.served_name}",
    ]


def _environment(spec: ContainerSpec, home: Path) -> dict[str, str]:
    """A container sees what its image would give it and its own variables: nothing of who runs the cloud."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), "PYTHONUNBUFFERED": "1", **spec.environment}


def _die_with_parent() -> None:
    """Ask Linux to kill this child when the cloud dies; the belt to the braces of the closed standard input."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC = ctypes.CDLL(None)
"""Loaded before any fork: loading a library between fork and exec may deadlock."""
