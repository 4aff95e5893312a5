"""Several processes on one socket, for more than one core. They share the database, so that keys need PostgreSQL."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from llm_deploy.errors import LocalCloudError, SpecError
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.gateway.state.config import resolved_url

_AGAIN_S: Final = 1.0
"""A worker that died is started again after this long."""


def check_shared(config: GatewayConfig, workers: int) -> None:
    """See that so many processes can share the state, and the index of documents.

    Raises:
        SpecError: They would share a SQLite file, or an embedded index.
    """
    if config.rag is not None and config.rag.store.url is None:
        raise SpecError(
            f"rag: the embedded index belongs to one process, and {workers} workers were asked for",
            hint="Take one worker, a Qdrant server (rag.store.url), or a gateway's file without a section rag:.",
        )
    if config.keys == "required":
        replicas = max(config.state.replicas, workers)
        resolved_url(config.state.model_copy(update={"replicas": replicas}))


@dataclass(slots=True)
class Workers:
    """Processes that serve one socket, started anew when they die, until a signal ends all of them.

    Attributes:
        command: Starts one; the socket's number is added.
    """

    command: Sequence[str]
    listener: socket.socket
    count: int
    _ending: threading.Event = field(default_factory=threading.Event)
    _alive: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, started: Callable[[], None]) -> None:
        """Serve until SIGTERM or Ctrl-C, of which a second one ends the workers at once.

        Args:
            started: Called when the first of all workers answer.

        Raises:
            LocalCloudError: One of the first workers did not start; it has said why.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        try:
            self._alive = [self._start() for _ in range(self.count)]
            if not all(map(_answers, self._alive)):
                raise LocalCloudError("a worker did not start; the lines above say why")
            started()
            while not self._ending.wait(_AGAIN_S):
                self._replace_the_dead()
        finally:
            for worker in self._alive:
                worker.terminate()
            for worker in self._alive:
                worker.wait()

    def _start(self) -> subprocess.Popen[str]:
        number = self.listener.fileno()
        command = [*self.command, "--socket", str(number)]
        # In a group of its own: Ctrl-C would reach it twice, from the terminal and from here, and end answers at once.
        return subprocess.Popen(  # noqa: S603 - our own program
            command, pass_fds=(number,), stdout=subprocess.PIPE, text=True, process_group=0
        )

    def _replace_the_dead(self) -> None:
        self._alive = [worker if worker.poll() is None else self._start() for worker in self._alive]

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        if self._ending.is_set():
            for worker in self._alive:
                worker.terminate()
        self._ending.set()


def _answers(worker: subprocess.Popen[str]) -> bool:
    """Wait for the line that a worker writes when it is there."""
    return worker.stdout is not None and bool(worker.stdout.readline())
