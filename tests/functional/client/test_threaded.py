"""botocore's way on an event loop: in threads, and as the rules of `AsyncTransport` say."""

from __future__ import annotations

import asyncio

import pytest

from llm_deploy.aws import Session
from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport
from llm_deploy.errors import NotFoundError, StreamBrokenError
from tests.fakes.runtime_server import (
    REGION,
    invocation,
    invocation_error,
    payload_part,
    response_stream,
    serving,
    stream_exception,
)

pytestmark = pytest.mark.row("T5")


def transport(url: str) -> AsyncSagemakerTransport:
    session = Session(REGION, endpoint_url=url, access_key="made-up", secret_key="made-up", wire="botocore")
    return AsyncSagemakerTransport("twin", session=session)


def test_calls_streams_and_errors_are_those_of_threads() -> None:
    """Answers, refusals, and what breaks in the middle, after what came before it."""
    missing = invocation_error(400, "ValidationError", Message="Endpoint twin of account 1 not found.")
    whole = response_stream([payload_part(b"one"), payload_part(b"two")])
    broken = response_stream([payload_part(b"one"), stream_exception("InternalStreamFailure", {"Message": "gone"})])

    async def work(of: AsyncSagemakerTransport) -> None:
        assert await of.call(b"{}") == b"whole"
        with pytest.raises(NotFoundError):
            await of.call(b"{}")
        opened = await of.stream(b"{}")
        assert [await opened.read() for _ in range(3)] == [b"one", b"two", b""]
        await opened.aclose()
        opened = await of.stream(b"{}")
        assert await opened.read() == b"one"
        with pytest.raises(StreamBrokenError, match="gone"):
            await opened.read()
        await opened.aclose()
        await of.aclose()
        assert await of.call(b"{}") == b"whole"
        await of.aclose()

    with serving(invocation(b"whole"), missing, whole, broken, invocation(b"whole")) as server:
        asyncio.run(work(transport(server.url)))


def test_a_cancelled_read_loses_nothing_and_a_closed_stream_leaves() -> None:
    """Closing wakes the thread that reads."""

    async def work(of: AsyncSagemakerTransport) -> None:
        opened = await of.stream(b"{}")
        assert await opened.read() == b"one"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opened.read(), 0.1)
        await opened.aclose()
        assert await asyncio.to_thread(server.client_left.wait, 5)
        await of.aclose()

    with serving(response_stream([payload_part(b"one")], end="hang")) as server:
        asyncio.run(work(transport(server.url)))


def test_closing_leaves_a_stream_that_is_read_alone() -> None:
    """As on the client's own path: idle connections are closed, and what is under way goes on to its end."""

    async def work(of: AsyncSagemakerTransport) -> None:
        opened = await of.stream(b"{}")
        assert await opened.read() == b"one"
        await of.aclose()
        assert [await opened.read() for _ in range(2)] == [b"two", b""]
        await opened.aclose()

    with serving(response_stream([payload_part(b"one"), payload_part(b"two")])) as server:
        asyncio.run(work(transport(server.url)))


def test_many_streams_are_read_at_once() -> None:
    """More than the loop's own threads would take."""

    async def work(of: AsyncSagemakerTransport) -> None:
        streams = await asyncio.gather(*(of.stream(b"{}") for _ in range(24)))
        assert await asyncio.gather(*(each.read() for each in streams)) == [b"one"] * 24
        waiting = [asyncio.ensure_future(each.read()) for each in streams]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in waiting)
        for each in streams:
            await each.aclose()
        await asyncio.gather(*waiting, return_exceptions=True)
        await of.aclose()

    with serving(response_stream([payload_part(b"one")], end="hang")) as server:
        asyncio.run(work(transport(server.url)))
