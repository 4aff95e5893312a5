"""Attributes and messages in the conventions' words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from llm_deploy.tracing import conventions
from llm_deploy.tracing.messages import input_messages, output_message
from tests.unit.tracing.conftest import Recorded

NAMES = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}


def test_every_name_is_one_of_the_conventions() -> None:
    """As OpenTelemetry's own package of them has it; ours begin otherwise."""
    used = [
        value
        for name, value in vars(conventions).items()
        if name.isupper() and isinstance(value, str) and value.startswith("gen_ai.")
    ]
    used += conventions._REQUEST.values()
    assert len(used) > 20
    assert set(used) <= NAMES


def test_a_request_says_what_was_set_and_nothing_else() -> None:
    """Empty and unset parameters are left out, host and port come from the address."""
    found = conventions.request(
        "chat", "twin", provider="aws.sagemaker", stream=True, json=True, url="https://h.example/x",
        max_tokens=5, temperature=0.0, top_p=None, stop=("a",), seed=None, unknown=3,
    )  # fmt: skip
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.sagemaker",
        "gen_ai.request.model": "twin",
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "json",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.stop_sequences": ["a"],
        "server.address": "h.example",
        "server.port": 443,
    }


@pytest.mark.parametrize("url", ["", "nonsense", "http://[", "http://h:99999/"])
def test_an_address_that_is_none_is_left_out(url: str) -> None:
    """Instead of an error."""
    assert conventions.address(url) == {}


def test_nothing_that_people_wrote_is_given_while_it_is_not_captured() -> None:
    """Documents keep id and score."""
    assert conventions.prompt(text="secret") == {}
    assert conventions.queries("secret", ["other"]) == {}
    assert "secret" not in json.dumps(conventions.answer(text="secret", finish_reason="stop", output_tokens=1))
    found = conventions.documents([{"id": 7, "score": 1, "content": "secret"}])
    assert found == {"gen_ai.retrieval.documents": [{"id": "7", "score": 1.0}]}


def test_content_is_given_while_it_is_captured(listening: Callable[..., Recorded]) -> None:
    """The query first and once, then what it was expanded to."""
    listening()
    assert conventions.queries("a", ["b", "a"]) == {
        "gen_ai.retrieval.query.text": "a",
        "llmdeploy.rag.queries": ["a", "b"],
    }
    assert conventions.prompt(text="q")["gen_ai.input.messages"] == [
        {"role": "user", "parts": [{"type": "text", "content": "q"}]}
    ]


def test_a_chat_with_tools_and_pictures_becomes_parts() -> None:
    """Calls, results and pictures keep their kind; a picture's bytes are not kept."""
    found = input_messages([
        {"role": "user", "content": [{"type": "text", "text": "look"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ])  # fmt: skip
    assert found == [
        {"role": "user", "parts": [{"type": "text", "content": "look"},
                                   {"type": "uri", "modality": "image", "uri": "data:image/png;base64"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": {"a": 1}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "42"}]},
    ]  # fmt: skip
    assert input_messages(found) == found


@pytest.mark.parametrize(("said", "meant"), [("eos", "stop"), ("tool_calls", "tool_call"), ("length", "length")])
def test_reasons_have_the_conventions_words(said: str, meant: str) -> None:
    """Whatever the engine calls them."""
    assert output_message("x", said)["finish_reason"] == meant


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "parts"]), json_values))
)
def test_any_document_that_calls_itself_messages_becomes_messages(asked: list[dict[str, Any]]) -> None:
    """A refused request is recorded too, so nothing in it may break the recording."""
    assert len(input_messages(asked)) == len(asked)
