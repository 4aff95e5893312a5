"""Tools and bound answers, in each dialect's words."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.dialects import tool_calls
from llm_deploy.dialects.registry import DIALECTS, dialect
from llm_deploy.dialects.stream import collect, decode_stream
from llm_deploy.dialects.types import Generation, GenerationRequest, ToolCall
from llm_deploy.errors import InferenceRequestError, WireFormatError

pytestmark = pytest.mark.row("T5")

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
MESSAGES: tuple[dict[str, Any], ...] = ({"role": "user", "content": "Hi"},)
IN_OPENAIS_WORDS = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


def sent(name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - a request's fields
    document: dict[str, Any] = json.loads(dialect(name).encode(GenerationRequest(**fields), stream=False))
    return document


@pytest.mark.parametrize("name", DIALECTS)
def test_tools_are_said_alike_in_every_chat(name: str) -> None:
    """OpenAI's words; the choice is said only with tools and only if there is one."""
    document = sent(name, messages=MESSAGES, tools=(TOOL,), tool_choice="required")
    assert (document["tools"], document["tool_choice"]) == ([TOOL], "required")
    assert "tool_choice" not in sent(name, messages=MESSAGES, tools=(TOOL,))
    assert "tool_choice" not in sent(name, messages=MESSAGES, tool_choice="auto")


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "openai-chat"])
def test_tools_with_a_prompt_are_refused(name: str) -> None:
    """No engine can offer them; `openai-chat` makes a chat of it."""
    with pytest.raises(InferenceRequestError, match="messages"):
        sent(name, prompt="Hi", tools=(TOOL,))


@pytest.mark.parametrize(
    ("name", "asked", "where", "value"),
    [
        ("tgi", {"messages": MESSAGES}, "response_format", {"type": "json", "value": SCHEMA}),
        ("auto", {"messages": MESSAGES}, "response_format", IN_OPENAIS_WORDS),
        ("openai", {"messages": MESSAGES}, "response_format", IN_OPENAIS_WORDS),
        ("openai", {"prompt": "Hi"}, "response_format", IN_OPENAIS_WORDS),
        ("openai-chat", {"prompt": "Hi"}, "response_format", IN_OPENAIS_WORDS),
        ("lmi", {"messages": MESSAGES}, "response_format", IN_OPENAIS_WORDS),
    ],
)
def test_a_schema_is_said_in_each_dialects_words(name: str, asked: Any, where: str, value: object) -> None:  # noqa: ANN401 - fields
    """TGI has its own; who may be another engine is told in OpenAI's."""
    assert sent(name, **asked, json_schema=SCHEMA)[where] == value


@pytest.mark.parametrize("name", ["tgi", "auto"])
def test_tgi_binds_answers_to_prompts_by_a_grammar(name: str) -> None:
    """A schema or an expression."""
    assert sent(name, prompt="Hi", json_schema=SCHEMA)["parameters"]["grammar"] == {"type": "json", "value": SCHEMA}
    assert sent(name, prompt="Hi", regex="a+")["parameters"]["grammar"] == {"type": "regex", "value": "a+"}


@pytest.mark.parametrize("asked", [{"messages": MESSAGES}, {"prompt": "Hi"}])
def test_an_expression_is_said_in_the_words_of_every_engine_behind_openais_shape(asked: Any) -> None:  # noqa: ANN401 - fields
    """VLLM's new and old word, and SGLang's; each ignores the others'."""
    document = sent("openai", **asked, regex="a+")
    assert (document["structured_outputs"], document["guided_regex"], document["regex"]) == (
        {"regex": "a+"},
        "a+",
        "a+",
    )
    assert sent("tgi", messages=MESSAGES, regex="a+")["response_format"] == {"type": "regex", "value": "a+"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lmi", {"prompt": "Hi", "json_schema": SCHEMA}),
        ("lmi", {"prompt": "Hi", "regex": "a"}),
        ("tgi", {"prompt": "Hi", "presence_penalty": 0.5}),
        *((name, {"messages": MESSAGES, "regex": "a", "json_schema": SCHEMA}) for name in DIALECTS),
        ("tgi", {"prompt": "Hi", "regex": "a", "json_schema": SCHEMA}),
    ],
)
def test_what_a_dialect_cannot_say_is_refused(name: str, fields: Any) -> None:  # noqa: ANN401 - fields
    """Before it is sent, rather than answered as if it had not been asked."""
    with pytest.raises(InferenceRequestError):
        sent(name, **fields)


def test_presence_penalty_is_openais() -> None:
    """Under its own name."""
    assert sent("openai", messages=MESSAGES, presence_penalty=0.5)["presence_penalty"] == 0.5


@pytest.mark.parametrize("name", ["openai", "tgi", "lmi"])
@pytest.mark.parametrize("arguments", ['{"city": "Paris"}', {"city": "Paris"}])
def test_calls_of_tools_are_read(name: str, arguments: object) -> None:
    """As text; TGI once sent a document."""
    message = {"content": None, "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": arguments}}]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()
    answer = dialect(name).decode(body)
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.tool_calls == (ToolCall("1", "weather", '{"city": "Paris"}'),)


@pytest.mark.parametrize("calls", [[{}], [{"function": {}}], ["x"], 3, [{"function": 3}]])
def test_calls_of_another_shape_are_a_wire_format_error(calls: object) -> None:
    """Not an exception of Python's."""
    body = json.dumps({"choices": [{"message": {"content": "", "tool_calls": calls}, "finish_reason": "stop"}]})
    with pytest.raises(WireFormatError):
        dialect("openai").decode(body.encode())


@pytest.mark.parametrize("piece", ["x", {"index": []}, {"index": {}}, {"function": "x"}, {"function": [1]}])
def test_pieces_of_another_shape_are_a_wire_format_error(piece: object) -> None:
    """When they are read, not when somebody puts them together."""
    data = json.dumps({"choices": [{"delta": {"tool_calls": [piece]}}]}).encode()
    with pytest.raises(WireFormatError):
        list(decode_stream([b"data: " + data + b"\n\n"], dialect("openai").stream_decoder()))


CALLS = st.lists(st.builds(ToolCall, st.text("abc123", min_size=1), st.text("abc_", min_size=1), st.text()), max_size=4)


@given(CALLS, st.lists(st.integers(0, 60)), st.booleans())
def test_pieces_of_calls_are_put_together(calls: list[ToolCall], cuts: list[int], interleaved: bool) -> None:  # noqa: FBT001 - hypothesis'
    """Whatever the arguments are cut into, and whichever call goes on first."""
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        deltas.append(
            {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        )
        places = sorted({0, len(call.arguments), *(cut for cut in cuts if cut < len(call.arguments))})
        pieces = [call.arguments[one:other] for one, other in itertools.pairwise(places)]
        deltas += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    if interleaved:
        deltas.sort(key=lambda delta: "id" not in delta)
    events: list[dict[str, Any]] = [{"choices": [{"delta": {"tool_calls": [delta]}}]} for delta in deltas]
    events.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    answer = collect(decode_stream([body], dialect("openai").stream_decoder()))
    assert answer == Generation("", "tool_calls", tool_calls=tuple(calls))


def test_older_tgi_sends_a_call_that_is_no_list() -> None:
    """And arguments piece by piece as text."""
    assert tool_calls.pieces({"tool_calls": {"index": 0, "function": {"name": "f"}}}) == (
        {"index": 0, "function": {"name": "f"}},
    )
