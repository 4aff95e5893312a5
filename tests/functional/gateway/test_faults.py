"""What goes wrong between callers, gateway and models: clear errors, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from llm_deploy.gateway.app import build
from llm_deploy.gateway.config import GatewayConfig
from tests.conftest import Terminal
from tests.fakes.gateways import Browser, chat, chunks
from tests.functional.gateway.processes import Running, events, running, stub

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A stub of model servers."""
    with stub() as url:
        yield url


@pytest.fixture(scope="module")
def gateway(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of the stub."""
    folder = tmp_path_factory.mktemp("gateway")
    names = ("now", "p60-100", "b200000", "hang")
    document = {
        "keys": "off",
        "models": {name: {"backends": [{"url": f"{upstream}/{name}"}], "concurrency": 4096} for name in names},
        "limits": {"concurrency": 4096, "body_bytes": 4096},
        "logs": {"requests": False},
    }
    with running(Terminal(folder, {"LLMDEPLOY_HOME": str(folder)}), document) as it:
        yield it


def open_socket(url: str, data: bytes) -> socket.socket:
    """A connection on which this was sent."""
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=20)
    connection.sendall(data)
    return connection


def raw(body: bytes, path: str = CHAT) -> bytes:
    """A request in HTTP's words."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def until(true: Any, seconds: float = 20.0) -> None:  # noqa: ANN401 - a callable
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def upstream_open(upstream: str) -> int:
    """Streams that the stub is still sending."""
    stats: dict[str, int] = httpx.get(f"{upstream}/stats").json()
    return stats["open_streams"]


def test_an_upstream_that_is_cut_at_any_byte_ends_in_a_status_or_an_error_event() -> None:
    """Wherever the connection breaks: before the first token a 502, after it an event, whole only when it is whole."""
    asyncio.run(_cut_everywhere())


async def _cut_everywhere() -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks("ab", "c"))
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + body
        + b"0\r\n\r\n"
    )
    where = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer[: where[0]])
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    models = {"twin": {"backends": [{"url": url}]}}
    made = build(GatewayConfig.model_validate({"keys": "off", "logs": {"requests": False}, "models": models}))
    last = b'"finish_reason":"stop"}]}'
    finish = answer.index(last) + len(last)
    async with server, made.running():
        for place in range(0, len(answer) + 1, 3):
            where[0] = place
            browser = Browser(chat(stream=True))
            await asyncio.wait_for(browser.ask(made), 10)
            assert browser.complete
            _check_cut(browser, whole=place >= finish)
        assert made.metrics.in_flight == made.metrics.streams_open == 0
        assert not made.desk.open


def _check_cut(browser: Browser, *, whole: bool) -> None:
    if browser.status != 200:
        assert browser.status == 502
        assert json.loads(browser.text)["error"]["code"]
        return
    found = events(browser.text)
    assert all(each["model"] == "twin" for each in found if "model" in each)
    text = "".join(each["choices"][0]["delta"].get("content", "") for each in found if each.get("choices"))
    assert "abc".startswith(text)
    assert ("[DONE]" in browser.text) is whole
    assert ("error" in found[-1]) is not whole


def test_clients_that_leave_early_leave_nothing(gateway: Running, upstream: str) -> None:
    """Hundreds of clients go away in the middle of an answer: no stream, place, socket or slot stays."""
    leave(gateway, upstream, 300)


@pytest.mark.slow
def test_ten_thousand_clients_that_leave_early_leave_nothing(gateway: Running, upstream: str) -> None:
    """As above, and the memory stays flat."""
    leave(gateway, upstream, 1_000)
    before = gateway.resident_mib()
    leave(gateway, upstream, 10_000)
    assert gateway.resident_mib() < before + 20


def leave(gateway: Running, upstream: str, clients: int) -> None:
    """So many clients ask and go, some hundred at a time, a part of them before anything was answered."""
    gateway.get("/healthz")
    before = gateway.descriptors()
    dice = random.Random(7)  # noqa: S311 - a test's dice
    open_now: list[socket.socket] = []
    for _ in range(clients):
        name = dice.choice(["p60-100", "hang"])
        connection = open_socket(gateway.url, raw(chat(name, stream=dice.random() < 0.8)))
        open_now.append(connection)
        if len(open_now) >= 200:
            open_now.pop(dice.randrange(200)).close()
    for connection in open_now:
        connection.close()
    until(lambda: gateway.gauge("in_flight") == 0)
    assert gateway.gauge("streams_open") == 0
    until(lambda: upstream_open(upstream) == 0)
    until(lambda: gateway.descriptors() <= before + 4)
    assert gateway.post(CHAT, json.loads(chat("now"))).status_code == 200


