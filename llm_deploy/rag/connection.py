"""The way to Qdrant: embedded in this process, or a server by URL. Its errors are translated here.

Embedded Qdrant blocks for as long as a search takes, and one process at a time may open it. All of it runs in a thread
of its own, never on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

from llm_deploy.errors import IndexUnavailableError, MissingExtraError, NotFoundError
from llm_deploy.rag.config import StoreConfig

Engine = Literal["edge", "local"]

MOST_WAITING = 64
"""Calls that may wait for the one thread; more are refused at once."""
_NOT_FOUND, _UNAUTHORISED = 404, {401, 403}
_LONGEST_ANSWER_SHOWN = 300


class Connection(Protocol):
    """Calls of Qdrant's client by name, on an event loop."""

    embedded: bool
    indexes_payload: bool
    where: str

    async def call(self, method: str, /, **arguments: Any) -> Any:  # noqa: ANN401 - Qdrant's own types
        """What the method of `QdrantClient` gives.

        Raises:
            IndexUnavailableError: It cannot be reached, is busy, or failed.
            NotFoundError: There is no such collection.
        """

    async def aclose(self) -> None:
        """Let go of the index; harmless when called again."""


def connect(store: StoreConfig) -> Connection:
    """A connection that opens itself with the first call; nothing is imported or asked here."""
    if store.url:
        return ServerConnection(store)
    return EmbeddedConnection(store.folder(), engine=store.engine)


class EmbeddedConnection:
    """An index under a folder of this user's alone, in a thread of its own.

    Args:
        folder: Made when it is opened.
        engine: `edge`: Qdrant's engine. `local`: its client's local mode, in Python, which reads all into memory when
            it is opened, as objects that may bring code along: never open a folder from elsewhere.
    """

    embedded = True

    def __init__(self, folder: Path, *, engine: Engine = "edge") -> None:
        self.where = f"the embedded index {folder}"
        self.indexes_payload = engine == "edge"
        self._engine = engine
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qdrant")
        self._client: Any = None
        self._waiting = 0
        self._closed = False

    async def call(self, method: str, /, **arguments: Any) -> Any:  # noqa: ANN401 - see `Connection`
        """See `Connection.call`."""
        if self._closed:
            raise IndexUnavailableError(f"{self.where} was closed")
        if self._waiting >= MOST_WAITING:
            raise IndexUnavailableError(
                f"{self.where} is busy: {MOST_WAITING} calls wait for it", hint="A Qdrant server takes more at once."
            )
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(self._call, method, arguments))
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """See `Connection.aclose`."""
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._thread.submit(self._close))
            self._thread.shutdown(wait=False)

    def _call(self, method: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
        with _translated(self.where):
            if self._client is None:
                self._client = self._open()
            return getattr(self._client, method)(**arguments)

    def _open(self) -> Any:  # noqa: ANN401 - as above
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _open_edge(self._folder) if self._engine == "edge" else _open_local(self._folder)
        except BlockingIOError as error:
            raise IndexUnavailableError(
                f"{self.where} is in use: one process at a time can open it, and another has it now",
                hint="Stop the gateway (or the other command), ask it over HTTP instead, or run a Qdrant server and "
                "set store.url.",
            ) from error

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class ServerConnection:
    """A Qdrant server over HTTP. A cancelled call closes its connection."""

    embedded = False
    indexes_payload = True

    def __init__(self, store: StoreConfig) -> None:
        self.where = f"the Qdrant server {store.url}"
        self._store = store
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, /, **arguments: Any) -> Any:  # noqa: ANN401 - see `Connection`
        """See `Connection.call`."""
        with _translated(self.where):
            client = await self._opened()
            return await getattr(client, method)(**arguments)

    async def aclose(self) -> None:
        """See `Connection.aclose`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _opened(self) -> Any:  # noqa: ANN401 - as above
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._new)
            return self._client

    def _new(self) -> Any:  # noqa: ANN401 - as above
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a key over plain HTTP, which is right on 127.0.0.1
            return _library().AsyncQdrantClient(
                url=self._store.url,
                api_key=self._store.key(),
                timeout=max(1, round(self._store.timeout_s)),
                check_compatibility=False,  # it would ask the server here, and print
            )


def _open_edge(folder: Path) -> Any:  # noqa: ANN401 - as above
    from llm_deploy.rag.edge import EdgeShards  # noqa: PLC0415 - one engine is used

    return EdgeShards(folder)


def _open_local(folder: Path) -> Any:  # noqa: ANN401 - as above
    from llm_deploy.rag.localmode import open_local  # noqa: PLC0415 - as above

    return open_local(folder)


def _library() -> Any:  # noqa: ANN401 - as above
    try:
        import qdrant_client  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        raise MissingExtraError(
            "retrieval needs qdrant-client, not installed here", hint='Run: pip install "llm-deploy[rag]"'
        ) from error
    return qdrant_client


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    _library()
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse  # noqa: PLC0415 - as above

    try:
        yield
    except UnexpectedResponse as error:
        raise _refusal(where, error.status_code or 0, error.content) from error
    except ApiException as error:
        raise IndexUnavailableError(
            f"{where} does not answer: {str(error) or type(error).__name__}",
            hint="Does it run, and is store.url right?",
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise IndexUnavailableError(f"{where} cannot be read or written: {error}") from error
    except json.JSONDecodeError as error:
        raise IndexUnavailableError(f"{where} does not answer as Qdrant does: it sent no JSON") from error
    except ValueError as error:
        if "not found" in str(error):
            raise NotFoundError(f"{where}: {error}") from error
        raise IndexUnavailableError(f"{where} refused: {error}") from error


def _refusal(where: str, status: int, content: bytes) -> IndexUnavailableError | NotFoundError:
    text = content[:_LONGEST_ANSWER_SHOWN].decode("utf-8", "replace")
    if status == _NOT_FOUND:
        return NotFoundError(f"{where}: {text}")
    if status in _UNAUTHORISED:
        return IndexUnavailableError(f"{where} does not accept the API key", hint="Set LLMDEPLOY_QDRANT_API_KEY.")
    return IndexUnavailableError(f"{where} answered {status}: {text}")
