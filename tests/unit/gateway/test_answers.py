"""The writers of streams: what callers get is what the dialects' decoder reads, however the bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Generation
from llm_deploy.errors import InferenceError, LlmDeployError, StreamBrokenError
from llm_deploy.gateway.answers.decoded import DecodedWriter, OpenAiWords
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.relay import RelayWriter, openai_relay
from llm_deploy.gateway.answers.sniffed import SniffedWriter
from llm_deploy.gateway.answers.tgi_tokens import TgiTokenWriter
from llm_deploy.gateway.answers.writer import StreamWriter

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
SURROGATES = st.sampled_from(["\ud83d", "a\udc00"])


def frame(kind: Any = "chat", *, wants_usage: bool = True) -> Frame:  # noqa: ANN401 - a literal of two
    return Frame(kind, request_id="r1", model='a"b', created_s=7, wants_usage=wants_usage)


def tgi_event(text: str, *, special: bool = False, ascii_only: bool = True, **last: Any) -> bytes:  # noqa: ANN401 - JSON
    document = {"index": 1, "token": {"id": 5, "text": text, "logprob": -0.5, "special": special}}
    document |= {"generated_text": last.get("whole"), "details": last.get("details")}
    return b"data:" + json.dumps(document, separators=(",", ":"), ensure_ascii=ascii_only).encode() + b"\n\n"


def tgi_last(text: str, reason: str = "length", generated: int = 3) -> bytes:
    details = {"finish_reason": reason, "generated_tokens": generated, "input_length": 4, "seed": None}
    return tgi_event(text, whole="all", details=details)


@st.composite
def tgi_streams(draw: st.DrawFn) -> bytes:
    """Whole and broken streams of TGI, with special tokens, escapes, comments and errors."""
    token = st.one_of(
        st.builds(tgi_event, st.one_of(TEXTS, SURROGATES)),
        st.builds(tgi_event, TEXTS, ascii_only=st.just(False)),
        st.builds(tgi_event, TEXTS, special=st.just(True)),
        st.just(b": keep-alive\n\n"),
    )
    events = draw(st.lists(token, max_size=8))
    end = draw(
        st.one_of(
            st.builds(tgi_last, TEXTS, st.sampled_from(["length", "eos_token", "stop_sequence"]), st.integers(0, 99)),
            st.just(b'data:{"error":"Request failed during generation: x","error_type":"generation"}\n\n'),
            st.just(b'data:{"index":3,"tok'),
            st.just(b""),
        )
    )
    return b"".join(events) + end


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def run(writer: StreamWriter, parts: list[bytes]) -> tuple[bytes, type[LlmDeployError] | None]:
    """All that a caller gets, and how it ended."""
    out = b""
    try:
        for part in parts:
            out += writer.feed(part)
        return out + writer.close(), None
    except LlmDeployError as error:
        return out + writer.take_kept(), type(error)


def read(stream: bytes) -> Generation:
    """A caller's stream, folded."""
    texts, reason, usage = [], None, None
    for line in stream.split(b"\n\n"):
        payload = line.removeprefix(b"data: ")
        if not payload or payload == b"[DONE]" or payload.startswith(b":"):
            continue
        document = json.loads(payload)
        for choice in document["choices"]:
            texts.append(choice.get("text") or choice.get("delta", {}).get("content") or "")
            reason = choice["finish_reason"] or reason
        usage = document.get("usage") or usage
    return Generation("".join(texts), raw=(reason, usage))


@settings(max_examples=300)
@given(
    data=tgi_streams(), places=st.lists(st.integers(0, 5000), max_size=6), kind=st.sampled_from(["chat", "completion"])
)
def test_tgi_tokens_read_the_same_as_the_slow_decoder_says(data: bytes, places: list[int], kind: str) -> None:
    """Any stream of TGI, cut anywhere: same text, same finish reason, same usage, same failure, fast or slow."""
    fast, failed = run(TgiTokenWriter(frame(kind)), cut(data, places))
    slow, wrong = run(DecodedWriter(OpenAiWords(frame(kind)), dialect_name="lmi"), [data])
    if failed is None or wrong is None:
        assert failed is wrong
    found, expected = read(fast), read(slow)
    assert (found.text, found.raw) == (expected.text, expected.raw)


def test_plain_tokens_are_copied_and_not_parsed() -> None:
    """Each plain token of a burst becomes a chunk of its own, in one piece of bytes."""
    writer = TgiTokenWriter(frame())
    out = writer.feed(tgi_event("a") + tgi_event('\n"') + tgi_event(" b"))
    assert out.count(b"data: ") == 4  # the role first
    assert read(out).text == 'a\n" b'
    assert writer.tally.events == 3


def chunk(content: str, reason: str | None = None, **more: Any) -> bytes:  # noqa: ANN401 - JSON
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    document = {"id": "x", "model": "their/model", "choices": [choice], **more}
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


USAGE = b'data: {"id":"x","model":"their/model","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


