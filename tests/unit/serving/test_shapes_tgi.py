"""TGI's shapes, server side: golden answers, refusals in TGI's words, and what our own client reads from them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Token
from llm_deploy.serving.engine import Ending, Piece
from llm_deploy.serving.shapes.asked import Asked, Context, Limits, ShapeError
from llm_deploy.serving.shapes.tgi import TgiAnswer, TgiDialect, error, parse

LIMITS = Limits(max_input_tokens=100, max_total_tokens=120)
PROMPT = (Token("a", 1), Token("b", 2))


def context(parameters: dict[str, Any] | None = None, *, stream: bool = False) -> Context:
    asked = parse(
        {"inputs": "ab", "stream": stream, "parameters": {"max_new_tokens": 50, **(parameters or {})}}, LIMITS
    )
    return Context(asked, "m", "id", 7, "ab", PROMPT, seed=5)


def piece(text: str, number: int, *, special: bool = False) -> Piece:
    token = Token(text, number, -0.5, special)
    return Piece("" if special else text, token, (token,), number)


def test_whole_answer_is_a_list_on_invocations_and_an_object_on_generate() -> None:
    """Only `/invocations` wraps the answer in a list."""
    ending = Ending("length", 2, 1)
    assert TgiAnswer(context(), as_list=True).whole([piece("x", 1)], ending) == [{"generated_text": "x"}]
    assert TgiAnswer(context()).whole([piece("x", 1)], ending) == {"generated_text": "x"}


def test_details_of_a_whole_answer() -> None:
    """`details` holds reason, counts, tokens; a special token is listed but not in the text."""
    answer = TgiAnswer(context({"details": True, "decoder_input_details": True, "top_n_tokens": 1}))
    document = answer.whole([piece("x", 1), piece("<|im_end|>", 2, special=True)], Ending("eos", 2, 2))
    tokens = [
        {"id": 1, "text": "x", "logprob": -0.5, "special": False},
        {"id": 2, "text": "<|im_end|>", "logprob": -0.5, "special": True},
    ]
    assert document == {
        "generated_text": "x",
        "details": {
            "finish_reason": "eos_token",
            "generated_tokens": 2,
            "seed": None,
            "prefill": [{"id": 1, "text": "a", "logprob": None}, {"id": 2, "text": "b", "logprob": None}],
            "tokens": tokens,
            "top_tokens": [[tokens[0]], [tokens[1]]],
        },
    }


def test_seed_is_reported_only_when_it_mattered() -> None:
    """A greedy answer has no seed; a sampled one names the seed that was used."""
    sampled = TgiAnswer(context({"details": True, "do_sample": True})).whole([piece("x", 1)], Ending("length", 2, 1))
    assert sampled["details"]["seed"] == 5


def test_stream_ends_with_text_and_details_on_the_last_token() -> None:
    """The golden bytes of a stream; only the last event has text and details."""
    answer = TgiAnswer(context({"stop": ["y"]}, stream=True))
    held = Piece("", Token("y", 2, -0.5), (), 2)
    out = answer.start() + answer.piece(piece("x", 1)) + answer.piece(held) + answer.end(Ending("stop", 2, 2))
    assert out == (
        b'data:{"index":1,"token":{"id":1,"text":"x","logprob":-0.5,"special":false},'
        b'"generated_text":null,"details":null}\n\n'
        b'data:{"index":2,"token":{"id":2,"text":"y","logprob":-0.5,"special":false},"generated_text":"xy",'
        b'"details":{"finish_reason":"stop_sequence","generated_tokens":2,"seed":null,"input_length":2}}\n\n'
    )


def test_a_token_that_cannot_be_the_last_is_sent_at_once() -> None:
    """Holding every token back would add one token's time to the first one."""
    assert TgiAnswer(context(stream=True)).piece(piece("x", 1)) != b""


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=12), st.booleans(), st.data())
def test_client_reads_what_was_generated(texts: list[str], ends_by_itself: bool, data: st.DataObject) -> None:  # noqa: FBT001 - hypothesis fills it
    """Whatever is generated and however the bytes are cut, our client reads the same text, counts and reason."""
    pieces = [piece(text, number + 1) for number, text in enumerate(texts)]
    ending = Ending("length", 2, len(pieces))
    if ends_by_itself:
        pieces.append(piece("<|im_end|>", len(pieces) + 1, special=True))
        ending = Ending("eos", 2, len(pieces))
    answer = TgiAnswer(context({"max_new_tokens": len(texts)}, stream=True))
    wire = b"".join([answer.start(), *[answer.piece(each) for each in pieces], answer.end(ending)])
    cut = data.draw(st.integers(0, len(wire)))
    decoder = dialect("tgi").stream_decoder()
    chunks = [*decoder.feed(wire[:cut]), *decoder.feed(wire[cut:]), *decoder.close()]
    assert "".join(chunk.text for chunk in chunks) == "".join(texts)
    last = next(chunk for chunk in chunks if chunk.finish_reason)
    assert last.finish_reason == ending.reason
    assert last.counts is not None
    assert (last.counts.prompt, last.counts.generated) == (2, ending.generated_tokens)
    whole = TgiAnswer(context({"details": True}), as_list=True).whole(pieces, ending)
    read = dialect("tgi").decode(json.dumps(whole).encode())
    assert (read.text, read.finish_reason) == ("".join(texts), ending.reason)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"temperature": -1}, "`temperature` must be strictly positive"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"typical_p": 0}, "`typical_p` must be > 0.0 and < 1.0"),
        ({"top_k": 0}, "`top_k` must be strictly positive"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ({"repetition_penalty": 0}, "`repetition_penalty` must be strictly positive"),
        ({"frequency_penalty": 3}, "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "`stop` supports up to 4 stop sequences. Given: 5"),
        ({"best_of": 2}, "`best_of` != 1 is not allowed for this endpoint"),
        ({"top_n_tokens": 6}, "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
        ({"truncate": 0}, "`truncate` must be strictly positive and less than 100. Given: 0"),
        ({"truncate": 101}, "`truncate` must be strictly positive and less than 100. Given: 101"),
        ({"grammar": {"type": "json", "value": {"type": "object"}}}, "Grammar must have a 'properties' field"),
        ({"grammar": {"type": "json", "value": {"type": "foo"}}}, "'foo' is not a type of JSON schema"),
        ({"grammar": {"type": "regex", "value": "[0-9"}}, "grammar is not valid"),
        ({"grammar": {"type": "poem", "value": ""}}, "grammar is not supported"),
        ({"temperature": "hot"}, "`temperature` must be a number"),
        ({"temperature": 10**400}, "`temperature` must be a number"),
        ({"max_new_tokens": True}, "`max_new_tokens` must be an integer"),
        ({"seed": -1}, "`seed` must be >= 0"),
    ],
)
def test_refusals(parameters: dict[str, Any], message: str) -> None:
    """Each wrong parameter is refused before the engine sees it, in TGI's words, with 422."""
    with pytest.raises(ShapeError) as caught:
        parse({"inputs": "x", "parameters": parameters}, LIMITS)
    assert message in caught.value.message
    assert caught.value.status == 422


def test_error_document() -> None:
    """TGI prefixes what it validates, and names the type of every error."""
    wanted = {"error": "Input validation error: `inputs` cannot be empty", "error_type": "validation"}
    assert error("`inputs` cannot be empty", 422) == wanted
    assert error("Model is overloaded", 429) == {"error": "Model is overloaded", "error_type": "overloaded"}


@pytest.mark.parametrize(
    ("parameters", "temperature"),
    [
        ({}, 0),
        ({"do_sample": False}, 0),
        ({"temperature": 1.0}, 0),
        ({"do_sample": True}, 1.0),
        ({"temperature": 0.3}, 0.3),
        ({"top_k": 5}, 1.0),
        ({"top_p": 0.9}, 1.0),
        ({"typical_p": 0.9}, 1.0),
    ],
)
def test_greedy_unless_something_samples(parameters: dict[str, Any], temperature: float) -> None:
    """TGI samples when told to, or when a parameter changes the odds; a temperature of 1 does not."""
    assert parse({"inputs": "x", "parameters": parameters}, LIMITS).request.temperature == temperature


def fit(prompt_tokens: int, max_new_tokens: int | None) -> int:
    asked: Asked = parse({"inputs": "x", "parameters": {"max_new_tokens": max_new_tokens}}, LIMITS)
    return TgiDialect().fit(prompt_tokens, asked, LIMITS)


def test_room_that_is_left_is_the_default() -> None:
    """Without `max_new_tokens` the answer may fill the context."""
    assert fit(20, None) == 100
    assert fit(20, 100) == 100


def test_overflow_is_refused_in_tgis_words() -> None:
    """The sum is checked first, then the prompt alone."""
    text = "`inputs` tokens + `max_new_tokens` must be <= 120. Given: 20 `inputs` tokens and 101 `max_new_tokens`"
    with pytest.raises(ShapeError) as caught:
        fit(20, 101)
    assert caught.value.message == text
    with pytest.raises(ShapeError) as caught:
        fit(101, 5)
    assert caught.value.message == "`inputs` must have less than 100 tokens. Given: 101"
