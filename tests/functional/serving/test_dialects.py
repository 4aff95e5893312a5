"""`/invocations` in each dialect, over the real engine, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx  # noqa: TC002 - a conditional block a file is noise
import pytest

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.serving.contract import DialectName
from tests.functional.serving.servers import sse

Application = Callable[[DialectName], Any]
CHAT = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 4, "temperature": 0}
COMPLETION = {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
INPUTS = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 4}}


def invoke(application: Application, name: DialectName, body: Any, **headers: str) -> httpx.Response:  # noqa: ANN401 - JSON
    async def ask() -> httpx.Response:
        async with application(name) as client:
            answer: httpx.Response = await client.post("/invocations", json=body, headers=headers)
            return answer

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["tgi", "openai", "lmi"])
@pytest.mark.parametrize("stream", [True, False])
def test_what_the_client_asks_is_what_it_reads(application: Application, name: DialectName, stream: bool) -> None:  # noqa: FBT001 - a parameter
    """Our client's half and this half agree, with the real model in between."""
    request = GenerationRequest(prompt="The capital of France is", max_new_tokens=6, temperature=0)
    spoken = dialect(name)
    answer = invoke(application, name, json.loads(spoken.encode(request, stream=stream)))
    assert answer.status_code == 200, answer.text
    if stream:
        decoder = spoken.stream_decoder()
        chunks = [*decoder.feed(answer.content), *decoder.close()]
        text = "".join(chunk.text for chunk in chunks)
        assert next(chunk.finish_reason for chunk in chunks if chunk.finish_reason) == "length"
    else:
        text = spoken.decode(answer.content).text
    assert text.startswith(" Paris")


@pytest.mark.parametrize("name", ["tgi", "openai", "lmi"])
def test_messages_are_answered_in_openais_shape(application: Application, name: DialectName) -> None:
    """On every engine's `/invocations`."""
    document = invoke(application, name, CHAT).json()
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["content"]
    assert document["usage"]["completion_tokens"] == 4


def test_streamed_chats_are_events_on_tgi_and_lines_on_lmi(application: Application) -> None:
    """`data:` and `[DONE]` here, bare documents there."""
    events = invoke(application, "tgi", CHAT | {"stream": True})
    assert events.headers["content-type"] == "text/event-stream"
    assert events.text.endswith("data: [DONE]\n\n")
    lines = invoke(application, "lmi", CHAT | {"stream": True})
    assert lines.headers["content-type"] == "application/jsonlines"
    documents = [json.loads(line) for line in lines.text.splitlines()]
    assert [d["choices"][0]["delta"].get("content") for d in documents] == [
        d["choices"][0]["delta"].get("content") for d in sse(events.text)
    ]


def test_vllm_refuses_inputs(application: Application) -> None:
    """It looks for a handler and finds none."""
    answer = invoke(application, "openai", INPUTS)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Cannot find suitable handler for request.")


def test_the_custom_attributes_choose_the_route(application: Application) -> None:
    """As in the AWS image: the header decides, not the body."""
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "route=/v1/chat/completions"}
    assert "`messages`" in invoke(application, "openai", COMPLETION, **attributes).json()["error"]["message"]
    assert invoke(application, "openai", COMPLETION).json()["object"] == "text_completion"


def test_another_model_is_404_on_vllm_only(application: Application) -> None:
    """TGI and LMI do not look at the name."""
    body = CHAT | {"model": "someone-else"}
    assert invoke(application, "openai", body).status_code == 404
    assert invoke(application, "tgi", body).status_code == 200
    assert invoke(application, "lmi", body).status_code == 200


@pytest.mark.parametrize(
    ("name", "body", "status"), [("tgi", INPUTS, 422), ("openai", COMPLETION, 400), ("lmi", INPUTS, 424)]
)
def test_a_prompt_that_is_too_long(
    application: Application, name: DialectName, body: dict[str, Any], status: int
) -> None:
    """Each engine's own status, and a message with the limit."""
    key = "prompt" if name == "openai" else "inputs"
    answer = invoke(application, name, body | {key: "word " * 2100})
    assert answer.status_code == status
    assert "2048" in json.dumps(answer.json())
