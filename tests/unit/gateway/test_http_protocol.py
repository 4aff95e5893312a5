"""What uvicorn leaves without a bound, over real sockets: heads, requests sent ahead, readers who take nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from llm_deploy.gateway import http_protocol
from llm_deploy.gateway.asgi import Receive, Scope, Send

ANSWER = b"x" * (16 * 1024 * 1024)


class Hasty(http_protocol.JoiningProtocol):
    """A connection whose clocks run out at once."""

    head_s = 0.2
    linger_s = 0.5


class Serving:
    """An application that answers with much, or waits; and what is connected to it."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.release = asyncio.Event()
        self.asked = 0
        self.port = 0

    async def app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer."""
        self.asked += 1
        if scope["path"] == "/wait":
            await self.release.wait()
        body = ANSWER if scope["path"] == "/much" else b"ok"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def let_go(self) -> bool:
        """Whether every connection has been let go of, within a moment."""
        for _ in range(200):
            if not self.state.connections:
                return True
            await asyncio.sleep(0.02)
        return False


@asynccontextmanager
async def serving(keep_alive_s: int = 60) -> AsyncIterator[Serving]:
    """A server of the protocol."""
    made = Serving()
    config = uvicorn.Config(
        made.app, http=Hasty, lifespan="off", log_config=None, timeout_keep_alive=keep_alive_s, interface="asgi3"
    )
    config.load()
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.Protocol:
        return Hasty(config=config, server_state=made.state, app_state={}, _loop=loop)

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.release.set()
        server.close()


async def connected(made: Serving) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has sent nothing yet."""
    opened = await asyncio.open_connection("127.0.0.1", made.port)
    while not made.state.connections:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)
    return opened


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: y"])
def test_a_head_that_does_not_end_is_not_waited_for(sent: bytes) -> None:
    """Whoever sends a byte a minute would hold a connection for ever, and needs no key for it."""

    async def go() -> bytes:
        async with serving() as made:
            reader, writer = await connected(made)
            writer.write(sent)
            async with asyncio.timeout(5):
                data = await reader.read()
            writer.close()
            return data

    assert asyncio.run(go()) == b""


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_that_asks_nothing_is_closed_as_an_idle_one(sent: bytes) -> None:
    """Before its first request too, and after empty lines."""

    async def go() -> bool:
        async with serving(keep_alive_s=0) as made:
            _, writer = await connected(made)
            writer.write(sent)
            gone = await made.let_go()
            writer.close()
            return gone

    assert asyncio.run(go())


@pytest.mark.parametrize("piece", [b"x-a: " + b"y" * 1000 + b"\r\n", b"y" * 1000])
def test_a_head_without_end_is_refused(piece: bytes) -> None:
    """Many headers or one that is long: memory is bounded before a key is asked for."""

    async def go() -> bytes:
        async with serving() as made:
            reader, writer = await connected(made)
            writer.write(b"GET / HTTP/1.1\r\nx-first: ")
            data = b"reset"
            with contextlib.suppress(ConnectionError):  # what is unread when a connection is closed resets it
                for _ in range(500):
                    writer.write(piece)
                    await writer.drain()
                async with asyncio.timeout(5):
                    data = await reader.read()
            assert not made.asked
            assert await made.let_go()
            writer.close()
            return data

    assert asyncio.run(go()) == b"reset" or asyncio.run(go()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_an_answer_that_nobody_reads_is_thrown_away(connection: str) -> None:
    """The answer waits in memory, and the system waits for its reader for ever."""

    async def go() -> bool:
        async with serving(keep_alive_s=0) as made:
            client = socket.create_connection(("127.0.0.1", made.port))
            request = f"GET /much HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(_unblocked(client), request.encode())
            while not made.asked:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            gone = await made.let_go()
            client.close()
            return gone

    assert asyncio.run(go())


def test_an_answer_that_is_read_slowly_is_not_cut() -> None:
    """As long as its reader takes something of it."""

    async def go() -> int:
        async with serving() as made:
            reader, writer = await connected(made)
            writer.write(b"GET /much HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            total = 0
            while data := await reader.read(1024 * 1024):
                total += len(data)
                await asyncio.sleep(0.005)
            writer.close()
            return total

    assert asyncio.run(go()) > len(ANSWER)


def test_requests_sent_ahead_are_bounded() -> None:
    """A few are answered in their order; a connection that sends thousands is dropped."""

    async def go(count: int) -> bytes:
        async with serving() as made:
            reader, writer = await connected(made)
            writer.write(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n" * count)
            asyncio.get_running_loop().call_later(0.1, made.release.set)
            data = b""
            try:
                async with asyncio.timeout(5):
                    while data.count(b"ok") < count and (part := await reader.read(65536)):
                        data += part
            except ConnectionResetError:
                pass
            writer.close()
            return data

    assert asyncio.run(go(5)).count(b"ok") == 5
    assert asyncio.run(go(2000)) == b""


def _unblocked(client: socket.socket) -> Any:  # noqa: ANN401 - the loop's own type
    client.setblocking(False)
    return client
