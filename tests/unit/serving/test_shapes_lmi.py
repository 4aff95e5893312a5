"""LMI's shapes, server side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Token
from llm_deploy.serving.engine import Ending, Piece
from llm_deploy.serving.shapes.asked import Context, Limits, ShapeError
from llm_deploy.serving.shapes.lmi import LmiAnswer, LmiDialect, parse

LIMITS = Limits(max_input_tokens=119, max_total_tokens=120)


def context(**parameters: Any) -> Context:  # noqa: ANN401 - fields of a JSON body
    asked = parse({"inputs": "ab", "parameters": parameters}, LIMITS)
    return Context(asked, "m", "id", 7, "ab", (Token("a", 1), Token("b", 2)), seed=5)


def piece(text: str, number: int) -> Piece:
    return Piece(text, Token(text, number, -0.5), (), number)


def test_stream_is_golden() -> None:
    """One JSON document a line, `log_prob` and no `data:`; the last has the text."""
    answer = LmiAnswer(context())
    out = answer.start() + answer.piece(piece("x", 1)) + answer.piece(piece("y", 2)) + answer.end(Ending("eos", 2, 2))
    assert out == (
        b'{"token":{"id":1,"text":"x","log_prob":-0.5}}\n'
        b'{"token":{"id":2,"text":"y","log_prob":-0.5},"generated_text":"xy",'
        b'"details":{"finish_reason":"eos_token","generated_tokens":2,"inputs":"ab"}}\n'
    )


def test_whole_answer_is_an_object() -> None:
    """Not a list, as TGI's is."""
    assert LmiAnswer(context()).whole([piece("x", 1)], Ending("length", 2, 1)) == {"generated_text": "x"}
    detailed = LmiAnswer(context(details=True)).whole([piece("x", 1)], Ending("length", 2, 1))
    assert detailed["details"]["tokens"] == [{"id": 1, "text": "x", "log_prob": -0.5}]


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=12), st.data())
def test_client_reads_what_was_generated(texts: list[str], data: st.DataObject) -> None:
    """Whatever is generated and however the bytes are cut, our client reads the same text and reason."""
    answer = LmiAnswer(context())
    pieces = [piece(text, number + 1) for number, text in enumerate(texts)]
    ending = Ending("length", 2, len(pieces))
    wire = b"".join([answer.start(), *[answer.piece(each) for each in pieces], answer.end(ending)])
    cut = data.draw(st.integers(0, len(wire)))
    decoder = dialect("lmi").stream_decoder()
    chunks = [*decoder.feed(wire[:cut]), *decoder.feed(wire[cut:]), *decoder.close()]
    assert "".join(chunk.text for chunk in chunks) == "".join(texts)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["length"]
    whole = LmiAnswer(context(details=True)).whole(pieces, ending)
    assert dialect("lmi").decode(json.dumps(whole).encode()).text == "".join(texts)


def test_defaults() -> None:
    """30 tokens, and greedy unless `do_sample` is set."""
    request = parse({"inputs": "x", "parameters": {"temperature": 0.7}}, LIMITS).request
    assert (request.max_new_tokens, request.temperature) == (30, 0)
    sampled = parse({"prompt": "x", "parameters": {"temperature": 0.7, "do_sample": True}}, LIMITS).request
    assert (sampled.prompt, sampled.temperature) == ("x", 0.7)


@pytest.mark.parametrize("body", [{}, {"inputs": ""}, {"inputs": 3}, [], {"inputs": "x", "parameters": {"n": 2}}])
def test_whatever_is_wrong_is_424(body: object) -> None:
    """LMI has one status for it."""
    with pytest.raises(ShapeError) as caught:
        parse(body, LIMITS)
    assert caught.value.status == 424


def test_error_document() -> None:
    """`{"error", "code"}`."""
    assert LmiDialect().error("no", 424) == {"error": "no", "code": 424}
