"""Connections that are kept, on real sockets: what may be sent again, what never; whom TLS trusts."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from llm_deploy.aws import Session
from llm_deploy.client import pool as pools
from llm_deploy.client.http import HttpTransport
from llm_deploy.client.http_async import AsyncHttpTransport
from llm_deploy.client.origin import Origin, split_url
from llm_deploy.client.patience import Patience
from llm_deploy.client.pool import Pool
from llm_deploy.client.sagemaker import SagemakerTransport
from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport
from llm_deploy.errors import CloudError, InferenceError, OverloadedError, SpecError, WireFormatError
from tests.fakes.certificates import server_context
from tests.fakes.raw_server import RawServer, raw_serving
from tests.fakes.runtime_server import REGION, Reply, serving

pytestmark = pytest.mark.row("T5")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pool_of(server: RawServer) -> Pool:
    return Pool(split_url(server.url)[0])


def test_a_connection_that_ended_while_idle_is_replaced_unused() -> None:
    """A look before sending finds it; nothing was sent on it, so nothing is sent twice."""
    with raw_serving() as server:
        server.answer = OK
        transport = HttpTransport(server.url)
        assert transport.call(b"1") == b"ok"
        server.drop()
        time.sleep(0.05)
        assert transport.call(b"2") == b"ok"
    assert server.bodies == [b"1", b"2"]


def test_what_was_taken_is_never_sent_again() -> None:
    """A kept connection that ends before one byte of the answer: the model may be at work."""
    with raw_serving() as server:
        server.answer = OK
        transport = HttpTransport(server.url)
        assert transport.call(b"1") == b"ok"
        server.answer, server.end = b"", "close"
        with pytest.raises(InferenceError, match="broke"):
            transport.call(b"2")
        assert server.bodies == [b"1", b"2"]


def test_a_request_whose_end_was_not_taken_is_sent_once_more_on_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other end has closed behind the look: it cannot have had the whole request, so it cannot have run it."""
    large = b"x" * 8 * 2**20
    with raw_serving() as server:
        server.answer = OK
        transport = HttpTransport(server.url)
        assert transport.call(b"1") == b"ok"
        monkeypatch.setattr(pools.Connection, "is_stale", lambda _: False)
        server.drop()
        time.sleep(0.05)
        assert transport.call(large) == b"ok"
        assert [len(body) for body in server.bodies] == [1, len(large)]
        assert server.count == 2


def test_a_refusal_that_comes_before_the_request_is_read_is_understood() -> None:
    """A server that will not read a large body says so and closes; its words count, not the broken pipe."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 429 X\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        connection.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(OverloadedError, match="busy"):
        HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}").call(b"x" * 4 * 2**20)
    thread.join()
    listener.close()


@pytest.mark.parametrize("after", [OK, b"x"])
def test_more_than_was_asked_for_ends_the_connection(after: bytes) -> None:
    """With the answer or after it: bytes that nobody asked for are never the next caller's."""
    with raw_serving() as server:
        transport = HttpTransport(server.url)
        server.answer = OK + after
        assert transport.call(b"1") == b"ok"
        server.answer = OK
        assert transport.call(b"2") == b"ok"
        server.connections[-1].sendall(after)
        time.sleep(0.05)
        assert transport.call(b"3") == b"ok"
    assert server.count == 3


def test_nonsense_is_an_error_and_ends_the_connection() -> None:
    """What is no HTTP is not guessed at."""
    with raw_serving() as server:
        transport = HttpTransport(server.url)
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"
        with pytest.raises(WireFormatError):
            transport.call(b"1")
        server.answer = OK
        assert transport.call(b"2") == b"ok"
    assert server.count == 2


def test_a_connection_that_was_idle_for_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between may have forgotten it without telling either end."""
    monkeypatch.setattr(pools, "MAX_IDLE_S", 0.05)
    with raw_serving() as server:
        server.answer = OK
        transport = HttpTransport(server.url)
        transport.call(b"1")
        time.sleep(0.1)
        transport.call(b"2")
    assert server.count == 2


def test_no_more_connections_are_kept_than_the_pool_holds() -> None:
    """The oldest goes."""
    with raw_serving() as server:
        pool = Pool(split_url(server.url)[0], size=2)
        connections = [pool.connect(5.0) for _ in range(3)]
        for connection in connections:
            pool.give_back(connection)
        assert pool.take() is connections[2]
        assert pool.take() is connections[1]
        assert pool.take() is None
        for connection in connections:
            connection.close()


def test_a_forked_process_does_not_use_its_parents_connections() -> None:
    """Two processes on one connection would read each other's answers."""
    with raw_serving() as server:
        server.answer = OK
        transport = HttpTransport(server.url)
        transport.call(b"1")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if transport.call(b"child") == b"ok" else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert transport.call(b"2") == b"ok"
        assert server.count == 2


