"""OpenAI's shapes, server side: golden answers, refusals in vLLM's words, and what our own client reads from them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Token
from llm_deploy.serving.engine import Ending, Piece
from llm_deploy.serving.shapes.asked import Context, Limits, ShapeError
from llm_deploy.serving.shapes.openai import (
    ChatAnswer,
    ChatDialect,
    CompletionAnswer,
    error,
    fit,
    parse_chat,
    parse_completion,
)

LIMITS = Limits(max_input_tokens=119, max_total_tokens=120)
MESSAGES = [{"role": "user", "content": "hi"}]
FRAME = '"created":7,"model":"m"'


def chat(**more: Any) -> Context:  # noqa: ANN401 - fields of a JSON body
    asked = parse_chat({"messages": MESSAGES, **more}, LIMITS)
    return Context(asked, "m", "id", 7, "<hi>", (Token("hi", 1),), seed=5)


def completion(**more: Any) -> Context:  # noqa: ANN401 - fields of a JSON body
    asked = parse_completion({"prompt": "ab", **more}, LIMITS)
    return Context(asked, "m", "id", 7, "ab", (Token("a", 1), Token("b", 2)), seed=5)


def piece(text: str, number: int) -> Piece:
    token = Token(text, number, -0.5)
    return Piece(text, token, (token,), number)


def test_chat_stream_is_golden() -> None:
    """Role, text, reason, usage, `[DONE]`: each in a chunk of its own."""
    answer = ChatAnswer(chat(stream=True, stream_options={"include_usage": True}))
    out = answer.start() + answer.piece(piece("x", 1)) + answer.end(Ending("stop", 1, 2))
    head = f'data: {{"id":"chatcmpl-id","object":"chat.completion.chunk",{FRAME},"choices":['
    choice = '{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":null}\n\n'
    assert out.decode() == (
        head
        + choice % ('{"role":"assistant","content":""}', "null")
        + head
        + choice % ('{"content":"x"}', "null")
        + head
        + choice % ("{}", '"stop"')
        + head
        + '],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
        + "data: [DONE]\n\n"
    )


def test_chat_as_lines_has_neither_prefix_nor_done() -> None:
    """LMI's chat streams are bare documents, one a line."""
    answer = ChatAnswer(chat(stream=True), as_lines=True)
    lines = (answer.start() + answer.end(Ending("eos", 1, 1))).splitlines()
    assert [json.loads(line)["object"] for line in lines] == ["chat.completion.chunk"] * 2


def test_whole_chat_with_log_probabilities() -> None:
    """`logprobs.content` has a token with its bytes and the likeliest ones."""
    document = ChatAnswer(chat(logprobs=True, top_logprobs=1)).whole([piece("é", 1)], Ending("length", 1, 1))
    choice = document["choices"][0]
    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert choice["logprobs"] == {"content": [entry | {"top_logprobs": [entry]}]}
    assert choice["message"] == {"role": "assistant", "content": "é"}
    assert choice["finish_reason"] == "length"
    assert document["usage"] == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def test_whole_completion_with_echo_and_log_probabilities() -> None:
    """`echo` puts the prompt before the text; offsets count characters of the answer."""
    document = CompletionAnswer(completion(echo=True, logprobs=1)).whole(
        [piece("xy", 1), piece("z", 2)], Ending("eos", 2, 2)
    )
    choice = document["choices"][0]
    assert choice["text"] == "abxyz"
    assert choice["logprobs"]["text_offset"] == [0, 2]
    assert choice["logprobs"]["tokens"] == ["xy", "z"]
    assert choice["finish_reason"] == "stop"


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=12), st.booleans(), st.data())
def test_client_reads_what_was_generated(texts: list[str], is_chat: bool, data: st.DataObject) -> None:  # noqa: FBT001 - hypothesis fills it
    """Whatever is generated and however the bytes are cut, our client reads the same text, counts and reason."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    answer = ChatAnswer(chat(**options)) if is_chat else CompletionAnswer(completion(**options))
    prompt_tokens = 1 if is_chat else 2
    ending = Ending("length", prompt_tokens, len(texts))
    pieces = [piece(text, number + 1) for number, text in enumerate(texts)]
    wire = b"".join([answer.start(), *[answer.piece(each) for each in pieces], answer.end(ending)])
    cut = data.draw(st.integers(0, len(wire)))
    decoder = dialect("openai").stream_decoder()
    chunks = [*decoder.feed(wire[:cut]), *decoder.feed(wire[cut:]), *decoder.close()]
    assert "".join(chunk.text for chunk in chunks) == "".join(texts)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["length"]
    counts = [chunk.counts for chunk in chunks if chunk.counts]
    assert [(each.prompt, each.generated) for each in counts] == [(prompt_tokens, len(texts))]
    read = dialect("openai").decode(json.dumps(answer.whole(pieces, ending)).encode())
    assert (read.text, read.finish_reason) == ("".join(texts), "length")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": []}, "`messages` must be a list that is not empty"),
        ({"messages": [{"role": "king", "content": "x"}]}, "`role` must be one of"),
        ({"messages": [{"role": "user", "content": 3}]}, "`content` must be a string"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "this model reads text only"),
        ({"messages": ["hi"]}, "each message must be a JSON object"),
        ({"tools": [{}]}, "has no tools"),
        ({"n": 2}, "`n` and `best_of` must be 1"),
        ({"temperature": -1}, "temperature must be non-negative, got -1.0."),
        ({"top_p": 0}, "top_p must be in (0, 1], got 0.0."),
        ({"presence_penalty": 3}, "presence_penalty must be in [-2, 2], got 3.0."),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0."),
        ({"top_logprobs": 2}, "`logprobs` must be set to true"),
        ({"response_format": {"type": "xml"}}, "`response_format` must be of the type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "foo"}}}}, "'foo' is not a"),
        ({"seed": -1}, "`seed` must be >= 0"),
        ({"stop": [1]}, "`stop` must be a string or a list of strings"),
    ],
)
def test_refusals(more: dict[str, Any], message: str) -> None:
    """Each wrong parameter is refused before the engine sees it, with 400."""
    with pytest.raises(ShapeError) as caught:
        parse_chat({"messages": MESSAGES, **more}, LIMITS)
    assert message in caught.value.message
    assert caught.value.status == 400


def test_parts_of_a_content_are_joined() -> None:
    """A content may be a list of text parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = parse_chat({"messages": [{"role": "user", "content": parts}]}, LIMITS)
    assert asked.request.messages == ({"role": "user", "content": "ab"},)


def test_another_models_name_is_not_found() -> None:
    """VLLM's 404; the right name, an empty one and none are taken."""
    served = ChatDialect(model="m")
    for name in ("m", "", None):
        served.parse({"messages": MESSAGES, "model": name}, LIMITS)
    with pytest.raises(ShapeError, match=r"The model `x` does not exist\.") as caught:
        served.parse({"messages": MESSAGES, "model": "x"}, LIMITS)
    assert caught.value.status == 404


def test_overflow_is_refused_in_vllms_words() -> None:
    """A prompt that is too long, and an answer that would be."""
    assert fit(20, None, LIMITS) == 100
    with pytest.raises(ShapeError, match=r"maximum context length is 120 tokens\. However, your request has 120 input"):
        fit(120, 1, LIMITS)
    with pytest.raises(ShapeError, match=r"is too large: 101\. This model's maximum context length is 120 tokens"):
        fit(20, 101, LIMITS)


def test_error_document() -> None:
    """The nested form, with vLLM's type names."""
    wanted = {"message": "no", "type": "BadRequestError", "param": None, "code": 400}
    assert error("no", 400) == {"error": wanted}