@settings(max_examples=200)
@given(
    texts=st.lists(
        st.one_of(TEXTS, st.sampled_from(['"usage":{', '"error"', "[DONE]", '"model":"their/model"'])), max_size=6
    ),
    places=st.lists(st.integers(0, 5000), max_size=6),
    wanted=st.booleans(),
    framing=st.sampled_from(["lf", "crlf", "lines"]),
)
def test_openai_streams_pass_as_they_are(texts: list[str], places: list[int], framing: str, *, wanted: bool) -> None:
    """Whatever the text says and however it is framed and cut: same text, the public name, usage only where wanted."""
    data = b"".join([*map(chunk, texts), chunk("", "stop"), USAGE, DONE])
    if framing == "crlf":
        data = data.replace(b"\n\n", b"\r\n\r\n")
    elif framing == "lines":
        data = data.replace(b"\n\n", b"\n").replace(b"data: ", b"").replace(b"[DONE]\n", b"")
    writer = SniffedWriter(frame(wants_usage=wanted))
    out, failed = run(writer, cut(data, places))
    assert failed is None
    found = read(out)
    assert found.text == "".join(texts)
    assert found.raw[0] == "stop"
    assert (found.raw[1] is not None) is wanted
    assert out.endswith(DONE)
    assert out.count(DONE) == 1
    assert json.loads(out.split(b"\n\n")[0].removeprefix(b"data: "))["model"] == 'a"b'
    assert (writer.tally.prompt_tokens, writer.tally.generated_tokens, writer.tally.finish) == (4, 3, "stop")


def test_a_stream_that_stops_early_is_broken_and_keeps_its_text() -> None:
    """Without a finish reason the caller is told, whatever the cause, and has what came before."""
    writer = openai_relay(chunk("a"), "m", keeps_usage=True)
    out = writer.feed(chunk("a") + b'data: {"id"')
    assert read(out).text == "a"
    with pytest.raises(StreamBrokenError):
        writer.close()


def test_the_cause_of_a_break_is_what_is_raised_and_a_whole_answer_has_none() -> None:
    """A connection that breaks after the last event does no harm; before it, its error is the caller's."""
    cause = InferenceError("the wire broke")
    with pytest.raises(InferenceError, match="wire broke"):
        openai_relay(chunk("a"), "m", keeps_usage=True).close(cause)
    writer = openai_relay(chunk("a"), "m", keeps_usage=True)
    writer.feed(chunk("a", "stop"))
    assert writer.close(cause) == DONE


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error":{"message":"CUDA","type":"InternalServerError"}}\n\n',
        b'data: {"object":"error","message":"x"}\n\n',
    ],
)
def test_an_error_in_mid_stream_is_raised_and_what_came_with_it_is_kept(event: bytes) -> None:
    """Text and error in one read: the text is not lost."""
    writer = openai_relay(chunk("a"), "m", keeps_usage=True)
    with pytest.raises(LlmDeployError):
        writer.feed(chunk("a") + event)
    assert read(writer.take_kept()).text == "a"


def test_bytes_that_are_no_utf8_are_made_so() -> None:
    """Official clients refuse anything else."""
    writer = openai_relay(chunk("a"), "m", keeps_usage=True)
    out = writer.feed(chunk("a").replace(b'"a"', b'"\xff"'))
    assert "\ufffd" in out.decode()


def test_tgi_callers_of_an_openai_engine_get_tgi_events() -> None:
    """Text, reason and counts arrive in TGI's shape."""
    out, failed = run(SniffedWriter(None), [chunk("a") + chunk("b", "length") + USAGE + DONE])
    assert failed is None
    answer = dialect("tgi").stream_decoder()
    chunks = [*answer.feed(out), *answer.close()]
    assert "".join(each.text for each in chunks) == "ab"
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].counts is not None
    assert chunks[-1].counts.generated == 3


def test_tgi_callers_of_tgi_get_its_bytes() -> None:
    """Not a byte is changed, and the tokens are counted."""
    data = tgi_event("a") + tgi_event("b") + tgi_last("c")
    writer = SniffedWriter(None)
    out, failed = run(writer, [data[:20], data[20:]])
    assert (out, failed) == (data, None)
    assert (writer.tally.prompt_tokens, writer.tally.generated_tokens) == (4, 3)


def test_tool_calls_pass_untouched() -> None:
    """What a model calls reaches the caller as the engine said it."""
    delta = {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    data = b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode() + b"\n\n"
    out, _ = run(SniffedWriter(frame()), [data + chunk("", "tool_calls") + DONE])
    assert json.loads(out.split(b"\n\n")[0].removeprefix(b"data: "))["choices"] == [choice]


def test_a_relay_holds_no_more_than_an_event_may_be_long() -> None:
    """A peer that never ends an event is an error, not a growing buffer."""
    writer = RelayWriter(lambda _document: [], ())
    for _ in range(8):
        assert not writer.feed(b"x" * 1_000_000)
    with pytest.raises(LlmDeployError, match="longer than"):
        writer.feed(b"x" * 1_000_000)
