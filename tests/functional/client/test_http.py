"""The HTTP transport: real urllib3 against a server that misbehaves as told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from llm_deploy import GenerationRequest, LLMInferenceHttpEndpoint
from llm_deploy.client.patience import Patience
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import (
    CloudError,
    CredentialsError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    OverloadedError,
    SpecError,
    StreamBrokenError,
    UnreachableError,
)
from tests.fakes.runtime_server import Reply, RuntimeServer, invocation, serving

ASK = GenerationRequest(prompt="Hi", max_new_tokens=3)
CHAT = GenerationRequest(messages=({"role": "user", "content": "Hi"},))
TGI = invocation([{"generated_text": " Paris", "details": {"finish_reason": "length"}}])
COMPLETION = invocation({"choices": [{"text": " Paris", "finish_reason": "length"}]})
CHAT_ANSWER = invocation({"choices": [{"message": {"content": " Paris"}, "finish_reason": "length"}]})

VLLM_REFUSAL = Reply(400, (b'{"object":"error","message":"Cannot find suitable handler for request","code":400}',))
SGLANG_REFUSAL = Reply(400, (b'{"object":"error","message":"1 validation error: messages Field required","code":400}',))
TOO_LONG = Reply(422, (b'{"error":"`inputs` must have less than 9 tokens","error_type":"validation"}',))


def sse(*documents: dict[str, Any]) -> list[bytes]:
    return [b"data: %s\n\n" % json.dumps(document).encode() for document in documents]


CHUNKS = sse(
    {"choices": [{"text": " Par", "finish_reason": None}]},
    {"choices": [{"text": "is", "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
)


@contextmanager
def endpoint(*replies: Reply, **options: Any) -> Iterator[tuple[LLMInferenceHttpEndpoint, RuntimeServer]]:  # noqa: ANN401 - passed on
    options = {"patience": Patience(sleep=lambda _: None), **options}
    with serving(*replies) as server:
        yield LLMInferenceHttpEndpoint(server.url + "/invocations", **options), server


@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_arrives_with_and_without_chunks(*, chunked: bool) -> None:
    """HTTP/1.1 chunks or a plain body: the same text."""
    with endpoint(Reply(parts=(*CHUNKS, b"data: [DONE]\n\n"), chunked=chunked), dialect="openai") as (llm, _):
        answer = collect(llm.stream(ASK))
    assert (answer.text, answer.counts.generated) == (" Paris", 2)


def test_a_piece_is_handed_out_when_it_arrives() -> None:
    """Not when a buffer is full or the answer ends."""
    with endpoint(Reply(parts=CHUNKS[:1], end="hang"), dialect="openai") as (llm, server):
        chunks = llm.stream(ASK)
        assert next(chunks).text == " Par"
        chunks.close()
        assert server.client_left.wait(5)


def test_one_connection_serves_calls_streams_and_refusals() -> None:
    """Whatever was read to its end leaves the connection usable."""
    whole = Reply(parts=(*CHUNKS, b"data: [DONE]\n\n"))
    with endpoint(TGI, whole, TOO_LONG, TGI, dialect="tgi") as (llm, server):
        llm.generate(ASK)
        collect(llm.stream(ASK))
        with pytest.raises(InferenceRequestError):
            llm.generate(ASK)
        llm.generate(ASK)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, CredentialsError),
        (422, InferenceRequestError),
        (424, InferenceError),
        (429, OverloadedError),
        (500, InferenceError),
        (503, NoCapacityError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_has_its_class_and_is_asked_once(
    status: int, expected: type[LlmDeployError], *, streamed: bool
) -> None:
    """The server's own words are in the message."""
    with (
        endpoint(Reply(status, (b'{"error": "its words"}',)), dialect="tgi") as (llm, server),
        pytest.raises(expected, match="its words") as raised,
    ):
        collect(llm.stream(ASK)) if streamed else llm.generate(ASK)
    assert type(raised.value) is expected
    assert len(server.seen) == 1


@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_that_breaks_keeps_its_text(end: Literal["cut", "reset"], *, chunked: bool) -> None:
    """And is not asked again."""
    with endpoint(Reply(parts=CHUNKS[:1], end=end, chunked=chunked), dialect="openai") as (llm, server):
        chunks = llm.stream(ASK)
        assert next(chunks).text == " Par"
        with pytest.raises(StreamBrokenError) as raised:
            collect(chunks)
    assert raised.value.partial_text == " Par"
    assert len(server.seen) == 1


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_cut_is_an_error(*, chunked: bool) -> None:
    """Even where what arrived could be read."""
    body = b'[{"generated_text": " Paris"}]'
    with endpoint(Reply(parts=(body,), end="cut", chunked=chunked), TGI, dialect="tgi") as (llm, server):
        with pytest.raises(InferenceError, match="broke"):
            llm.generate(ASK)
        assert len(server.seen) == 1


