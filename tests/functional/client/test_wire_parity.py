"""The client's own path and botocore's: equivalent requests, the same answers, the same errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.aws import Session
from llm_deploy.client.sagemaker import SagemakerTransport
from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport
from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.stream import decode_stream
from llm_deploy.errors import InferenceError, LlmDeployError, StreamBrokenError
from tests.fakes.raw_server import RawServer, raw_serving
from tests.fakes.runtime_server import (
    REGION,
    Reply,
    RuntimeServer,
    invocation,
    invocation_error,
    payload_part,
    response_stream,
    serving,
    stream_exception,
)
from tests.fakes.signed import objection

pytestmark = pytest.mark.row("T5")

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
Way = Literal["fast", "botocore", "async"]
FAST: Way = "fast"
BOTOCORE: Way = "botocore"
ASYNC: Way = "async"
WAYS: tuple[Way, ...] = (FAST, BOTOCORE, ASYNC)

on_a_busy_machine = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Caller:
    """One way of calling one endpoint, blocking for the test's sake."""

    call: Callable[[bytes], bytes]
    stream: Callable[[bytes], list[bytes]]


def caller(
    way: Way, url: str, name: str = "twin", component: str | None = "twin-ic", token: str | None = None
) -> Caller:
    session = Session(REGION, endpoint_url=url, access_key="AKIDEXAMPLE", secret_key=SECRET, token=token,
                      wire="botocore" if way == "botocore" else "fast")  # fmt: skip
    if way != "async":
        transport = SagemakerTransport(name, session=session, inference_component_name=component)
        return Caller(transport.call, lambda body: list(transport.stream(body).parts))

    async def call(body: bytes) -> bytes:
        looped = AsyncSagemakerTransport(name, session=session, inference_component_name=component)
        try:
            return await looped.call(body)
        finally:
            await looped.aclose()

    async def stream(body: bytes) -> list[bytes]:
        looped = AsyncSagemakerTransport(name, session=session, inference_component_name=component)
        opened = await looped.stream(body)
        parts = []
        try:
            while part := await opened.read():
                parts.append(part)
        finally:
            await opened.aclose()
            await looped.aclose()
        return parts

    return Caller(lambda body: asyncio.run(call(body)), lambda body: asyncio.run(stream(body)))


@pytest.fixture(scope="module")
def answering() -> Iterator[RuntimeServer]:
    """A server that answers calls and streams alike with nothing in particular."""
    with serving(invocation(b"{}")) as server:
        yield server


names = st.from_regex(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", fullmatch=True)
wild = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17F), min_size=1, max_size=8).filter(
    lambda n: n.strip(".")
)
tokens = st.none() | st.from_regex(r"[A-Za-z0-9+/=]{1,200}", fullmatch=True)


@on_a_busy_machine
@given(names | wild, st.none() | names, st.binary(min_size=1, max_size=300), tokens, st.booleans())
def test_both_send_the_same_and_a_strict_server_takes_it(  # noqa: PLR0917 - what a request is made of
    answering: RuntimeServer,
    name: str,
    component: str | None,
    body: bytes,
    token: str | None,
    streamed: bool,  # noqa: FBT001 - drawn
) -> None:
    """Path, body, content type, component and token are botocore's, and each signature is right for its own request."""
    answering.seen.clear()
    for way in WAYS:
        asked = caller(way, answering.url, name, component, token)
        try:
            (asked.stream if streamed else asked.call)(body)
        except InferenceError:
            assert streamed  # the answer is no event stream; only the request matters here
    fast, reference, looped = answering.seen
    for seen in answering.seen:
        assert objection(seen.path, dict(seen.headers), seen.body, SECRET) is None
    for ours in (fast, looped):
        assert (ours.path, ours.body) == (reference.path, reference.body)
        for header in (
            "host",
            "content-type",
            "x-amzn-sagemaker-inference-component",
            "x-amz-security-token",
            "content-length",
        ):
            assert ours.headers.get(header) == reference.headers.get(header)


REFUSALS: list[Reply] = [
    *[
        invocation_error(status, kind, Message=f"{kind} it is")
        for status, kind in [
            (400, "ValidationError"), (400, "ValidationException"), (424, "ModelError"),
            (429, "ModelNotReadyException"), (503, "ServiceUnavailable"), (500, "InternalFailure"),
            (530, "InternalDependencyException"),
            (403, "AccessDeniedException"), (403, "ExpiredTokenException"), (403, "InvalidSignatureException"),
            (403, "UnrecognizedClientException"), (403, "SignatureDoesNotMatch"), (404, "ResourceNotFoundException"),
            (400, "SomethingNew"), (500, "SomethingNew"), (502, "SomethingNew"),
        ]
    ],
    invocation_error(424, "ModelError:http://internal.amazon.com/coral/", Message="gone", OriginalStatusCode=500,
                     OriginalMessage='{"error": "CUDA out of memory"}', LogStreamArn="arn"),
    invocation_error(400, "com.amazonaws#ValidationError", Message="Endpoint twin of account 1 not found."),
    Reply(400, (b'{"code": "ValidationError", "message": "no header"}',), chunked=False),
    Reply(400, (b'{"Code": "ValidationError", "Message": "no header"}',), chunked=False),
    Reply(400, (b'{"__type": "a.b#AccessDeniedException", "message": "no header"}',), chunked=False),
    Reply(403, (b'{"message": "Missing Authentication Token"}',), chunked=False),
    Reply(413, (b"too large",), chunked=False),
    Reply(400, (b"",), chunked=False),
    Reply(502, (b"<html><body>Bad Gateway</body></html>",), chunked=False),
    Reply(503, (b"",), chunked=False),
    Reply(504, (b"upstream",), chunked=True),
    Reply(599, (b"",), chunked=False),
]  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
def test_every_refusal_is_the_same_error(*, streamed: bool) -> None:
    """Class, words and hint; whatever stands in the header, in the document, or in the place of one."""
    with serving(*(reply for reply in REFUSALS for _ in WAYS)) as server:
        callers = [caller(way, server.url) for way in WAYS]
        for place, reply in enumerate(REFUSALS):
            said = [refused(each, streamed=streamed) for each in callers]
            assert said[0] == said[1] == said[2], (place, reply)
        assert len(server.seen) == len(REFUSALS) * len(WAYS)


