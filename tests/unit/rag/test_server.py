"""A Qdrant server that is down, slow, wrong or full of errors: one clear error, and nothing left open."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from llm_deploy.errors import IndexUnavailableError, LlmDeployError, NotFoundError
from llm_deploy.rag.config import StoreConfig
from llm_deploy.rag.connection import ServerConnection
from llm_deploy.rag.index import PassageIndex, Question
from llm_deploy.rag.passages import Hit

DESCRIPTORS = Path("/proc/self/fd")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(status: str, body: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    writer.close()


@asynccontextmanager
async def server(handle: Handler) -> AsyncIterator[str]:
    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()


async def ask(url: str, *, key: str | None = None) -> list[Hit]:
    store = StoreConfig.model_validate({"url": url, "api_key": key, "timeout_s": 1})
    connection = ServerConnection(store)
    index = PassageIndex(connection, "docs", embedding="words", dimensions=2, store=store)
    try:
        return await index.search([Question([1.0, 0.0])], 3)
    finally:
        await connection.aclose()


@pytest.mark.row("T7")
@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (answering("500 Oops", b'{"status":{"error":"no disk"}}'), "500.*no disk"),
        (answering("503 Busy", b""), "503"),
        (answering("401 No", b""), "does not accept the API key"),
        (answering("200 OK", b"<html>"), "does not answer"),
        (answering("200 OK", b'{"result": 3}'), "does not answer"),
        (silent, "does not answer"),
        (cutting, "does not answer"),
    ],
    ids=["500", "503", "401", "html", "another API", "silent", "cut"],
)
def test_a_failing_server_is_one_clear_error(handle: Handler, said: str) -> None:
    """With the server's address and what it said, and never the key."""

    async def main() -> LlmDeployError:
        async with server(handle) as url:
            with pytest.raises(IndexUnavailableError, match=said) as caught:
                await ask(url, key="very-secret")
            assert url in caught.value.message
            return caught.value

    error = asyncio.run(main())
    assert "very-secret" not in f"{error.message}{error.hint}{error.__cause__}"


@pytest.mark.row("T7")
def test_no_server_is_one_clear_error() -> None:
    """Connection refused: what to look at."""
    with pytest.raises(IndexUnavailableError, match="does not answer") as caught:
        asyncio.run(ask("http://127.0.0.1:9"))
    assert "store.url" in (caught.value.hint or "")


def test_a_missing_collection_is_not_found() -> None:
    """The server's 404 is no failure of the server."""

    async def main() -> None:
        async with server(answering("404 Not Found", b'{"status":{"error":"Collection `docs` not found"}}')) as url:
            with pytest.raises(NotFoundError, match="docs"):
                await ask(url)

    asyncio.run(main())


def test_failures_leave_no_connection_open() -> None:
    """Thirty failed searches end with as many open files as before, and nothing unclosed is collected."""

    async def main() -> None:
        async with server(answering("500 Oops", b"")) as url:
            await _fails(url)
            before = _open_files()
            for _ in range(30):
                await _fails(url)
            await asyncio.sleep(0.05)
            gc.collect()
            assert _open_files() <= before + 2

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(main())


def _open_files() -> int:
    return len(list(DESCRIPTORS.iterdir()))


async def _fails(url: str) -> None:
    with pytest.raises(IndexUnavailableError):
        await ask(url)


def test_the_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Qdrant wants it; a file need not hold it."""
    monkeypatch.setenv("LLMDEPLOY_QDRANT_API_KEY", "very-secret")
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def main() -> None:
        async with server(handle) as url:
            await _fails(url)

    asyncio.run(main())
    assert b"api-key: very-secret" in heads[0].lower()
