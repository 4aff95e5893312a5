"""The backend's child process: started beside the cloud, watched, started again when it dies, never left behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from llm_deploy.emulator.backend.guard import KEY_VARIABLE
from llm_deploy.emulator.backend.services import BackendSettings, child_environment

STOP_TIMEOUT_S = 3.0
RESTARTS, RESTART_WINDOW_S = 5, 60.0
"""A child that dies more often than this is not started again; its log says why."""


class BackendProcess:
    """Owns the listening socket and the child that serves it.

    The socket belongs to this process and the child inherits it. So the address is known before the child is up,
    requests that come early wait in the kernel's queue instead of being refused, and a restart keeps the address.

    Attributes:
        failure: Why the child was given up; `None` while it runs or is started again.
        key: What a request must carry in `guard.KEY_HEADER`.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.failure: str | None = None
        self.key = secrets.token_hex(16).encode()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the child's socket."""
        host, port = self._listener.getsockname()
        return host, port

    @property
    def pid(self) -> int | None:
        """Process id of the running child."""
        return None if self._child is None else self._child.pid

    @property
    def log_path(self) -> Path:
        """What the child wrote."""
        return self.settings.state_dir / "ministack.log"

    async def __aenter__(self) -> Self:
        """Start the child and come back at once; see `failure` for whether it could not be kept running."""
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the child."""
        await self.stop()

    def start(self) -> None:
        """Start the child and its watcher; needs a running event loop."""
        self._spawn()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End the child: kindly first (it drains and saves), then not."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._child is not None:
            self._child.terminate()
            await asyncio.to_thread(self._reap)
        self._listener.close()

    def _spawn(self) -> None:
        self.settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "llm_deploy.emulator.backend", "--path", str(self.settings.path)]
        with self._open_log() as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, "--fd", str(fd)],
                stdin=subprocess.PIPE,  # held open, never written: its end tells the child that we are gone
                stdout=log,
                stderr=log,
                pass_fds=(fd,),
                env=child_environment(self.settings, dict(os.environ)) | {KEY_VARIABLE: self.key.decode()},
            )

    def _open_log(self) -> IO[bytes]:
        return self.log_path.open("wb")

    async def _watch(self) -> None:
        """Start the child again when it ends; give up, with the reason in `failure`, when that does not help."""
        ends: list[float] = []
        while self._child is not None:
            code = await asyncio.to_thread(self._child.wait)
            now = time.monotonic()
            ends = [*(end for end in ends if now - end < RESTART_WINDOW_S), now]
            if len(ends) > RESTARTS:
                self.failure = f"the backend ended {len(ends)} times (exit code {code}): {self._last_words()}"
                self._listener.close()  # resets the connections that wait for a child, so that they hear of it
                return
            await asyncio.sleep(0.1 * len(ends))
            self._spawn()

    def _last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    def _reap(self) -> None:
        child = self._child
        if child is None:
            return
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()