def refused(asked: Caller, *, streamed: bool) -> tuple[type[LlmDeployError], str, str | None]:
    with pytest.raises(LlmDeployError) as raised:
        (asked.stream if streamed else asked.call)(b"{}")
    return type(raised.value), raised.value.message, raised.value.hint


@pytest.mark.parametrize("kind", ["ModelStreamError", "InternalStreamFailure"])
def test_every_exception_in_a_stream_is_the_same_error(kind: str) -> None:
    """Class, words and hint; with the parts before it handed out first."""
    said = []
    frames = [payload_part(b"one"), stream_exception(kind, {"Message": "words", "ErrorCode": "x"})]
    with serving(response_stream(frames)) as server:
        for way in WAYS:
            with pytest.raises(InferenceError) as raised:
                caller(way, server.url).stream(b"{}")
            said.append((type(raised.value), raised.value.message, raised.value.hint))
    assert said[0] == said[1] == said[2]


def test_an_exception_that_botocore_has_no_model_of_keeps_its_words_here() -> None:
    """The same class by both ways; botocore drops the name and the words of it."""
    said = {}
    with serving(response_stream([payload_part(b"one"), stream_exception("New", {"Message": "words"})])) as server:
        for way in WAYS:
            with pytest.raises(InferenceError) as raised:
                caller(way, server.url).stream(b"{}")
            said[way] = raised.value
    assert {type(error) for error in said.values()} == {StreamBrokenError}
    assert "words (New)" in said[FAST].message
    assert said[FAST].message == said[ASYNC].message


DOCUMENT = json.dumps([{"generated_text": " Paris", "details": {"finish_reason": "length"}}]).encode()
CALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(DOCUMENT), DOCUMENT)
EVENTS = [
    {"token": {"id": 1, "text": " Par", "logprob": -0.5, "special": False}, "generated_text": None, "details": None},
    {"token": {"id": 2, "text": "is", "logprob": -0.5, "special": False}, "generated_text": " Paris",
     "details": {"finish_reason": "length", "generated_tokens": 2}},
]  # fmt: skip
FRAMES = [payload_part(b"data:%s\n\n" % json.dumps(event).encode()) for event in EVENTS]
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in FRAMES)
    + b"0\r\n\r\n"
)


def text_of_stream(asked: Caller) -> tuple[str, type[LlmDeployError] | None]:
    """The text that came, and what ended it early."""
    texts: list[str] = []

    def parts() -> Iterator[bytes]:
        yield from asked.stream(b"{}")

    try:
        texts.extend(chunk.text for chunk in decode_stream(parts(), dialect("tgi").stream_decoder()))
    except LlmDeployError as error:
        return "".join(texts), type(error)
    return "".join(texts), None


def outcome(asked: Caller, *, streamed: bool) -> Any:  # noqa: ANN401 - compared only
    """What a caller sees."""
    if streamed:
        return text_of_stream(asked)[1]
    try:
        return asked.call(b"{}")
    except LlmDeployError as error:
        return type(error)


@pytest.fixture(scope="module")
def cutting() -> Iterator[RawServer]:
    """A server that can be told to stop at any byte."""
    with raw_serving() as server:
        yield server


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_cut_at_any_byte_is_the_same_error_and_never_asked_again(
    cutting: RawServer, end: Literal["close", "reset"], *, streamed: bool
) -> None:
    """A whole answer is an answer, any other an error; one request each, whatever happened to its answer."""
    whole = STREAM if streamed else CALL
    ways: dict[Way, Caller] = {way: caller(way, cutting.url) for way in (FAST, BOTOCORE)}
    cutting.end = end
    for length in range(len(whole)):
        cutting.answer = whole[:length]
        in_head = 0 < length < whole.index(b"\r\n\r\n") + 4  # botocore's HTTP takes a cut head for a whole one
        compared = [FAST, BOTOCORE] if length % 7 == 0 and not in_head else [FAST]
        cutting.bodies.clear()
        found = {way: outcome(ways[way], streamed=streamed) for way in compared}
        assert len(cutting.bodies) == len(compared)
        if streamed and length >= len(whole) - len(b"0\r\n\r\n") - 2:
            continue  # the answer's last event has come; whether HTTP ended in order is not the caller's concern
        assert issubclass(found[FAST], InferenceError), length
        assert len(set(found.values())) == 1, (length, found)


def test_the_loops_way_is_cut_the_same(cutting: RawServer) -> None:
    """The same, by the twin, on one loop and one object."""

    async def run() -> None:
        session = Session(REGION, endpoint_url=cutting.url, access_key="AKIDEXAMPLE", secret_key=SECRET)
        transport = AsyncSagemakerTransport("twin", session=session)
        for length in range(len(CALL)):
            cutting.answer = CALL[:length]
            with pytest.raises(InferenceError, match="broke"):
                await transport.call(b"{}")
        assert len(cutting.bodies) == len(CALL)
        cutting.answer, cutting.end = CALL, "keep"
        assert await transport.call(b"{}") == DOCUMENT
        await transport.aclose()

    cutting.bodies.clear()
    cutting.end = "close"
    asyncio.run(run())
