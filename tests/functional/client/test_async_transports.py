"""The transports for event loops, on asyncio's loop and on uvloop: cancellation, back pressure, deadlines, reuse."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from llm_deploy.aws import Session
from llm_deploy.client import connection_async, pool_async
from llm_deploy.client.http_async import AsyncHttpTransport
from llm_deploy.client.patience import Patience
from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport
from llm_deploy.client.transport import AsyncTransport
from llm_deploy.errors import (
    InferenceError,
    InferenceTimeoutError,
    OverloadedError,
    StreamBrokenError,
    UnreachableError,
    WireFormatError,
)
from tests.fakes.raw_server import RawServer, raw_serving
from tests.fakes.runtime_server import (
    REGION,
    Reply,
    RuntimeServer,
    invocation,
    invocation_error,
    payload_part,
    response_stream,
    serving,
)

pytestmark = pytest.mark.row("T5")

Run = Callable[[Awaitable[Any]], Any]

ANSWER = invocation(b"whole")
HANGS = Reply(end="hang")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Both loops; a test that leaves a task behind, or an exception nobody saw, fails."""

    def on_loop(work: Awaitable[Any]) -> Any:  # noqa: ANN401 - the work's own
        seen: list[dict[str, Any]] = []

        async def watched() -> Any:  # noqa: ANN401 - as above
            asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
            try:
                return await work
            finally:
                gc.collect()
                await asyncio.sleep(0)
                assert asyncio.all_tasks() == {asyncio.current_task()}

        result = uvloop.run(watched()) if request.param == "uvloop" else asyncio.run(watched())
        assert seen == []
        return result

    return on_loop


def sagemaker(url: str, **options: Any) -> AsyncSagemakerTransport:  # noqa: ANN401 - passed on
    session = Session(REGION, endpoint_url=url, access_key="made-up", secret_key="made-up")
    return AsyncSagemakerTransport("twin", session=session, **options)


def http(url: str, **options: Any) -> AsyncHttpTransport:  # noqa: ANN401 - passed on
    return AsyncHttpTransport(url + "/invocations", **options)


@contextmanager
def transport(*replies: Reply, **options: Any) -> Iterator[tuple[AsyncHttpTransport, RuntimeServer]]:  # noqa: ANN401 - as above
    with serving(*replies) as server:
        yield http(server.url, **options), server


async def read_all(of: AsyncTransport) -> bytes:
    opened = await of.stream(b"{}")
    data = b""
    try:
        while part := await opened.read():
            data += part
    finally:
        await opened.aclose()
    return data


