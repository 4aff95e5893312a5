"""Answers on a connection that is kept come at once, not when the client's delayed acknowledgement comes (40 ms)."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import statistics
import time

from llm_deploy.serving.process import Place, listen
from tests.conftest import Terminal


def test_the_local_cloud_answers_at_once_on_a_kept_connection(local_cloud: Terminal) -> None:
    """A command asks several questions on one connection; Nagle's algorithm would hold each answer after the first."""
    port = json.loads(local_cloud.run("local", "status", "--json").out)["port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times_s = []
    for _ in range(15):
        started = time.perf_counter()
        connection.request("GET", "/_local/health")
        connection.getresponse().read()
        times_s.append(time.perf_counter() - started)
    assert statistics.median(times_s) < 0.035


def test_the_model_server_sends_each_token_at_once() -> None:
    """Every connection that it accepts has Nagle's algorithm off."""

    async def accepted() -> int:
        off = asyncio.get_running_loop().create_future()

        class Looks(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                own: socket.socket = transport.get_extra_info("socket")
                off.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                transport.close()

        listener = listen(Place("127.0.0.1", 0, None))
        server = await asyncio.get_running_loop().create_server(Looks, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            value: int = await asyncio.wait_for(off, 10)
            return value

    assert asyncio.run(accepted())