def test_closing_a_stream_from_another_thread_wakes_its_reader() -> None:
    """Who reads gets an error, not the end of an answer; the server sees the client leave."""
    with serving(Reply(parts=(b"one",), end="hang", chunked=False)) as server:
        opened = HttpTransport(server.url).stream(b"{}")
        assert next(opened.parts) == b"one"
        threading.Timer(0.2, opened.close).start()
        with pytest.raises(InferenceError, match="broke"):
            next(opened.parts)
        assert server.client_left.wait(5)
        opened.close()


def test_a_stream_whose_end_is_its_connections_is_not_ended_by_closing_it() -> None:
    """Shutting a connection looks like its end; it must not pass for a whole answer."""
    with raw_serving() as server:
        server.answer = b"HTTP/1.1 200 OK\r\n\r\npart"
        opened = HttpTransport(server.url).stream(b"{}")
        assert next(opened.parts) == b"part"
        threading.Timer(0.2, opened.close).start()
        with pytest.raises(InferenceError, match="broke"):
            next(opened.parts)


def test_tls_is_verified_and_connections_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its authority in AWS_CA_BUNDLE a server is called, on one connection; by threads and loops."""
    context, authority = server_context(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    with raw_serving(context) as server:
        server.answer = OK
        session = Session(REGION, endpoint_url=server.url, access_key="made-up", secret_key="made-up")
        transport = SagemakerTransport("twin", session=session)
        assert [transport.call(b"{}") for _ in range(4)] == [b"ok"] * 4
        assert server.count == 1

        async def work() -> list[bytes]:
            looped = AsyncSagemakerTransport("twin", session=session)
            answers = [await looped.call(b"{}") for _ in range(4)]
            await looped.aclose()
            return answers

        assert asyncio.run(work()) == [b"ok"] * 4
        assert server.count == 2


@pytest.mark.parametrize("names", ["IP:127.0.0.1", "DNS:elsewhere.example"])
def test_an_unknown_authority_or_another_name_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    """Nothing is sent, nothing is tried again, and there is no setting that turns it off."""
    context, authority = server_context(tmp_path, names)
    if names.startswith("DNS"):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))  # trusted, but not of this name
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    patience = Patience(sleep=pauses.append, sleep_async=pause)
    with raw_serving(context) as server:
        session = Session(REGION, endpoint_url=server.url, access_key="made-up", secret_key="made-up")
        with pytest.raises(CloudError, match="certificate verify failed"):
            SagemakerTransport("twin", session=session, patience=patience).call(b"{}")
        with pytest.raises(CloudError, match="certificate verify failed"):
            HttpTransport(server.url, patience=patience).call(b"{}")
        with pytest.raises(CloudError, match="certificate verify failed"):
            asyncio.run(AsyncHttpTransport(server.url, patience=patience).call(b"{}"))
        assert server.bodies == []
    assert pauses == []


def test_a_bundle_that_is_none_is_said_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not as a failed connection."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    session = Session(REGION, endpoint_url="https://127.0.0.1:1", access_key="made-up", secret_key="made-up")
    with raw_serving() as server:
        url = server.url.replace("http:", "https:")
        session = Session(REGION, endpoint_url=url, access_key="made-up", secret_key="made-up")
        with pytest.raises(SpecError, match=r"nothing\.pem"):
            SagemakerTransport("twin", session=session).call(b"{}")


@pytest.mark.parametrize(
    ("url", "origin", "path", "host"),
    [
        ("http://127.0.0.1:8080/invocations", Origin("127.0.0.1", 8080, tls=False), "/invocations", "127.0.0.1:8080"),
        ("https://Example.com", Origin("example.com", 443, tls=True), "/", "example.com"),
        ("http://[::1]:80/a?b=c", Origin("::1", 80, tls=False), "/a?b=c", "[::1]"),
        ("https://[::1]:80/", Origin("::1", 80, tls=True), "/", "[::1]:80"),
        ("http://b\u00fccher.example/", Origin("xn--bcher-kva.example", 80, tls=False), "/", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_an_address_is_taken_apart(url: str, origin: Origin, path: str, host: str) -> None:
    """Into what is connected to, what is asked for, and what Host says."""
    assert split_url(url) == (origin, path)
    assert origin.host_header == host


@pytest.mark.parametrize(
    "url",
    ["ftp://a/", "a.example", "http://", "http://a:b/", "http://a:99999/", "http://u:secret@a/", "http://a/#f", ""],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """At once; a password in it is not repeated."""
    with pytest.raises(SpecError) as raised:
        split_url(url)
    assert "secret" not in raised.value.message
