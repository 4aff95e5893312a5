"""Streamed answers of every engine, cut anywhere: the rules of `StreamDecoder`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.stream import collect, decode_stream
from llm_deploy.dialects.types import Chunk
from llm_deploy.errors import (
    InferenceError,
    InferenceRequestError,
    OverloadedError,
    StreamBrokenError,
    WireFormatError,
)

on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

pytestmark = pytest.mark.row("T5")


@dataclass(frozen=True)
class Wire:
    """A streamed answer: its bytes, and for each event with text where its JSON ends and what its text is."""

    dialect: str
    data: bytes
    events: tuple[tuple[int, str], ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(text for _, text in self.events)

    def text_in(self, length: int) -> str:
        """The text of the events that are whole within so many bytes."""
        return "".join(text for end, text in self.events if end <= length)


texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=5)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
noise = st.sampled_from([b"", b": keep-alive", b"event: ping", b"id: 7", b"retry: 10", b"foo", b"\xc3("])


def tgi_documents(pieces: list[str], name: str = "logprob") -> list[object]:
    events: list[object] = [
        {"token": {"id": i, "text": text, name: -0.5, "special": False}, "generated_text": None, "details": None}
        for i, text in enumerate(pieces[:-1])
    ]
    details = {"finish_reason": "length", "generated_tokens": len(pieces), "input_length": 3}
    token = {"id": 9, "text": pieces[-1], name: -0.5, "special": False}
    return [*events, {"token": token, "generated_text": "".join(pieces), "details": details}]


def chat_documents(pieces: list[str]) -> list[object]:
    deltas: list[object] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in pieces[:-1]
    ]
    return [*deltas, {"choices": [{"index": 0, "delta": {"content": pieces[-1]}, "finish_reason": "length"}]}]


def event(draw: st.DrawFn, document: object, prefix: bytes, end: bytes) -> bytes:
    """One event without its blank line: on one line, or as server-sent events named and over several `data` lines."""
    indent = draw(st.sampled_from([None, None, 1])) if prefix else None
    name = draw(st.sampled_from([b"", b"event: message" + end])) if prefix else b""
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=indent)
    return name + end.join(prefix + line.encode() for line in text.split("\n"))


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    """A whole stream in one of the forms that engines send."""
    pieces = draw(texts)
    kind = draw(st.sampled_from(["tgi", "openai", "lmi-lines", "lmi-chat", "lmi-sse"]))
    documents = {
        "tgi": lambda: tgi_documents(pieces),
        "openai": lambda: chat_documents(pieces),
        "lmi-lines": lambda: tgi_documents(pieces, "log_prob"),
        "lmi-chat": lambda: chat_documents(pieces),
        "lmi-sse": lambda: tgi_documents(pieces, "log_prob"),
    }[kind]()
    prefix = b"" if kind in {"lmi-lines", "lmi-chat"} else draw(st.sampled_from([b"data:", b"data: "]))
    end = draw(line_ends)
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    events = []
    for document, text in zip(documents, pieces, strict=True):
        between = draw(noise) if prefix else b""
        data += between + end * 2 if between else b""
        data += event(draw, document, prefix, end)
        events.append((len(data), text))
        data += end * (2 if prefix else 1)
    if kind == "openai":
        usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": len(pieces)}}
        data += prefix + json.dumps(usage).encode() + end * 2 + prefix + b"[DONE]" + end * 2
    elif draw(st.booleans()):
        data = data.rstrip(b"\r\n")  # no final newline
    return Wire(kind.partition("-")[0], data, tuple(events))


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return (data[start:end] for start, end in pairwise(edges))


def read_until_error(parts: Iterable[bytes], name: str) -> tuple[str, InferenceError | None]:
    """The text that was handed out, and the error that ended it."""
    got: list[str] = []
    try:
        got.extend(chunk.text for chunk in decode_stream(parts, dialect(name).stream_decoder()))
    except InferenceError as error:
        return "".join(got), error
    return "".join(got), None


def chunks_of(wire: Wire, places: list[int], name: str | None = None) -> list[Chunk]:
    decoder = dialect(name or wire.dialect).stream_decoder()
    return list(decode_stream(cut(wire.data, places), decoder))


@on_a_busy_machine
@given(wires(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_gives_the_same_chunks(wire: Wire, places: list[int]) -> None:
    """Where the network cuts the bytes (in a character, in a CRLF) is not seen in the chunks."""
    chunks = chunks_of(wire, places)
    assert chunks == chunks_of(wire, [])
    assert "".join(chunk.text for chunk in chunks) == wire.text
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["length"]


@on_a_busy_machine
@given(wires())
def test_byte_by_byte_and_without_knowing_the_dialect(wire: Wire) -> None:
    """`auto` reads every dialect from its bytes, one at a time."""
    assert chunks_of(wire, list(range(len(wire.data))), "auto") == chunks_of(wire, [])


@on_a_busy_machine
@given(wires(), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=5))
def test_any_truncation_raises_with_exactly_the_text_so_far(wire: Wire, place: int, places: list[int]) -> None:
    """A stream that ends before its last event is an error that carries all whole events' text, and no more."""
    length = place % wire.events[-1][0]
    got, error = read_until_error(cut(wire.data[:length], places), wire.dialect)
    assert isinstance(error, StreamBrokenError)
    assert error.partial_text == got == wire.text_in(length)