def wait_until(true: Callable[[], bool]) -> None:
    """Until it is, or the test fails."""
    end_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def open_files() -> int:
    """Of this process, the server's sides of connections among them."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def seen_leaving(server: RuntimeServer) -> bool:
    return await asyncio.to_thread(server.client_left.wait, 5)


@pytest.mark.parametrize("kind", [sagemaker, http])
def test_calls_and_streams_share_one_connection(run: Run, kind: Callable[[str], AsyncTransport]) -> None:
    """One after the other, whole answers and refusals alike."""

    async def work(url: str) -> None:
        of = kind(url)
        for _ in range(3):
            assert await of.call(b"{}") == b"whole"
            assert await read_all(of) == b"one two"
            with pytest.raises(OverloadedError):
                await of.call(b"{}")
        await of.aclose()

    if kind is sagemaker:
        stream = response_stream([payload_part(b"one "), payload_part(b"two")])
        refusal = invocation_error(424, "ModelError", OriginalStatusCode=429, OriginalMessage="busy", Message="busy")
    else:
        stream, refusal = Reply(parts=(b"one ", b"two")), Reply(429, (b"busy",))
    with serving(*[ANSWER, stream, refusal] * 3) as server:
        run(work(server.url))
        assert server.connections == 1


def test_what_has_queued_up_comes_in_one_piece(run: Run) -> None:
    """A reader that falls behind catches up with one read."""

    async def work(of: AsyncTransport) -> None:
        opened = await of.stream(b"{}")
        await asyncio.sleep(0.3)
        parts = [await opened.read(), await opened.read()]
        assert b"".join(parts) == b"x" * 100
        assert await opened.read() == b""
        assert await opened.read() == b""
        await opened.aclose()
        await of.aclose()

    with transport(Reply(parts=[b"x"] * 100)) as (of, _):
        run(work(of))


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_before_the_answer_closes_the_connection(run: Run, *, streamed: bool) -> None:
    """The model server sees it and stops: its slot is free."""

    async def work(of: AsyncTransport, server: RuntimeServer) -> None:
        task = asyncio.ensure_future((of.stream if streamed else of.call)(b"{}"))
        await asyncio.to_thread(wait_until, lambda: bool(server.seen))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await seen_leaving(server)
        await of.aclose()

    with transport(Reply(parts=(b"x",), end="hang") if not streamed else Reply(end="hang", status=100)) as (of, server):
        run(work(of, server))


def test_a_cancelled_read_loses_nothing_and_a_closed_stream_leaves(run: Run) -> None:
    """A caller with a time-out of its own may read again; closing is what ends the answer."""

    async def work(of: AsyncTransport, server: RuntimeServer) -> None:
        opened = await of.stream(b"{}")
        data = await opened.read()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opened.read(), 0.1)
        assert data == b"one"
        await opened.aclose()
        await opened.aclose()
        assert await opened.read() == b""
        assert await seen_leaving(server)
        await of.aclose()

    with transport(Reply(parts=(b"one",), end="hang")) as (of, server):
        run(work(of, server))


def test_a_stream_that_is_forgotten_leaves_too(run: Run) -> None:
    """Whoever drops it without closing does not keep the model at work."""

    async def work(of: AsyncTransport, server: RuntimeServer) -> None:
        opened = await of.stream(b"{}")
        await opened.read()
        del opened
        gc.collect()
        assert await seen_leaving(server)
        await of.aclose()

    with transport(Reply(parts=(b"one",), end="hang")) as (of, server):
        run(work(of, server))


def test_a_slow_reader_makes_the_sender_wait(run: Run) -> None:
    """What is not read stays in the other end: little is kept here, and nothing is lost."""
    part, count = b"y" * 65536, 200

    async def work(of: AsyncTransport) -> None:
        opened = await of.stream(b"{}")
        await asyncio.sleep(0.5)
        tracemalloc.start()
        first = await opened.read()
        assert len(first) < 2 * 2**20
        total = len(first)
        while got := await opened.read():
            total += len(got)
        tracemalloc.stop()
        assert total == len(part) * count
        await opened.aclose()
        await of.aclose()

    with transport(Reply(parts=[part] * count)) as (of, _):
        run(work(of))


@pytest.mark.parametrize("parts", [[], [b"one"]])
def test_a_deadline_holds_before_and_in_the_middle(run: Run, parts: list[bytes]) -> None:
    """For the whole answer; what came before it is handed out; the connection is closed."""

    async def work(of: AsyncTransport, server: RuntimeServer) -> None:
        with pytest.raises(InferenceTimeoutError, match=r"0\.3 s"):
            await read_all(of)
        assert await seen_leaving(server)
        await of.aclose()

    with transport(Reply(parts=parts, end="hang"), answer_timeout_s=0.3) as (of, server):
        run(work(of, server))


def test_a_deadline_that_held_does_not_reach_the_next_answer(run: Run) -> None:
    """Its timer goes with the answer it was for."""

    async def work(of: AsyncTransport) -> None:
        for _ in range(4):
            assert await of.call(b"{}") == b"whole"
            await asyncio.sleep(0.1)
        await of.aclose()

    with transport(ANSWER, answer_timeout_s=0.25) as (of, server):
        run(work(of))
        assert server.connections == 1


def test_silence_is_bounded_by_the_sweep(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a deadline and without a timer of its own."""
    monkeypatch.setattr(pool_async, "SWEEP_S", 0.05)
    monkeypatch.setattr(pool_async, "READ_TIMEOUT_S", 0.2)

    async def work(of: AsyncTransport, server: RuntimeServer) -> None:
        with pytest.raises(InferenceTimeoutError, match="no byte"):
            await of.call(b"{}")
        assert await seen_leaving(server)
        await of.aclose()

    with transport(HANGS) as (of, server):
        run(work(of, server))


@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_that_breaks_says_so_after_what_came(run: Run, end: Any, *, chunked: bool) -> None:  # noqa: ANN401 - a Literal
    """And is not asked again."""

    async def work(of: AsyncTransport) -> None:
        opened = await of.stream(b"{}")
        assert await opened.read() == b"one"
        with pytest.raises(StreamBrokenError):
            await opened.read()
        assert await opened.read() == b""
        await opened.aclose()
        await of.aclose()

    with transport(Reply(parts=(b"one",), end=end, chunked=chunked), ANSWER) as (of, server):
        run(work(of))
        assert len(server.seen) == 1


def test_what_was_not_started_is_asked_again_with_pauses(run: Run) -> None:
    """The same decisions as for threads, with a pause that lets the loop run."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work(url: str) -> None:
        of = sagemaker(url, patience=Patience(sleep_async=pause, jitter=lambda: 0.5))
        assert await of.call(b"{}") == b"whole"
        await of.aclose()

    throttled = invocation_error(400, "ThrottlingException", Message="Rate exceeded")
    with serving(throttled, throttled, ANSWER) as server:
        run(work(server.url))
    assert pauses == [0.25, 0.5]


def test_no_server_is_said_after_a_few_attempts(run: Run) -> None:
    """Nothing was sent."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work(of: AsyncTransport) -> None:
        with pytest.raises(UnreachableError, match="no connection"):
            await of.call(b"{}")

    with serving(ANSWER) as server:
        url = server.url
    run(work(http(url, patience=Patience(sleep_async=pause))))
    assert len(pauses) == 3


