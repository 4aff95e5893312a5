"""One asyncio object on several event loops, one after the other and at the same time in threads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llm_deploy.aws import Session
from llm_deploy.client import pool_async
from llm_deploy.client.endpoint_async import AsyncLLMInferenceSagemakerEndpoint
from llm_deploy.client.http_async import AsyncHttpTransport
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import InferenceTimeoutError
from tests.fakes.raw_server import raw_serving
from tests.fakes.runtime_server import REGION, Reply, serving

pytestmark = pytest.mark.row("T5")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWER = Reply(parts=(json.dumps([{"generated_text": "Paris"}]).encode(),))
ASKED = GenerationRequest(prompt="Where?")


def test_a_model_that_was_closed_serves_the_next_loop() -> None:
    """Also where several tasks make its first call at once, as programs do that call `asyncio.run` again and again."""

    async def work(llm: AsyncLLMInferenceSagemakerEndpoint) -> list[str]:
        async with llm:
            return [answer.text for answer in await asyncio.gather(*(llm.generate(ASKED) for _ in range(4)))]

    with serving(ANSWER) as server:
        session = Session(REGION, endpoint_url=server.url, access_key="made-up", secret_key="made-up")
        llm = AsyncLLMInferenceSagemakerEndpoint("twin", {}, "part", dialect="tgi", session=session)
        assert [asyncio.run(work(llm)) for _ in range(3)] == [["Paris"] * 4] * 3


def test_a_connection_is_of_the_loop_that_made_it() -> None:
    """Four threads, each with a loop, share one object: each call is answered, on a connection of its own loop."""
    together = threading.Barrier(4)

    async def work(of: AsyncHttpTransport) -> list[bytes]:
        await asyncio.to_thread(together.wait)
        answers = [await of.call(b"{}") for _ in range(50)]
        await of.aclose()
        return answers

    with raw_serving() as server, ThreadPoolExecutor(4) as threads:
        server.answer = OK
        shared = AsyncHttpTransport(server.url)
        done = [threads.submit(asyncio.run, work(shared)) for _ in range(4)]
        assert [each.result(30) for each in done] == [[b"ok"] * 50] * 4
        assert server.count == 4


def test_silence_is_bounded_on_each_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call on another loop does not make the first one's waits endless."""
    monkeypatch.setattr(pool_async, "SWEEP_S", 0.05)
    monkeypatch.setattr(pool_async, "READ_TIMEOUT_S", 0.4)
    waiting = threading.Event()

    async def first(of: AsyncHttpTransport) -> None:
        opened = await of.stream(b"{}")
        assert await opened.read() == b"one"
        waiting.set()
        async with asyncio.timeout(10):
            with pytest.raises(InferenceTimeoutError):
                await opened.read()

    def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401 - whatever it gives
        return asyncio.run(work())

    with serving(Reply(parts=(b"one",), end="hang"), Reply(parts=(b"two",))) as server:
        shared = AsyncHttpTransport(server.url)
        with ThreadPoolExecutor(1) as threads:
            silent = threads.submit(run, lambda: first(shared))
            assert waiting.wait(5)
            assert asyncio.run(shared.call(b"{}")) == b"two"
            silent.result(20)
