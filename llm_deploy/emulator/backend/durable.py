"""Every answered change is on disk: MiniStack saves its state only when it is stopped kindly; we save as we go.

The save happens after the handler has run and before the last byte of the answer leaves, so whoever has read the
answer may kill the process. A service's state is written only when it differs from what was written last.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

from llm_deploy.emulator.backend.services import SERVICES

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STACK_POLL_S = 0.25
"""How often state is saved while CloudFormation works on its own, after its request has been answered."""


class StateSaver:
    """Writes what has changed in the services' states.

    Args:
        ministack: The module `ministack.app`.
        persistence: The module `ministack.core.persistence`.
    """

    def __init__(self, ministack: ModuleType, persistence: ModuleType) -> None:
        self._ministack = ministack
        self._persistence = persistence
        self._written: dict[str, bytes] = {}

    def save(self) -> None:
        """Write the state of every loaded service that differs from its last written state."""
        getters = self._ministack._build_persistence_save_dict()  # noqa: SLF001 - no public way; pinned by hash
        for name in SERVICES & getters.keys():
            state = getters[name]()
            if state:
                self._save_one(name, state)

    def version(self, name: str) -> str:
        """A text that changes with a service's written state."""
        return self._written.get(name, b"").hex()

    def _save_one(self, name: str, state: dict[str, Any]) -> None:
        encoded = json.dumps(state, default=self._persistence._json_default, sort_keys=True)  # noqa: SLF001 - as above
        digest = hashlib.sha256(encoded.encode()).digest()
        if self._written.get(name) != digest:
            self._persistence.save_state(name, state)
            self._written[name] = digest


class Durable:
    """The ASGI application with a save before the end of every answer that may have changed something."""

    def __init__(self, app: App, saver: StateSaver, *, stacks_in_progress: Callable[[], bool]) -> None:
        self._app = app
        self._saver = saver
        self._stacks_in_progress = stacks_in_progress
        self._follower: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return

        async def send_saved(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._saver.save()
            await send(message)

        await self._app(scope, receive, send_saved)
        self._follow_stacks()

    def _follow_stacks(self) -> None:
        """CloudFormation makes its resources after it has answered; keep saving until it is done."""
        idle = self._follower is None or self._follower.done()
        if idle and self._stacks_in_progress():
            self._follower = asyncio.create_task(self._save_until_settled())

    async def _save_until_settled(self) -> None:
        while self._stacks_in_progress():
            await asyncio.sleep(STACK_POLL_S)
            self._saver.save()


def forget_temporary_files(state_dir: Path) -> None:
    """Remove half-written files that a SIGKILL during a save has left; the file before it is whole."""
    for leftover in state_dir.glob("*.json.tmp"):
        leftover.unlink(missing_ok=True)