def test_a_refusal_whose_body_is_cut_keeps_its_status() -> None:
    """What arrived of its words is quoted."""
    with (
        endpoint(Reply(429, (b"too many",), end="cut", chunked=False), dialect="tgi") as (llm, _),
        pytest.raises(OverloadedError, match="too many"),
    ):
        llm.generate(ASK)


def test_no_answer_at_all_is_an_error_and_not_repeated() -> None:
    """The server may have read the request."""
    with endpoint(Reply(end="vanish"), TGI, dialect="tgi") as (llm, server):
        with pytest.raises(InferenceError, match="broke"):
            llm.generate(ASK)
        assert len(server.seen) == 1


def test_no_server_is_said_after_a_few_attempts() -> None:
    """Nothing was sent, so asking again is harmless."""
    pauses: list[float] = []
    with serving(TGI) as server:
        url = server.url
    llm = LLMInferenceHttpEndpoint(url, patience=Patience(sleep=pauses.append))
    with pytest.raises(UnreachableError, match="no connection"):
        llm.generate(ASK)
    assert len(pauses) == 3


@pytest.mark.parametrize("parts", [[], CHUNKS[:1]])
def test_a_deadline_holds_before_and_in_the_middle_of_an_answer(parts: list[bytes]) -> None:
    """`answer_timeout_s` is for the whole answer; the text so far is kept."""
    with endpoint(Reply(parts=parts, end="hang"), dialect="openai", answer_timeout_s=0.3) as (llm, server):
        with pytest.raises(InferenceTimeoutError) as raised:
            collect(llm.stream(ASK))
        assert server.client_left.wait(5)
    assert raised.value.partial_text == (" Par" if parts else "")


@pytest.mark.parametrize(
    ("replies", "asked"),
    [
        ([TGI, TGI], ["inputs", "inputs"]),
        ([VLLM_REFUSAL, COMPLETION, COMPLETION], ["inputs", "prompt", "prompt"]),
        ([VLLM_REFUSAL, SGLANG_REFUSAL, CHAT_ANSWER, CHAT_ANSWER], ["inputs", "prompt", "messages", "messages"]),
    ],
    ids=["tgi", "vllm", "sglang"],
)
def test_an_unknown_dialect_is_found_by_the_first_request_and_remembered(
    replies: list[Reply], asked: list[str]
) -> None:
    """A refused shape started nothing; the next shape is tried, and what worked is used from then on."""
    with endpoint(*replies) as (llm, server):
        assert llm.generate(ASK).text == " Paris"
        assert llm.generate(ASK).text == " Paris"
    shapes = [next(key for key in ("inputs", "prompt", "messages") if key in seen.document) for seen in server.seen]
    assert shapes == asked


def test_an_unknown_dialect_is_found_by_a_streamed_request_too() -> None:
    """The refusal comes before the first byte."""
    with endpoint(VLLM_REFUSAL, Reply(parts=(*CHUNKS, b"data: [DONE]\n\n"))) as (llm, _):
        assert collect(llm.stream(ASK)).text == " Paris"


def test_a_refusal_that_is_not_about_the_shape_is_not_tried_in_another() -> None:
    """A prompt that is too long is too long in every dialect."""
    with endpoint(TOO_LONG) as (llm, server):
        with pytest.raises(InferenceRequestError, match="less than 9 tokens"):
            llm.generate(ASK)
        assert len(server.seen) == 1


def test_a_chat_needs_no_dialect_and_does_not_settle_it() -> None:
    """Messages are said alike everywhere, so a chat's answer does not prove how prompts are to be sent."""
    with endpoint(CHAT_ANSWER, VLLM_REFUSAL, COMPLETION) as (llm, _):
        assert llm.generate(CHAT).text == " Paris"
        assert llm.generate(ASK).text == " Paris"


def test_headers_are_sent_and_redirects_are_not_followed() -> None:
    """A key goes to the address that was given, and to no other."""
    with serving(TGI) as elsewhere:
        redirect = Reply(307, headers={"Location": elsewhere.url})
        with endpoint(redirect, headers={"Authorization": "Bearer made-up"}) as (llm, server):
            with pytest.raises(InferenceError, match="HTTP 307"):
                llm.generate(ASK)
            assert server.seen[0].headers["authorization"] == "Bearer made-up"
        assert elsewhere.seen == []


def test_an_address_without_scheme_is_refused() -> None:
    """At once, not at the first call."""
    with pytest.raises(SpecError, match="not an HTTP address"):
        LLMInferenceHttpEndpoint("127.0.0.1:8080")


def test_a_server_that_does_not_speak_tls_is_said_so_at_once() -> None:
    """Nothing was sent, and asking again does not help."""
    pauses: list[float] = []
    with serving(TGI) as server:
        llm = LLMInferenceHttpEndpoint(server.url.replace("http:", "https:"), patience=Patience(sleep=pauses.append))
        with pytest.raises(CloudError, match="SSL"):
            llm.generate(ASK)
    assert pauses == []
