"""The clients against a real model server: freed slots, bound answers, batches, LangChain."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from pydantic import BaseModel

from llm_deploy import AsyncLLMInferenceHttpEndpoint, GenerationRequest, LLMInferenceHttpEndpoint
from llm_deploy.client import connect
from llm_deploy.client.langchain import ChatLlmDeploy
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import InferenceError, InferenceRequestError, InferenceTimeoutError
from llm_deploy.serving import models
from tests.functional.serving.servers import Running, running, wait_for

pytestmark = [pytest.mark.row("T5"), pytest.mark.row("L5")]

LONG = GenerationRequest(prompt="1, 2, 3, 4, 5,", max_new_tokens=1500, temperature=0, seed=7)
"""Counting goes on to the limit; a story may end by itself."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}
PATHS = ["/v1", "/invocations", "/generate"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With four slots."""
    with running(models.pull("smollm2"), tmp_path_factory.mktemp("server"), "--served-model-name", "tiny") as it:
        yield it


def idle(server: Running) -> None:
    """Soon no slot works."""
    wait_for(lambda: server.busy_slots() == 0, 10)


def busy(server: Running, slots: int) -> None:
    """Soon so many do."""
    wait_for(lambda: server.busy_slots() == slots, 10)


def test_a_cancelled_call_frees_its_slot(server: Running) -> None:
    """On an event loop: the connection is closed, at which the engine stops."""

    async def leave() -> None:
        async with AsyncLLMInferenceHttpEndpoint(f"{server.url}/invocations", dialect="tgi") as llm:
            calls = [asyncio.create_task(llm.generate(LONG)) for _ in range(4)]
            await asyncio.to_thread(busy, server, 4)
            for call in calls:
                call.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended)
            await asyncio.to_thread(idle, server)
            assert (await llm.generate(await llm.request("Hi", max_new_tokens=1))).counts.generated == 1

    asyncio.run(leave())


def test_a_stream_that_is_left_frees_its_slot(server: Running) -> None:
    """Closed, cancelled, or merely dropped."""

    async def leave() -> None:
        async with connect.open_async(f"{server.url}/v1") as llm:
            async with aclosing(llm.stream(LONG)) as chunks:
                async for _ in chunks:
                    break
            await asyncio.to_thread(idle, server)

            async def read() -> None:
                async for _ in llm.stream(LONG):
                    pass

            task = asyncio.create_task(read())
            await asyncio.to_thread(busy, server, 1)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.to_thread(idle, server)

    asyncio.run(leave())
    with connect.open(f"{server.url}/v1") as llm:
        stream = llm.stream(LONG)
        next(stream)
        del stream
        idle(server)


def test_a_deadline_of_a_call_and_a_batch_that_is_left_free_their_slots(server: Running) -> None:
    """The call's own `timeout_s` goes before the object's; Ctrl-C in a progress callback stops the batch."""
    with LLMInferenceHttpEndpoint(f"{server.url}/v1", answer_timeout_s=60) as llm:
        with pytest.raises(InferenceTimeoutError):
            llm.generate(LONG, timeout_s=0.5)
        idle(server)

        def interrupt(_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            llm.batch([llm.request("Hi", max_new_tokens=1), LONG, LONG], concurrency=3, on_done=interrupt)
        idle(server)


@pytest.mark.parametrize("path", PATHS)
def test_every_address_of_the_server_is_understood(server: Running, path: str) -> None:
    """Prompts, chats, streams: the same text from the same seed."""
    with connect.open(server.url + path) as llm:
        request = llm.request("The capital of France is", max_new_tokens=5, temperature=0, seed=1)
        whole = llm.generate(request)
        assert whole.text.startswith(" Paris.")
        assert collect(llm.stream(request)).text == whole.text
        said = llm.chat("Say hello.", system="Be brief.", max_new_tokens=8, temperature=0, seed=1)
        streamed = collect(llm.stream_chat("Say hello.", system="Be brief.", max_new_tokens=8, temperature=0, seed=1))
        assert said.text == streamed.text != ""
        assert (said.counts.generated, streamed.counts.generated) == (8, 8)


@pytest.mark.parametrize(
    ("path", "dialect"), [("/v1", "openai"), ("/invocations", "tgi"), ("/invocations", "openai"), ("/generate", "tgi")]
)
def test_an_answer_is_bound_in_each_dialects_words(server: Running, path: str, dialect: str) -> None:
    """By a JSON schema and by an expression, in chats and, where the dialect can, with prompts."""
    with connect.open(server.url + path, dialect=dialect) as llm:  # type: ignore[arg-type]
        found = llm.chat("Name a city.", json_schema=SCHEMA, max_new_tokens=40, temperature=0)
        assert set(json.loads(found.text)) == {"city"}
        found = llm.chat("Which year?", regex="(19|20)[0-9]{2}", max_new_tokens=10, temperature=0)
        assert re.fullmatch("(19|20)[0-9]{2}", found.text)
        if path == "/invocations" and dialect == "openai":
            return  # this server speaks TGI there, for prompts
        prompt = llm.request(
            "The year of the first Moon landing: ", max_new_tokens=10, temperature=0, regex="19[0-9]{2}"
        )
        assert re.fullmatch("19[0-9]{2}", llm.generate(prompt).text)


def test_what_a_model_cannot_do_is_a_clear_refusal(server: Running) -> None:
    """Tools, for a template without them; vectors, from a model that makes none."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    with connect.open(f"{server.url}/v1") as llm:
        with pytest.raises(InferenceRequestError, match="tools"):
            llm.chat("What is the weather?", tools=[tool])
        with pytest.raises(InferenceRequestError):
            llm.embed(["text"])


def test_a_batch_keeps_order_and_failures_apart(server: Running) -> None:
    """From a thread and on a loop: the same items."""
    asked = ["The capital of France is", "word " * 9000, "The capital of Italy is"]
    told: list[int] = []
    with connect.open(f"{server.url}/v1") as llm:
        items = llm.batch(
            asked, concurrency=2, on_done=lambda item: told.append(item.index), max_new_tokens=2, temperature=0
        )
    assert [item.text for item in (items[0], items[2])] == [" Paris.", " Rome."]
    assert isinstance(items[1].error, InferenceRequestError)
    assert sorted(told) == [0, 1, 2]

    async def on_a_loop() -> list[str]:
        async with connect.open_async(f"{server.url}/v1") as llm:
            found = await llm.batch(asked, max_new_tokens=2, temperature=0)
        return [item.text for item in (found[0], found[2])]

    assert asyncio.run(on_a_loop()) == [" Paris.", " Rome."]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of a model that makes vectors."""
    with running(models.pull("minilm"), tmp_path_factory.mktemp("vectors")) as it:
        yield it


@pytest.mark.parametrize("path", ["/v1", "/embed", "/invocations"])
def test_texts_become_vectors(vectors: Running, path: str) -> None:
    """In OpenAI's shape and in TEI's, in their order, more of them than go into one request; both halves alike."""
    texts = ["A cat sat on the mat.", "Interest rates rose again.", "The kitten lies on the rug."] * 12
    with connect.open(vectors.url + path) as llm:
        found = llm.embed(texts)
    assert len(found.vectors) == 36
    cat, bank, kitten = found.vectors[:3]
    assert dot(cat, kitten) > dot(cat, bank)

    async def on_a_loop() -> list[tuple[float, ...]]:
        async with connect.open_async(vectors.url + path) as llm:
            return list((await llm.embed(texts)).vectors)

    for here, there in zip(asyncio.run(on_a_loop()), found.vectors, strict=True):
        assert dot(here, there) == pytest.approx(1.0, abs=1e-3)
    with connect.open(vectors.url + path) as llm, pytest.raises(InferenceError):
        llm.generate(GenerationRequest(prompt="Hi"))


def dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """How near two vectors are; they are of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


class City(BaseModel):
    """A city."""

    city: str


@pytest.mark.slow  # its rules are proved without a model in tests/unit/client/test_langchain.py
def test_langchain(server: Running) -> None:
    """Whole, streamed, on an event loop, with usage, and as an object of a schema."""
    model = ChatLlmDeploy(target=f"{server.url}/v1", model="tiny", max_tokens=8, temperature=0, seed=1)
    asked = [SystemMessage("Be brief."), HumanMessage("Say hello.")]
    answer = model.invoke(asked)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 8
    assert answer.response_metadata["finish_reason"] == "length"
    pieces = list(model.stream(asked))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert isinstance(whole, AIMessageChunk)
    assert (whole.text, whole.usage_metadata) == (answer.text, answer.usage_metadata)

    async def on_a_loop() -> list[str]:
        said = [(await model.ainvoke(asked)).text, "".join([piece.text async for piece in model.astream(asked)])]
        await model.aclose()
        return said

    assert asyncio.run(on_a_loop()) == asyncio.run(on_a_loop()) == [answer.text, answer.text]
    bound = ChatLlmDeploy(target=f"{server.url}/v1", max_tokens=60, temperature=0).with_structured_output(City)
    assert isinstance(bound.invoke("Name a city."), City)
    model.close()
