"""The quick readers of common events against the full ones; JSON by orjson against the standard library."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from llm_deploy.dialects import documents, lmi, openai, quick
from llm_deploy.dialects.registry import DIALECTS
from llm_deploy.dialects.stream import decode_stream
from llm_deploy.dialects.types import Chunk, Token
from llm_deploy.errors import InferenceError

on_a_busy_machine = settings(deadline=None, suppress_health_check=list(HealthCheck))

leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-9, 9), st.text(max_size=4), st.just({}), st.just([])
)
tokens = st.fixed_dictionaries(
    {"text": st.text(max_size=5) | leaves, "logprob": st.floats(-9, 0) | leaves, "special": st.booleans() | leaves},
    optional={"id": st.integers(0, 9) | leaves, "log_prob": leaves, "special_token": leaves},
)
deltas = st.fixed_dictionaries(
    {"content": st.text(max_size=5) | leaves},
    optional={"role": st.just("assistant"), "tool_calls": leaves, "reasoning_content": leaves},
)
choices = st.fixed_dictionaries(
    {"index": st.just(0) | leaves},
    optional={"delta": deltas | leaves, "text": st.text(max_size=3) | leaves, "finish_reason": st.none() | leaves,
              "logprobs": st.none() | leaves, "message": deltas | leaves, "stop_reason": leaves},
)  # fmt: skip
events = st.fixed_dictionaries(
    {},
    optional={"token": tokens | leaves, "generated_text": st.none() | leaves, "details": st.none() | leaves,
              "choices": st.lists(choices, max_size=2) | leaves, "usage": st.none() | leaves, "error": leaves,
              "object": st.sampled_from(["error", "chat.completion.chunk"]) | leaves, "index": leaves},
)  # fmt: skip


def in_full(document: Any, name: str) -> list[Chunk] | None:  # noqa: ANN401 - a JSON document
    """The chunks by the full readers; `None` where they raise, as for a failure."""
    data = b"data: %s\n\n" % json.dumps(document).encode()
    decoder = DIALECTS[name].stream_decoder()
    decoder._read_quickly = quick.read_nothing  # type: ignore[attr-defined]
    try:
        return decoder.feed(data)
    except InferenceError:
        return None


@on_a_busy_machine
@given(events)
def test_what_is_read_quickly_is_read_the_same_in_full(document: dict[str, Any]) -> None:
    """Or it is left to the full readers: failures, ends, anything unusual."""
    data = json.dumps(document).encode()
    for read, name in ((quick.read_any, "tgi"), (quick.read_any, "auto"), (quick.read_openai, "openai")):
        found = read(data)
        if found is not None:
            assert in_full(document, name) == [found]


TGI_LINE = (
    b'{"index":%d,"token":{"id":%d,"text":"%s","logprob":%s,"special":false},"generated_text":null,"details":null}'
)


@on_a_busy_machine
@example(1, "\u20ac ", -0.5)
@given(
    st.integers(0, 10**12), st.text(max_size=6), st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
)
def test_a_token_line_is_read_the_same_without_a_json_library(number: int, text: str, logprob: float) -> None:
    """Whenever its text has nothing escaped; else it is left to the full readers."""
    try:
        line = TGI_LINE % (number, number, text.encode(), json.dumps(logprob).encode())
    except UnicodeEncodeError:
        return
    found = quick.read_token_line(line)
    try:
        document = json.loads(line)
    except ValueError:
        assert found is None
        return
    if found is not None:
        assert [found] == lmi.read_event(document)
        assert type(found.token) is Token
        assert type(found.token.logprob) is type(document["token"]["logprob"])


@pytest.mark.parametrize("text", ["\\", '"', "\x00", "\n", "\x1f"])
def test_a_token_line_with_escapes_is_left_to_the_full_readers(text: str) -> None:
    """And one that is no UTF-8."""
    assert quick.read_token_line(TGI_LINE % (1, 1, json.dumps(text)[1:-1].encode(), b"-0.5")) is None
    assert quick.read_token_line(TGI_LINE % (1, 1, b"\xff", b"-0.5")) is None
    assert quick.read_token_line(TGI_LINE % (1, 1, b"a", b"-0.5")) == Chunk("a", Token("a", 1, -0.5))


def test_the_commonest_events_are_read_quickly() -> None:
    """What engines send for each token; a change that sends them the long way fails here."""
    tgi = TGI_LINE % (1, 1, b" Paris", b"-0.5")
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    alike = {"id": "x", "created": 1, "model": "m"}
    chat = {**alike, "object": "chat.completion.chunk", "choices": [{**choice, "delta": {"content": " Paris"}}]}
    completion = {**alike, "object": "text_completion", "choices": [{**choice, "text": " Paris", "stop_reason": None}]}
    for read in (quick.read_any, quick.read_token_line):
        assert read(tgi) == Chunk(" Paris", Token(" Paris", 1, -0.5))
    for document in (chat, completion):
        for reader in (quick.read_any, quick.read_openai):
            assert reader(json.dumps(document).encode()) == Chunk(" Paris")
            assert openai.read_event(document) == [Chunk(" Paris")]


def test_without_orjson_streams_are_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library alone gives the same chunks."""
    lines = [
        TGI_LINE % (number, number, text, b"-0.5") for number, text in enumerate([b" Par", b"is", b"\\n", b"\xc3\xa9"])
    ]
    end = {"token": {"id": 9, "text": "!", "logprob": -1, "special": False}, "generated_text": " Paris\n\u00e9!",
           "details": {"finish_reason": "length", "generated_tokens": 5}}  # fmt: skip
    data = b"".join(b"data:%s\n\n" % line for line in [*lines, json.dumps(end).encode()])
    with_it = list(decode_stream([data], DIALECTS["tgi"].stream_decoder()))
    monkeypatch.setattr(documents, "HAS_ORJSON", False)
    assert list(decode_stream([data], DIALECTS["tgi"].stream_decoder())) == with_it
    assert "".join(chunk.text for chunk in with_it) == " Paris\n\u00e9!"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@on_a_busy_machine
@given(json_values)
def test_documents_go_to_bytes_and_back(document: Any) -> None:  # noqa: ANN401 - a JSON document
    """As the standard library reads them."""
    try:
        data = documents.dump(document)
    except ValueError:  # a lone surrogate, which UTF-8 cannot say
        with pytest.raises(UnicodeEncodeError):
            json.dumps(document, ensure_ascii=False).encode()
        return
    assert json.loads(data) == document
    assert documents.load(json.dumps(document).encode()) == document


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_not_nulled(value: float) -> None:
    """Orjson writes `null` for it, which a model server would take for "not said"."""
    with pytest.raises(ValueError, match="JSON compliant"):
        documents.dump({"temperature": value})


@pytest.mark.parametrize("value", [{1, 2}, b"a", object()])
def test_what_is_no_json_is_refused(value: object) -> None:
    """By the same class of errors as ever."""
    with pytest.raises(TypeError):
        documents.dump({"x": value})


def test_what_only_the_standard_library_does_is_done() -> None:
    """Numbers as names, NaN, lone surrogates, byte order marks, bytes that are no UTF-8."""
    assert documents.dump({1: "a"}) == b'{"1":"a"}'
    assert documents.dump(2**70) == str(2**70).encode()
    assert math.isnan(documents.load(b'{"a": NaN}')["a"])
    assert documents.load(b'"\\ud800"') == "\ud800"
    assert documents.load(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert documents.load(b'"a\xffb"') == "a\ufffdb"