@on_a_busy_machine
@given(wires(), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=5))
def test_a_broken_connection_keeps_its_own_error_and_the_text(wire: Wire, place: int, places: list[int]) -> None:
    """An error of the transport passes through with the text so far; after the last event it is none."""
    length = place % (len(wire.data) + 1)

    def parts() -> Iterator[bytes]:
        yield from cut(wire.data[:length], places)
        raise StreamBrokenError("reset by peer")

    got, error = read_until_error(parts(), wire.dialect)
    if length >= wire.events[-1][0]:
        assert (got, error) == (wire.text, None)
    else:
        assert error is not None
        assert (error.message, error.partial_text) == ("reset by peer", got)
        assert got == wire.text_in(length)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["token", "text", "choices", "delta", "content", "error", "generated_text", "details", "usage",
                         "finish_reason", "logprobs", "index", "message", "tokens", "code", "object"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@on_a_busy_machine
@given(st.lists(json_values, max_size=4), st.sampled_from(["tgi", "openai", "lmi", "auto"]))
def test_no_document_makes_a_decoder_raise_anything_but_our_errors(documents: list[object], name: str) -> None:
    """Whatever JSON arrives, the answer is chunks or one of our errors, never a KeyError."""
    read_until_error([sse(*documents)], name)


@on_a_busy_machine
@example(b"data:[DONE]", "tgi")
@example(b"data: [DONE]\n\n", "openai")
@given(st.binary(max_size=60), st.sampled_from(["tgi", "openai", "lmi", "auto"]))
def test_no_bytes_make_a_decoder_raise_anything_but_our_errors(data: bytes, name: str) -> None:
    """Noise on the wire is an error of ours."""
    with pytest.raises(InferenceError):
        list(decode_stream([data], dialect(name).stream_decoder()))


def sse(*documents: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents)


@pytest.mark.parametrize(
    "failure",
    [
        {"error": "CUDA out of memory", "error_type": "generation"},
        {"error": {"message": "CUDA out of memory", "type": "InternalServerError", "code": 500}},
        {"object": "error", "message": "CUDA out of memory", "code": 400},
        {"error": "CUDA out of memory", "code": 424},
    ],
)
def test_an_error_event_in_the_middle_carries_the_text_so_far(failure: object) -> None:
    """Chunks before the error are handed out even when they share its bytes; then it is raised, in every dialect."""
    first, second, *_ = tgi_documents(["Par", "is", "!"])
    got, error = read_until_error([sse(first, second, failure)], "tgi")
    assert got == "Paris"
    assert isinstance(error, StreamBrokenError)
    assert "CUDA out of memory" in error.message
    assert error.partial_text == "Paris"


def test_a_refusal_as_first_event_keeps_its_meaning() -> None:
    """TGI answers 200 and then says "overloaded": nothing was generated, so it may be tried again."""
    with pytest.raises(OverloadedError) as raised:
        dialect("tgi").stream_decoder().feed(sse({"error": "Model is overloaded", "error_type": "overloaded"}))
    assert raised.value.retryable
    with pytest.raises(InferenceRequestError, match="must be < 1"):
        dialect("tgi").stream_decoder().feed(sse({"error": "`top_p` must be < 1.0", "error_type": "validation"}))


def test_a_bare_json_error_ends_an_event_stream() -> None:
    """Some servers break an SSE stream off with a JSON line."""
    data = sse(tgi_documents(["a", "b"])[0]) + b'{"error":"died","code":424}'
    with pytest.raises(StreamBrokenError, match="died") as raised:
        list(decode_stream([data], dialect("lmi").stream_decoder()))
    assert raised.value.partial_text == "a"


def test_an_error_event_that_is_no_json_is_quoted() -> None:
    """`event: error` with plain text is still an error with its text."""
    with pytest.raises(StreamBrokenError, match="worker died"):
        dialect("openai").stream_decoder().feed(b"event: error\ndata: worker died\n\n")


def test_lmi_says_an_error_by_its_finish_reason() -> None:
    """LMI's last line with `finish_reason` "error" is no end of an answer."""
    line = {"token": {"id": -1, "text": "", "log_prob": -1, "special_token": True}, "generated_text": "",
            "details": {"finish_reason": "error", "generated_tokens": None}}  # fmt: skip
    with pytest.raises(InferenceError, match="finish_reason 'error'"):
        list(decode_stream([json.dumps(line).encode()], dialect("lmi").stream_decoder()))


def test_special_tokens_have_no_text() -> None:
    """The end-of-text token is counted and not shown."""
    last = {"token": {"id": 2, "text": "</s>", "logprob": -0.1, "special": True}, "generated_text": "Hi",
            "details": {"finish_reason": "eos_token", "generated_tokens": 2}}  # fmt: skip
    answer = collect(decode_stream([sse(tgi_documents(["Hi", ""])[0], last)], dialect("tgi").stream_decoder()))
    assert (answer.text, answer.finish_reason, answer.counts.generated) == ("Hi", "eos", 2)
    assert [(token.text, token.special) for token in answer.tokens] == [("Hi", False), ("</s>", True)]


def test_openai_counts_come_after_the_finish() -> None:
    """The usage chunk has no choices and follows the finishing one."""
    data = sse(*chat_documents(["Hi", "!"]), {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    answer = collect(decode_stream([data + b"data: [DONE]\n\n"], dialect("openai").stream_decoder()))
    assert (answer.text, answer.counts.prompt, answer.counts.generated) == ("Hi!", 4, 2)


def test_several_tokens_of_one_event_are_several_chunks() -> None:
    """An engine like vLLM sends more than one token an event under load; each keeps its log-probability."""
    content = [{"token": "Hi", "logprob": -0.1}, {"token": " you", "logprob": -0.2}]
    event = {"choices": [{"delta": {"content": "Hi you"}, "logprobs": {"content": content}, "finish_reason": None}]}
    chunks = dialect("openai").stream_decoder().feed(sse(event))
    assert [(chunk.text, chunk.token and chunk.token.logprob) for chunk in chunks] == [("Hi", -0.1), (" you", -0.2)]


def test_a_token_that_is_half_a_character_does_not_spoil_the_text() -> None:
    """Where token texts do not add up to the event's text, the event's text wins."""
    content = [{"token": "\\xf0\\x9f", "logprob": -0.1}, {"token": "\\x98\\x80", "logprob": -0.2}]
    event = {"choices": [{"delta": {"content": "😀"}, "logprobs": {"content": content}, "finish_reason": "stop"}]}
    chunks = dialect("openai").stream_decoder().feed(sse(event))
    assert [chunk.text for chunk in chunks] == ["😀", ""]
    assert [chunk.finish_reason for chunk in chunks] == [None, "stop"]


def test_a_whole_answer_to_a_streamed_request_is_read() -> None:
    """A server that ignores `stream` is understood."""
    whole = json.dumps([{"generated_text": "Paris", "details": {"finish_reason": "eos_token"}}]).encode()
    assert collect(decode_stream([whole], dialect("tgi").stream_decoder())).text == "Paris"


def test_done_without_a_finish_reason_ends_an_answer() -> None:
    """`[DONE]` is a last event; the reason is then unknown."""
    data = sse(chat_documents(["Hi", ""])[0]) + b"data: [DONE]\n\n"
    assert collect(decode_stream([data], dialect("openai").stream_decoder())).finish_reason == "unknown"


@pytest.mark.parametrize("before", [b"", b'data: {"model": "m"}\n\n'])
def test_done_alone_is_no_answer(before: bytes) -> None:
    """What ends before any event of its dialect is broken, not an empty answer."""
    for name in ("tgi", "openai", "lmi", "auto"):
        with pytest.raises(StreamBrokenError, match="before any event"):
            list(decode_stream([before + b"data: [DONE]\n\n"], dialect(name).stream_decoder()))


def test_a_line_without_end_is_refused_with_the_text_so_far() -> None:
    """A peer that never sends a newline cannot fill the memory."""
    endless = (b"data: " + b"x" * 100_000 for _ in range(200))
    got, error = read_until_error([sse(tgi_documents(["a", "b"])[0]), *endless], "tgi")
    assert isinstance(error, WireFormatError)
    assert "longer than" in error.message
    assert error.partial_text == got == "a"


def test_a_failed_decoder_stays_failed() -> None:
    """After its error a decoder gives nothing more."""
    decoder = dialect("tgi").stream_decoder()
    with pytest.raises(WireFormatError):
        decoder.feed(b"data: nonsense\n\n")
    with pytest.raises(WireFormatError):
        decoder.feed(sse(*tgi_documents(["a"])))
