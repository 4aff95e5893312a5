"""Requests in and whole answers out, in every dialect a backend may speak."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.errors import InferenceRequestError, LlmDeployError, WireFormatError
from llm_deploy.gateway import fields, openapi
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.whole import embeddings_answer, openai_answer, tgi_answer
from llm_deploy.gateway.asked import limit, read
from llm_deploy.gateway.backends import Backend, Speech, single_lane
from tests.fakes.gateways import answer, chat
from tests.fakes.transports import FakeTransport

TGI = b'[{"generated_text":"hi","details":{"finish_reason":"eos_token","generated_tokens":2,"input_length":5}}]'


def body(kind: Any, document: dict[str, Any], speech: Speech, name: str | None = None, **options: Any) -> Any:  # noqa: ANN401 - JSON
    """What a backend of this speech gets for a request."""
    backend = Backend("b", single_lane(FakeTransport(), speech), served_name=name)
    return json.loads(backend.body(read(kind, json.dumps(document).encode(), **options), speech))


@pytest.mark.parametrize("speech", ["openai", "openai-chat", "tgi", "lmi"])
def test_chats_are_openais_everywhere(speech: Speech) -> None:
    """Every engine tells a chat by its messages; fields that we do not know pass."""
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "top_k": 5,
        "tools": [{"type": "function"}],
    }
    found = body("chat", document, speech)
    assert found == {name: value for name, value in document.items() if name != "model"}


def test_prompts_are_said_in_the_engines_words() -> None:
    """Completions for OpenAI, inputs and parameters for TGI and LMI, a chat for who takes nothing else."""
    document = {"model": "m", "prompt": ["x"], "max_tokens": 7, "temperature": 0, "stop": "."}
    assert body("completion", document, "openai", "served")["model"] == "served"
    found = body("completion", document, "tgi")
    assert found["inputs"] == "x"
    assert found["parameters"]["max_new_tokens"] == 7
    assert found["parameters"]["stop"] == ["."]
    assert found["parameters"]["do_sample"] is False
    assert body("completion", document, "openai-chat")["messages"][0]["content"] == "x"


def test_tgis_own_route_counts_its_tokens() -> None:
    """Details are asked for, whatever the caller wants, because requests are metered."""
    document = {"inputs": "x", "parameters": {"max_new_tokens": 3}, "model": "m"}
    assert body("generate", document, "tgi") == {
        "inputs": "x",
        "parameters": {"max_new_tokens": 3, "details": True},
        "stream": False,
    }
    assert body("generate", document, "openai", stream=True)["max_tokens"] == 3


def test_a_default_length_is_set_where_none_is_asked_for() -> None:
    """In the words of the route."""
    asked = read("generate", b'{"inputs":"x"}')
    limit(asked, 9)
    assert asked.document["parameters"] == {"max_new_tokens": 9}
    asked = read("chat", chat())
    limit(asked, 9)
    assert asked.document["max_tokens"] == 9


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:  # noqa: ANN401 - JSON
    """No document makes the reader fail in another way."""
    for kind in ("chat", "completion", "embeddings", "generate"):
        for document in (value, {"model": "m", "messages": value, "prompt": value, "input": value, "inputs": value}):
            try:
                read(kind, json.dumps(document).encode())
            except InferenceRequestError:
                continue


@pytest.mark.parametrize("table", [fields.CHAT, fields.COMPLETION, fields.EMBEDDINGS, fields.GENERATE])
def test_the_checks_are_what_the_document_says(table: fields.Fields) -> None:
    """For a set of values, a field passes its check exactly when it passes its schema."""
    import jsonschema  # noqa: PLC0415 - only here

    values: list[Any] = [None, True, 0, 1, 1.0, 1.5, -3, 2, 9**20, "", "x", [], ["x"], [1], {}, [{}], ["x"] * 20]
    schema = fields.schema(table)["properties"]
    for name, rule in table.items():
        for value in values:
            passes = rule.passes(value) or (value is None and not rule.required)
            assert passes is jsonschema.Draft202012Validator(schema[name]).is_valid(value), (name, value)


def test_an_answer_keeps_its_shape_under_the_public_name() -> None:
    """OpenAI's passes with one name changed and its tokens counted; TGI's is written anew."""
    frame = Frame("chat", request_id="r", model="mine", created_s=1)
    given_, tally = openai_answer(answer("theirs"), frame)
    assert json.loads(given_)["model"] == "mine"
    assert json.loads(given_)["choices"][0]["message"]["content"] == "theirs"
    assert (tally.prompt_tokens, tally.generated_tokens) == (4, 3)
    made, tally = openai_answer(TGI, frame)
    document = json.loads(made)
    assert document["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "hi"},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert document["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert (tally.prompt_tokens, tally.generated_tokens) == (5, 2)


def test_text_that_looks_like_counts_is_text() -> None:
    """What a model writes cannot change what is metered."""
    frame = Frame("chat", request_id="r", model="mine", created_s=1)
    _, tally = openai_answer(answer('"prompt_tokens": 99999, "usage": {"completion_tokens": 1}'), frame)
    assert (tally.prompt_tokens, tally.generated_tokens) == (4, 3)


def test_tgis_details_are_for_who_asked() -> None:
    """The gateway asked for them to count; a caller that did not does not get them."""
    plain, tally = tgi_answer(TGI, keeps_details=False)
    assert json.loads(plain) == {"generated_text": "hi"}
    assert tally.generated_tokens == 2
    assert json.loads(tgi_answer(TGI, keeps_details=True)[0])["details"]["finish_reason"] == "eos_token"
    assert json.loads(tgi_answer(answer("x"), keeps_details=True)[0])["details"]["generated_tokens"] == 3


def test_embeddings_come_from_either_shape() -> None:
    """OpenAI's list, and TEI's bare vectors."""
    item = b'{"object":"embedding","index":0,"embedding":[1]}'
    openai = b'{"object":"list","data":[%s],"model":"x","usage":{"prompt_tokens":3}}' % item
    found, tally = embeddings_answer(openai, "mine")
    assert json.loads(found)["model"] == "mine"
    assert tally.prompt_tokens == 3
    found, _ = embeddings_answer(b"[[1.0],[2.0]]", "mine")
    assert [each["embedding"] for each in json.loads(found)["data"]] == [[1.0], [2.0]]
    found, _ = embeddings_answer(b"[[1.0]]", "mine", as_base64=True)
    assert json.loads(found)["data"][0]["embedding"] == "AACAPw=="
    assert body("embeddings", {"model": "m", "input": ["x"]}, "tgi") == {"inputs": ["x"]}
    assert body("embeddings", {"model": "m", "input": "x"}, "openai") == {"input": "x"}


@pytest.mark.parametrize(
    "wrong", [b"", b"{}", b"nothing", b"[1]", b'{"error":"CUDA"}', b'{"object":"error","message":"x"}']
)
def test_what_is_no_answer_is_an_error(wrong: bytes) -> None:
    """Errors that come with HTTP 200, and bytes of anybody else."""
    frame = Frame("chat", request_id="r", model="m", created_s=1)
    with pytest.raises(LlmDeployError):
        openai_answer(wrong, frame)
    with pytest.raises(LlmDeployError):
        tgi_answer(wrong, keeps_details=False)
    with pytest.raises(LlmDeployError):
        embeddings_answer(wrong, "m")
    with pytest.raises(WireFormatError):
        openai_answer(b"[]", frame)


def test_the_openapi_document_is_one() -> None:
    """Every reference leads somewhere."""
    document = openapi.document(keys=True)
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