def test_a_slow_reader_does_not_fill_the_memory(gateway: Running) -> None:
    """Thirty megabytes wait at the model, not in the gateway, until they are read; then they arrive whole."""
    gateway.get("/healthz")
    before = gateway.resident_mib()
    connection = open_socket(gateway.url, raw(chat("b200000", stream=True)))
    until(lambda: gateway.gauge("streams_open") == 1)
    time.sleep(1)
    assert gateway.resident_mib() < before + 16
    size, tail = 0, b""
    while not tail.endswith(b"0\r\n\r\n"):
        data = connection.recv(1 << 20)
        assert data
        size, tail = size + len(data), (tail + data)[-64:]
    assert size > 25_000_000
    assert b"[DONE]" in tail
    connection.close()
    until(lambda: gateway.gauge("streams_open") == 0)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (raw(b"x" * 5000), b"413"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
         + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 8 + b"0\r\n\r\n", b"413"),
        (raw(b"[" * 4000), b"400"),
        (raw(b'{"model": "now", "messages": [{"role": "user", "content": "\xff"}]}'), b"400"),
        (b"\x16\x03\x01 nonsense\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{}", b"403"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused_on_the_wire(gateway: Running, request_bytes: bytes, status: bytes) -> None:
    """Too large, declared or not; too deep; no text; no HTTP; for another host."""
    with open_socket(gateway.url, request_bytes) as connection:
        assert connection.recv(1024).split()[1] == status


def test_a_drain_lets_streams_finish_and_takes_nothing_new(upstream: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of streams: /readyz says so at once, every stream is whole, the exit is 0."""
    document = {
        "keys": "off",
        "models": {"p30-50": {"backends": [{"url": f"{upstream}/p30-50"}]}},
        "drain": {"notice_s": 0.5, "finish_s": 10},
    }
    with running(Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)}), document) as it:
        streams = [open_socket(it.url, raw(chat("p30-50", stream=True))) for _ in range(20)]
        until(lambda: it.gauge("streams_open") == 20)
        it.process.terminate()
        until(lambda: it.get("/readyz").status_code == 503)
        for connection in streams:
            data = b""
            while part := connection.recv(1 << 16):
                data += part
            connection.close()
            assert data.endswith(b"0\r\n\r\n")
            assert b"[DONE]" in data
        assert it.process.wait(20) == 0


def test_a_drain_has_an_end(upstream: str, tmp_path: Path) -> None:
    """What is not finished in the time allowed is ended with an error that says why."""
    models = {"p60-100": {"backends": [{"url": f"{upstream}/p60-100"}]}}
    document = {"keys": "off", "models": models, "drain": {"finish_s": 0.3}}
    with running(Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)}), document) as it:
        connection = open_socket(it.url, raw(chat("p60-100", stream=True)))
        until(lambda: it.gauge("streams_open") == 1)
        it.process.terminate()
        data = b""
        while part := connection.recv(1 << 16):
            data += part
        connection.close()
        assert b"shutting_down" in data
        assert data.endswith(b"0\r\n\r\n")
        assert it.process.wait(20) == 0


def test_a_model_that_is_killed_in_mid_stream_is_an_error_event_and_then_503(tmp_path: Path) -> None:
    """A real model server dies of SIGKILL: the stream says so, the next request is refused, and a new one is found."""
    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = ("serve", "smollm2", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    document = {"keys": "off", "models": {"m": {"backends": [{"url": url}]}}, "health": {"pause_s": 0.1}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 1000, "stream": True}
    with running(terminal, document) as it:
        with _serving(terminal, serve, url) as server, httpx.stream("POST", it.url + CHAT, json=asked) as response:
            parts = response.iter_text()
            text = next(parts)
            _kill_all(server)
            text += "".join(parts)
        assert "error" in events(text)[-1]
        assert "[DONE]" not in text
        refused = it.post(CHAT, asked | {"stream": False})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        with _serving(terminal, serve, url):
            assert it.post(CHAT, asked | {"stream": False, "max_tokens": 3}).status_code == 200


@contextlib.contextmanager
def _serving(terminal: Terminal, command: tuple[str, ...], url: str) -> Iterator[Any]:
    process = terminal.start(*command)
    try:
        until(lambda: _is_up(url), 60)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _is_up(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health").status_code == 200
    return False


def _kill_all(server: Any) -> None:  # noqa: ANN401 - a process
    """The model's process itself: `serve` runs it as its child."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)


def test_workers_share_a_socket_and_one_that_dies_is_replaced(upstream: str, tmp_path: Path) -> None:
    """Two processes answer on one address; SIGKILL takes one away for a second; keys in a SQLite file are refused."""
    document = {"keys": "off", "models": {"now": {"backends": [{"url": f"{upstream}/now"}]}}}
    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)})
    with running(terminal, document, "--workers", "2") as it:
        assert it.greeting.endswith("2 workers")
        workers = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")
        before = set(workers.read_text().split())
        assert len(before) == 2
        os.kill(int(min(before)), signal.SIGKILL)
        until(lambda: len(set(workers.read_text().split()) - before) == 1)
        for _ in range(20):
            assert it.post(CHAT, json.loads(chat("now"))).status_code == 200
        assert it.stop() == 0
    document["keys"] = "required"
    (tmp_path / "gateway.yaml").write_text(json.dumps(document))
    refused = terminal.run("gateway", "run", "gateway.yaml", "--port", "0", "--workers", "2", code=None)
    assert refused.code == 3
    assert "SQLite" in refused.err


def test_a_log_that_nobody_reads_stops_nobody(upstream: str, tmp_path: Path) -> None:
    """Standard error is a full pipe from the start: requests are answered, lost lines are counted, SIGTERM ends it."""
    models = {"now": {"backends": [{"url": f"{upstream}/now"}]}, "gone": {"backends": [{"url": "http://127.0.0.1:9"}]}}
    document = {"keys": "off", "models": models, "logs": {"prompts": True}}
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    terminal = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)})
    with os.fdopen(read, "rb"), running(terminal, document, stderr=write) as it:
        os.close(write)
        long = [{"role": "user", "content": "a long question " * 20_000}]
        for _ in range(40):
            assert it.post(CHAT, {"model": "now", "messages": long}).status_code == 200
            assert it.post(CHAT, {"model": "gone", "messages": long}).status_code == 503
        assert it.gauge("log_lines_dropped_total") > 0
        assert it.stop() == 0
