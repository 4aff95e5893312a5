"""Model objects: no lock on the way of a call, connections for time-outs, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_deploy import AsyncLLMInferenceHttpEndpoint, GenerationRequest, LLMInferenceHttpEndpoint
from llm_deploy.client.model import MOST_TIMEOUTS
from tests.fakes.runtime_server import RuntimeServer, invocation, serving

pytestmark = pytest.mark.row("T5")

ASK = GenerationRequest(prompt="Hi", max_new_tokens=3)
TGI = invocation([{"generated_text": " Paris", "details": {"finish_reason": "length"}}])


@pytest.fixture
def server() -> Iterator[RuntimeServer]:
    """One that always answers."""
    with serving(TGI) as it:
        yield it


def test_after_the_first_call_no_lock_is_taken(server: RuntimeServer) -> None:
    """A call goes through while somebody holds the object's own lock."""
    llm = LLMInferenceHttpEndpoint(f"{server.url}/invocations", dialect="tgi")
    llm.generate(ASK)
    with llm._lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(llm.generate, ASK).result(timeout=10).text == " Paris"


def test_many_threads_find_the_dialect_together(server: RuntimeServer) -> None:
    """And open one connection object."""
    with LLMInferenceHttpEndpoint(f"{server.url}/invocations") as llm, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: llm.generate(ASK).text, range(40)))
    assert answers == [" Paris"] * 40
    assert server.connections <= 8


def test_time_outs_have_connections_of_their_own_and_few_are_kept(server: RuntimeServer) -> None:
    """The object's own serves calls that say the same; a program with a new time-out a call does not grow."""
    with LLMInferenceHttpEndpoint(f"{server.url}/invocations", answer_timeout_s=30) as llm:
        llm.generate(ASK)
        llm.generate(ASK, timeout_s=30)
        assert server.connections == 1
        for seconds in range(40, 60):
            llm.generate(ASK, timeout_s=seconds)
        assert len(llm._others) == MOST_TIMEOUTS
        seen = server.connections
        llm.generate(ASK, timeout_s=59)
        assert server.connections == seen

    async def on_a_loop() -> int:
        async with AsyncLLMInferenceHttpEndpoint(f"{server.url}/invocations") as here:
            for seconds in range(40, 60):
                await here.generate(ASK, timeout_s=seconds)
            return len(here._others)

    assert asyncio.run(on_a_loop()) == MOST_TIMEOUTS


def test_a_closed_object_connects_anew(server: RuntimeServer) -> None:
    """Closing is harmless, again and in between."""
    llm = LLMInferenceHttpEndpoint(f"{server.url}/invocations")
    llm.close()
    llm.generate(ASK)
    llm.close()
    llm.close()
    assert llm.generate(ASK).text == " Paris"
    llm.close()
    assert server.connections == 2


def test_one_object_serves_one_loop_after_another(server: RuntimeServer) -> None:
    """Closed at the end of each."""
    llm = AsyncLLMInferenceHttpEndpoint(f"{server.url}/invocations")

    async def ask() -> str:
        async with llm:
            return (await llm.generate(ASK)).text

    assert [asyncio.run(ask()), asyncio.run(ask())] == [" Paris", " Paris"]


def test_a_batch_inside_a_running_loop_is_no_trouble(server: RuntimeServer) -> None:
    """As in a notebook: its loop is another thread's."""

    async def cell() -> list[str]:
        with LLMInferenceHttpEndpoint(f"{server.url}/invocations") as llm:
            return [item.text for item in llm.batch(["a", "b"])]

    assert asyncio.run(cell()) == [" Paris"] * 2
