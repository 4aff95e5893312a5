"""A model in the gateway's own process: the model server's application, called instead of connected to.

Monolith or microservice is a line of the configuration: `engine: smollm2` here, `url: http://...` there. Both speak
the same routes, so nothing else of the gateway knows the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llm_deploy.dialects.failures import model_error
from llm_deploy.errors import MissingExtraError, SpecError, StreamBrokenError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.asgi import App, Message
from llm_deploy.gateway.asked import Kind
from llm_deploy.gateway.backends import Backend, Lane

if TYPE_CHECKING:
    from llm_deploy.serving.engine import Engine

_MOST_HELD_BYTES: Final = 64 * 1024
_WAITING_PER_SLOT: Final = 16
_OK: Final = 200
_HEADERS: Final = [(b"content-type", b"application/json")]


class ApplicationTransport:
    """An `AsyncTransport` to one path of an ASGI application in this process."""

    def __init__(self, application: Callable[[], App], path: str) -> None:
        self._application = application
        self._path = path

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        opened = await self.stream(body)
        parts: list[bytes] = []
        try:
            while part := await opened.read():
                parts.append(part)
        finally:
            await opened.aclose()
        return b"".join(parts)

    async def stream(self, body: bytes) -> _Exchange:
        """See `AsyncTransport.stream`."""
        exchange = _Exchange(body)
        scope = {"type": "http", "method": "POST", "path": self._path, "headers": _HEADERS}
        exchange.run(self._application(), scope)
        try:
            status = await exchange.head()
            if status == _OK:
                return exchange
            text = await exchange.all_text()
        except BaseException:
            await exchange.aclose()
            raise
        await exchange.aclose()
        raise model_error(text, status=status, where="the server")

    async def aclose(self) -> None:
        """Nothing to close: the engine is its backend's."""


class _Exchange:
    """One request to the application, and its answer as it is made; an `AsyncOpenStream`.

    The application waits while more is held than a reader should leave behind.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._status: int | None = None
        self._complete = False
        self._task: asyncio.Task[None] | None = None

    def run(self, application: App, scope: dict[str, Any]) -> None:
        """Start the application's work on it."""

        async def work() -> None:
            try:
                await application(scope, self._receive, self._send)
            finally:
                self._changed.set()

        self._task = asyncio.create_task(work())

    async def head(self) -> int:
        """The answer's status."""
        while self._status is None and not self._ended():
            await self._change()
        if self._status is None:
            raise self._broken()
        return self._status

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`."""
        while not self._held:
            if self._complete:
                return b""
            if self._ended():
                raise self._broken()
            await self._change()
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._room.set()
        return data

    async def all_text(self) -> str:
        """The rest of the body, as text."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts).decode(errors="replace")

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`: the application is told that its client left."""
        self._left.set()
        self._room.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _ended(self) -> bool:
        return self._task is None or self._task.done()

    def _broken(self) -> StreamBrokenError:
        return StreamBrokenError("the model in this process ended before its answer was whole")

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            body = message.get("body", b"")
            if body:
                self._held.append(body)
                self._held_bytes += len(body)
            self._complete = not message.get("more_body")
        self._changed.set()
        if self._held_bytes > _MOST_HELD_BYTES and not self._left.is_set():
            self._room.clear()
            await self._room.wait()


def engine_backend(given: documents.Backend, health: documents.Health) -> Backend:
    """A backend whose engine is loaded when the gateway starts, and closed with it.

    Raises:
        MissingExtraError: The extra `serve` is not installed.
        SpecError: No such model.
    """
    holder = _EngineHolder(given)
    paths: dict[Kind, str] = {
        "chat": "/v1/chat/completions",
        "completion": "/v1/completions",
        "generate": "/v1/completions",
    }
    lanes = {kind: Lane(ApplicationTransport(holder.application, path), "openai") for kind, path in paths.items()}
    place = given.engine or ""
    return Backend(
        place, lanes, given.weight, None, health, start=holder.start, stop=holder.stop, ready=holder.ready
    )  # fmt: skip


class _EngineHolder:
    """One engine and the application over it."""

    def __init__(self, given: documents.Backend) -> None:
        self._given = given
        self._engine: Engine | None = None
        self._application: App | None = None

    def application(self) -> App:
        """The model server's application; before `start` there is none."""
        if self._application is None:
            raise StreamBrokenError("the engine has not been started")
        return self._application

    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._engine is not None and self._engine.ready

    async def start(self) -> None:
        """Fetch and load the model."""
        self._engine, self._application = await asyncio.to_thread(_opened, self._given)

    async def stop(self) -> None:
        """Close the engine."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.close)


def _opened(given: documents.Backend) -> tuple[Engine, App]:
    try:
        from llm_deploy.serving.admission import Admission  # noqa: PLC0415 - needs the extra `serve`
        from llm_deploy.serving.app import ModelServer  # noqa: PLC0415 - as above
        from llm_deploy.serving.contract import DEFAULT_CONTEXT_TOKENS  # noqa: PLC0415 - as above
        from llm_deploy.serving.generation import Generator  # noqa: PLC0415 - as above
        from llm_deploy.serving.journal import Journal  # noqa: PLC0415 - as above
        from llm_deploy.serving.llamacpp import LlamaCpp  # noqa: PLC0415 - as above
        from llm_deploy.serving.shapes.asked import Limits  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtraError(
            f"an engine in this process cannot be imported: {error}", hint="pip install 'llm-deploy[serve]'"
        ) from error
    path, name = _model_file(given.engine or "")
    engine = LlamaCpp(path, context_tokens=given.context or DEFAULT_CONTEXT_TOKENS, parallel=given.parallel)
    engine.load()
    total = engine.facts.context_tokens
    capacity = given.parallel * (1 + _WAITING_PER_SLOT)
    admission = Admission(parallel=engine.facts.parallel, capacity=capacity)
    generator = Generator(engine, Limits(total - 1, total), admission, Journal(time.monotonic), name)
    body_bytes = documents.Limits().body_bytes
    server = ModelServer(generator, dialect="tgi", payload_bytes=body_bytes, max_concurrent_requests=capacity)
    return engine, server


def _model_file(given: str) -> tuple[Path, str]:
    from llm_deploy.serving import models  # noqa: PLC0415 - as above

    path = Path(given)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise SpecError(f"there is no model file {given}")
        return path, path.stem.lower()
    with contextlib.suppress(KeyError):
        return models.pull(given), models.known(given).served_name
    raise SpecError(f"unknown model {given!r}", hint="`llmdeploy models list` shows the known ones.")
