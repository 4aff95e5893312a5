"""The LangChain chat model: tools, objects of a schema, and what it never shows."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import SecretStr

from llm_deploy.client.langchain import ChatLlmDeploy
from llm_deploy.errors import InferenceRequestError
from tests.fakes.runtime_server import Reply, invocation, serving

pytestmark = pytest.mark.row("T5")

ANSWER = invocation({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop", "stop_reason": None}]})


def calling(*arguments: str) -> Reply:
    calls = [
        {"id": str(index), "function": {"name": "weather", "arguments": text}} for index, text in enumerate(arguments)
    ]
    message = {"content": None, "tool_calls": calls}
    return invocation({"choices": [{"message": message, "finish_reason": "tool_calls"}]})


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def chat(url: str, **options: Any) -> ChatLlmDeploy:  # noqa: ANN401 - passed on
    return ChatLlmDeploy(target=f"{url}/v1", **options)


def test_a_tool_is_offered_called_and_answered() -> None:
    """A whole round, as an agent makes it."""
    with serving(calling('{"city": "Paris"}'), ANSWER) as server:
        model = chat(server.url).bind_tools([weather])
        asked = HumanMessage("What is the weather in Paris?")
        called = model.invoke([asked])
        (call,) = called.tool_calls
        assert (call["name"], call["args"], call["id"]) == ("weather", {"city": "Paris"}, "0")
        answered = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        assert model.invoke([asked, called, answered]).text == "ok"
        first, second = (seen.document for seen in server.seen)
    assert first["tools"][0]["function"]["name"] == "weather"
    assert "tool_choice" not in first
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    ("choice", "said"),
    [("any", "required"), (True, "required"), ("required", "required"), ("auto", "auto"), ("none", "none"),
     ("weather", {"type": "function", "function": {"name": "weather"}}), (None, None), (False, None)],
)  # fmt: skip
def test_a_choice_is_said_in_openais_words(choice: Any, said: object) -> None:  # noqa: ANN401 - LangChain's values
    """Whatever LangChain calls it."""
    with serving(ANSWER) as server:
        chat(server.url).bind_tools([weather], tool_choice=choice).invoke("Hi")
        assert server.seen[0].document.get("tool_choice") == said


def test_a_choice_of_no_tool_is_refused() -> None:
    """At once."""
    with pytest.raises(InferenceRequestError, match="weather"):
        ChatLlmDeploy(target="twin").bind_tools([weather], tool_choice="whether")


@pytest.mark.parametrize("arguments", ["{", "[1]", "3", '"text"'])
def test_arguments_that_are_no_object_are_told_apart(arguments: str) -> None:
    """An agent may ask again; nothing is lost."""
    with serving(calling(arguments, '{"city": "Rome"}')) as server:
        answer = chat(server.url).invoke("Hi")
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Rome"}]
    assert [call["args"] for call in answer.invalid_tool_calls] == [arguments]


def test_calls_are_streamed_in_pieces() -> None:
    """LangChain puts them together."""
    deltas = [
        {"content": None, "tool_calls": [{"index": 0, "id": "1", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Paris"}'}}]},
    ]
    events = [{"choices": [{"delta": delta}]} for delta in deltas] + [
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    ]
    parts = tuple(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    with serving(Reply(parts=(*parts, b"data: [DONE]\n\n"))) as server:
        whole: Any = AIMessageChunk(content="")
        for piece in chat(server.url).stream("Hi"):
            whole += piece
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("weather", {"city": "Paris"})]
    assert whole.usage_metadata["total_tokens"] == 7
    assert whole.response_metadata["finish_reason"] == "tool_calls"


def test_parameters_go_before_the_targets_defaults_and_a_calls_before_them() -> None:
    """In our names or others'."""
    with serving(ANSWER) as server:
        model = chat(server.url, max_tokens=5, stop=["END"], parameters={"top_k": 3}, model="tiny")
        model.invoke("Hi", temperature=0.5, stop=["STOP"])
        document = server.seen[0].document
    assert document == {
        "messages": [{"role": "user", "content": "Hi"}], "model": "tiny", "max_tokens": 5, "temperature": 0.5,
        "stop": ["STOP"], "top_k": 3, "stream": False,
    }  # fmt: skip


def test_keys_are_sent_and_not_shown() -> None:
    """Neither by `repr` nor by serialising."""
    with serving(ANSWER) as server:
        model = chat(server.url, api_key=SecretStr("made-up-key"), headers={"X-Team": SecretStr("made-up-team")})
        model.invoke("Hi")
        assert server.seen[0].headers["authorization"] == "Bearer made-up-key"
        assert server.seen[0].headers["x-team"] == "made-up-team"
    assert "made-up" not in repr(model) + model.model_dump_json()


def test_without_langchain_it_says_what_is_missing() -> None:
    """With the extra's name; the rest of the client works."""
    script = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "import llm_deploy.client.connect\n"
        "import llm_deploy.client.langchain"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "connect" not in done.stderr


def test_one_object_serves_one_loop_after_another_and_does_not_gather_them() -> None:
    """A program that calls `asyncio.run` for each question keeps the first and the last loop at most."""

    def loops() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.AbstractEventLoop) for each in gc.get_objects())

    with serving(ANSWER) as server:
        model = chat(server.url)
        before = loops()
        for _ in range(8):
            assert asyncio.run(model.ainvoke("Hi")).text == "ok"
        assert loops() - before <= 2


def test_loops_in_several_threads_share_one_object() -> None:
    """Closing on one loop is no trouble to another."""

    async def ask(model: ChatLlmDeploy) -> str:
        text = (await model.ainvoke("Hi")).text
        await model.aclose()
        return text

    with serving(ANSWER) as server, ThreadPoolExecutor(4) as threads:
        model = chat(server.url)
        asked = [threads.submit(lambda: asyncio.run(ask(model))) for _ in range(16)]
        assert [each.result(30) for each in asked] == ["ok"] * 16