def test_a_connection_that_ended_while_idle_is_replaced_unused(run: Run) -> None:
    """The other end closed it: the next call goes out on a new one, once."""

    async def work(server: RawServer) -> None:
        of = http(server.url)
        assert await of.call(b"1") == b"ok"
        server.drop()
        await asyncio.sleep(0.05)
        assert await of.call(b"2") == b"ok"
        assert server.bodies == [b"1", b"2"]
        assert server.count == 2
        await of.aclose()

    with raw_serving() as server:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        run(work(server))


def test_what_was_written_is_never_written_again(run: Run) -> None:
    """A kept connection that ends before one byte of the answer: the model may be at work."""

    async def work(server: RawServer) -> None:
        of = http(server.url)
        assert await of.call(b"1") == b"ok"
        server.answer, server.end = b"", "close"
        with pytest.raises(InferenceError, match="broke"):
            await of.call(b"2")
        assert server.bodies == [b"1", b"2"]
        await of.aclose()

    with raw_serving() as server:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        run(work(server))


def test_more_than_was_asked_for_ends_the_connection(run: Run) -> None:
    """Bytes after an answer, or between two, are never the next caller's."""

    async def work(server: RawServer) -> None:
        of = http(server.url)
        for number in (b"1", b"2"):
            assert await of.call(number) == b"ok"
        assert server.count == 2
        server.answer = whole
        assert await of.call(b"3") == b"ok"
        for connection in server.connections[-1:]:
            connection.sendall(whole)
        await asyncio.sleep(0.05)
        assert await of.call(b"4") == b"ok"
        assert server.count == 4
        await of.aclose()

    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with raw_serving() as server:
        server.answer = whole + whole
        run(work(server))


def test_nonsense_is_an_error_and_ends_the_connection(run: Run) -> None:
    """What is no HTTP is not guessed at."""

    async def work(server: RawServer) -> None:
        of = http(server.url)
        with pytest.raises(WireFormatError):
            await of.call(b"1")
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert await of.call(b"2") == b"ok"
        assert server.count == 2
        await of.aclose()

    with raw_serving() as server:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"
        run(work(server))


def test_an_answer_that_is_too_large_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory."""
    monkeypatch.setattr("llm_deploy.client.courier.MAX_BODY_BYTES", 100_000)

    async def work(of: AsyncTransport) -> None:
        with pytest.raises(WireFormatError, match="larger than"):
            await of.call(b"{}")
        await of.aclose()

    with transport(Reply(parts=[b"z" * 65536] * 4)) as (of, _):
        run(work(of))


def test_one_object_on_one_loop_after_another() -> None:
    """Connections of a loop that has ended are not used on the next."""
    with transport(ANSWER) as (of, server):
        for _ in range(2):
            assert asyncio.run(of.call(b"{}")) == b"whole"
        assert server.connections == 2


def test_many_clients_that_leave_early_leave_nothing_behind(run: Run) -> None:
    """Five hundred, at any moment: no file, no timer, no connection of theirs stays."""

    async def leaving(of: AsyncTransport, after_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                opened = await of.stream(b"{}")
                try:
                    while await opened.read():
                        pass
                finally:
                    await opened.aclose()

    async def work(of: AsyncTransport) -> None:
        await of.call(b"{}")
        before = open_files()
        for _ in range(10):
            await asyncio.gather(*(leaving(of, 0.001 * number) for number in range(50)))
        await asyncio.to_thread(wait_until, lambda: open_files() <= before)
        gc.collect()
        await asyncio.sleep(0)
        assert sum(type(each) is connection_async.Connection for each in gc.get_objects()) <= 1
        await of.aclose()

    with transport(ANSWER, Reply(parts=(b"one",), end="hang")) as (of, _):
        run(work(of))


def test_an_open_stream_takes_little_memory() -> None:
    """A thousand of them are some megabytes: what is kept of each here is its state, not a buffer."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    count = 200

    async def work() -> None:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            await gone.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=count)
        of = http(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        (await (await of.stream(b"")).aclose())
        tracemalloc.start()
        opened = [await of.stream(b"") for _ in range(count)]
        kept = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=True, filename_pattern="*/llm_deploy/*")]
        )
        tracemalloc.stop()
        assert sum(each.size for each in kept.statistics("filename")) / count < 4096
        for stream in opened:
            await stream.aclose()
        gone.set()
        await of.aclose()
        server.close()

    asyncio.run(work())
