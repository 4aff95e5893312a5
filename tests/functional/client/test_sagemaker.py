"""The SageMaker transport, by both of its ways, against a server that sends real frames, cuts them and breaks them."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest

from llm_deploy import GenerationRequest, InferenceExecutor, LLMInferenceSagemakerEndpoint
from llm_deploy.aws import Session
from llm_deploy.client.patience import Patience
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import (
    AccessDeniedError,
    CloudError,
    CredentialsError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    NotFoundError,
    OverloadedError,
    StreamBrokenError,
    ThrottledError,
    UnreachableError,
)
from tests.fakes.runtime_server import (
    REGION,
    Reply,
    RuntimeServer,
    invocation,
    invocation_error,
    payload_part,
    recut,
    response_stream,
    serving,
    stream_exception,
)

pytestmark = pytest.mark.row("T5")

ASK = GenerationRequest(prompt="The capital of France is", max_new_tokens=3)
NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
    "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)
ANSWER = invocation([{"generated_text": " Paris", "details": {"finish_reason": "eos_token", "generated_tokens": 1}}])


@pytest.fixture(autouse=True, params=["fast", pytest.param("botocore", marks=pytest.mark.slow)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every rule here holds for the client's own path and for botocore's, whose sameness test_wire_parity.py proves."""
    monkeypatch.setenv("LLMDEPLOY_CLIENT", request.param)
    return str(request.param)


@dataclass
class Clock:
    """Seconds that pass only by sleeping."""

    now_s: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Now."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.pauses.append(seconds)
        self.now_s += seconds


def session(url: str) -> Session:
    return Session(region=REGION, endpoint_url=url, access_key="made-up", secret_key="made-up")


def patient(clock: Clock | None = None, *, wait_for_capacity_s: float = 0.0) -> Patience:
    clock = clock or Clock()
    return Patience(wait_for_capacity_s=wait_for_capacity_s, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5)


@contextmanager
def endpoint(*replies: Reply, **options: Any) -> Iterator[tuple[LLMInferenceSagemakerEndpoint, RuntimeServer]]:  # noqa: ANN401 - passed on
    """An endpoint object before a server that gives these replies."""
    options = {"dialect": "tgi", "inference_component_name": "twin-ic", "patience": patient(), **options}
    with serving(*replies) as server:
        yield LLMInferenceSagemakerEndpoint("twin", session=session(server.url), **options), server


def tgi_sse(texts: list[str]) -> bytes:
    """A TGI stream."""
    events: list[dict[str, Any]] = [
        {"token": {"id": i, "text": text, "logprob": -0.5, "special": False}, "generated_text": None}
        for i, text in enumerate(texts)
    ]
    events[-1]["generated_text"] = "".join(texts)
    events[-1]["details"] = {"finish_reason": "length", "generated_tokens": len(texts), "input_length": 5}
    return b"".join(b"data:%s\n\n" % json.dumps(event, ensure_ascii=False).encode() for event in events)


TEXTS = [" Paris", " für", " Stadt", " 😀", "\n", "data: x"]
FIRST = payload_part(tgi_sse(TEXTS).partition(b"\n\n")[0] + b"\n\n")
"""A frame with the first token."""


def test_a_call_sends_the_seeds_payload_and_gives_the_text() -> None:
    """`set_payload`, then `inference`: the component's header, TGI's body, text, reason, counts and timings back."""
    with endpoint(ANSWER) as (llm, server):
        llm.set_payload("The capital of France is", {"max_new_tokens": 3})
        answer = llm.inference()
        (seen,) = server.seen
    assert (answer.text, answer.finish_reason, answer.counts.generated) == (" Paris", "eos", 1)
    assert answer.raw[0]["generated_text"] == " Paris"
    assert answer.timings is not None
    assert seen.path == "/endpoints/twin/invocations"
    assert seen.headers["x-amzn-sagemaker-inference-component"] == "twin-ic"
    assert seen.document["inputs"] == "The capital of France is"
    assert seen.document["parameters"]["max_new_tokens"] == 3


def test_the_executor_asks_with_query_and_context() -> None:
    """`InferenceExecutor(llm, query, context).execute()` is the text; the prompt holds both."""
    with endpoint(ANSWER, default_payload={"parameters": {"temperature": 0.01}}) as (llm, server):
        assert InferenceExecutor(llm, "Where?", "In France.").execute() == " Paris"
    asked = server.seen[0].document
    assert "Where?" in asked["inputs"]
    assert "In France." in asked["inputs"]
    assert asked["parameters"]["temperature"] == 0.01


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_is_the_same_however_its_frames_are_cut(seed: int) -> None:
    """Events over several parts, several events in a part, frames over several chunks of HTTP: same text, no loss."""
    random_ = random.Random(seed)  # noqa: S311 - where to cut is no secret
    body = tgi_sse(TEXTS)
    parts = recut(body, random_.sample(range(len(body)), seed * 5))
    frames = b"".join(payload_part(part) for part in parts)
    chunks = recut(frames, random_.sample(range(len(frames)), 40))
    with endpoint(response_stream(chunks)) as (llm, server):
        got = list(llm.stream(ASK))
    assert [chunk.text for chunk in got] == TEXTS
    last = got[-1]
    assert last.finish_reason == "length"
    assert last.counts is not None
    assert (last.counts.prompt, last.counts.generated) == (5, len(TEXTS))
    assert last.timings is not None
    assert last.timings.first_token_s is not None
    assert last.timings.first_token_s <= last.timings.total_s
    assert server.seen[0].path == "/endpoints/twin/invocations-response-stream"
    assert server.seen[0].document["stream"] is True


def test_connections_are_reused_after_calls_and_after_whole_streams() -> None:
    """Ten requests one after the other, streamed and not, take one connection."""
    stream = response_stream([payload_part(tgi_sse(TEXTS))])
    with endpoint(*[ANSWER, stream] * 5) as (llm, server):
        for _ in range(5):
            llm.generate(ASK)
            collect(llm.stream(ASK))
        assert server.connections == 1


def test_closing_a_stream_early_closes_the_connection() -> None:
    """The server sees that the client left, and can stop generating."""
    with endpoint(response_stream([FIRST], end="hang")) as (llm, server):
        chunks = llm.stream(ASK)
        assert next(chunks).text == " Paris"
        chunks.close()
        assert server.client_left.wait(5)


def test_the_executors_stream_closes_it_too() -> None:
    """Leaving the loop over `InferenceExecutor.stream` is enough."""
    with endpoint(response_stream([FIRST], end="hang")) as (llm, server):
        for text in InferenceExecutor(llm, "Where?").stream():
            assert text == " Paris"
            break
        assert server.client_left.wait(5)


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_stream_that_breaks_raises_with_the_text_so_far_and_is_not_repeated(end: Literal["cut", "reset"]) -> None:
    """A generation that had started is never asked again."""
    with endpoint(response_stream([FIRST], end=end), ANSWER) as (llm, server):
        chunks = llm.stream(ASK)
        assert next(chunks).text == " Paris"
        with pytest.raises(StreamBrokenError) as raised:
            collect(chunks)
    assert raised.value.partial_text == " Paris"
    assert len(server.seen) == 1


def test_a_stream_that_ends_without_its_last_event_is_broken() -> None:
    """A clean end of HTTP is no end of an answer."""
    body = tgi_sse(TEXTS)
    cut_at = body.rindex(b"data:")
    with (
        endpoint(response_stream([payload_part(body[:cut_at])])) as (llm, _),
        pytest.raises(StreamBrokenError) as raised,
    ):
        collect(llm.stream(ASK))
    assert raised.value.partial_text == "".join(TEXTS[:-1])


def test_a_damaged_frame_is_a_broken_stream() -> None:
    """The frames' checksums are checked."""
    bad = bytearray(payload_part(tgi_sse(TEXTS)))
    bad[-10] ^= 1
    with endpoint(response_stream([FIRST, bytes(bad)])) as (llm, _), pytest.raises(StreamBrokenError) as raised:
        collect(llm.stream(ASK))
    assert raised.value.partial_text == " Paris"


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        (
            "ModelStreamError",
            {
                "Message": "Your model primary did not complete sending the inference response in the allotted time.",
                "ErrorCode": "ModelInvocationTimeExceeded",
            },
            InferenceTimeoutError,
        ),
        ("ModelStreamError", {"Message": "gone", "ErrorCode": "StreamBroken"}, StreamBrokenError),
        ("InternalStreamFailure", {"Message": "gone"}, StreamBrokenError),
    ],
)
def test_an_exception_frame_ends_the_stream_with_the_text_so_far(
    kind: str, document: dict[str, str], expected: type[InferenceError]
) -> None:
    """SageMaker's own mid-stream errors, each as its class, with what had arrived."""
    reply = response_stream([FIRST, stream_exception(kind, document)])
    with endpoint(reply) as (llm, _), pytest.raises(expected, match=document["Message"]) as raised:
        collect(llm.stream(ASK))
    assert type(raised.value) is expected
    assert raised.value.partial_text == " Paris"


ERRORS: list[tuple[Reply, type[LlmDeployError], str]] = [
    (
        invocation_error(400, "ValidationError", Message="Endpoint twin of account 000000000000 not found."),
        NotFoundError, "not found",
    ),
    (invocation_error(400, "ValidationError", Message=NO_CAPACITY), NoCapacityError, "no capacity"),
    (
        invocation_error(400, "ValidationError", Message="Inference Component Name header is required for endpoints "
                         "to which you plan to deploy inference components."),
        InferenceRequestError, "header is required",
    ),
    (invocation_error(400, "ValidationError", Message="Request body too large"), InferenceRequestError, "too large"),
    (
        invocation_error(424, "ModelError", OriginalStatusCode=422, OriginalMessage='{"error":"`inputs` must have less '
                         'than 2048 tokens","error_type":"validation"}', Message="Received client error (422)"),
        InferenceRequestError, "must have less than 2048 tokens",
    ),
    (
        invocation_error(424, "ModelError", OriginalStatusCode=429, OriginalMessage='{"error":"Model is overloaded",'
                         '"error_type":"overloaded"}', Message="Received client error (429)"),
        OverloadedError, "Model is overloaded",
    ),
    (
        invocation_error(424, "ModelError", Message='Received server error (500) from primary with message "{"error": '
                         '"CUDA out of memory", "error_type": "generation"}". See https://eu-central-1.console.aws'),
        InferenceError, "CUDA out of memory",
    ),
    (
        invocation_error(424, "ModelError", Message='Received server error (0) from primary with message "Your '
                         'invocation timed out while waiting for a response from container primary.'),
        InferenceTimeoutError, "timed out",
    ),
    (invocation_error(429, "ModelNotReadyException", Message="not ready"), NoCapacityError, "not ready"),
    (invocation_error(503, "ServiceUnavailable", Message="unavailable"), CloudError, "unavailable"),
    (invocation_error(500, "InternalFailure", Message="internal"), CloudError, "internal"),
    (invocation_error(530, "InternalDependencyException", Message="dependency"), CloudError, "dependency"),
    (invocation_error(403, "AccessDeniedException", Message="User may not"), AccessDeniedError, "User may not"),
    (invocation_error(403, "ExpiredTokenException", Message="token expired"), CredentialsError, "expired"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "expected", "words"), ERRORS, ids=[f"{e[1].__name__}-{i}" for i, e in enumerate(ERRORS)]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_every_refusal_has_its_class_and_the_servers_words_and_is_asked_once(
    reply: Reply, expected: type[LlmDeployError], words: str, *, streamed: bool
) -> None:
    """Calls and streams alike; nothing here may be repeated without being asked to."""
    with endpoint(reply) as (llm, server), pytest.raises(expected, match=words) as raised:
        collect(llm.stream(ASK)) if streamed else llm.generate(ASK)
    assert type(raised.value) is expected
    assert len(server.seen) == 1


def test_throttling_is_repeated_with_pauses_until_it_ends() -> None:
    """A throttled request did not reach the model."""
    clock = Clock()
    throttled = invocation_error(400, "ThrottlingException", Message="Rate exceeded")
    with endpoint(throttled, throttled, ANSWER, patience=patient(clock)) as (llm, server):
        assert llm.generate(ASK).text == " Paris"
    assert len(server.seen) == 3
    assert clock.pauses == [0.25, 0.5]


def test_throttling_without_end_is_an_error() -> None:
    """After four attempts."""
    with (
        endpoint(invocation_error(400, "ThrottlingException", Message="Rate exceeded")) as (llm, server),
        pytest.raises(ThrottledError),
    ):
        llm.generate(ASK)
    assert len(server.seen) == 4


def test_no_connection_is_repeated_and_then_said() -> None:
    """Nothing was sent, so asking again is harmless."""
    clock = Clock()
    with serving(ANSWER) as server:
        url = server.url
    llm = LLMInferenceSagemakerEndpoint(
        "twin", None, "ic", dialect="tgi", session=session(url), patience=patient(clock)
    )
    with pytest.raises(UnreachableError):
        llm.generate(ASK)
    assert len(clock.pauses) == 3


def test_a_connection_that_closes_without_an_answer_is_not_repeated() -> None:
    """The request may have been read, and the model may be at work."""
    with endpoint(Reply(end="vanish"), ANSWER) as (llm, server), pytest.raises(InferenceError, match="broke"):
        llm.generate(ASK)
    assert len(server.seen) == 1


def test_a_body_that_is_cut_is_an_error_and_not_repeated() -> None:
    """Half an answer is no answer."""
    cut = Reply(parts=(b'[{"generated_text": " Par',), end="cut", chunked=False)
    with endpoint(cut, ANSWER) as (llm, server), pytest.raises(InferenceError):
        llm.generate(ASK)
    assert len(server.seen) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_waiting_for_capacity_asks_until_a_copy_is_up(*, streamed: bool) -> None:
    """Scaled to zero: refused twice, then answered; without the option the first refusal is the error (above)."""
    clock = Clock()
    zero = invocation_error(400, "ValidationError", Message=NO_CAPACITY)
    answer = response_stream([payload_part(tgi_sse([" Paris"]))]) if streamed else ANSWER
    with endpoint(zero, zero, answer, patience=patient(clock, wait_for_capacity_s=600)) as (llm, _):
        got = collect(llm.stream(ASK)) if streamed else llm.generate(ASK)
    assert got.text == " Paris"
    assert clock.pauses == [5.0, 5.0]


def test_waiting_for_capacity_ends() -> None:
    """After the seconds that were given."""
    clock = Clock()
    zero = invocation_error(400, "ValidationError", Message=NO_CAPACITY)
    with endpoint(zero, patience=patient(clock, wait_for_capacity_s=12)) as (llm, _), pytest.raises(NoCapacityError):
        llm.generate(ASK)
    assert clock.now_s == 12


def test_a_deadline_ends_a_stream_that_goes_silent() -> None:
    """`answer_timeout_s` holds in the middle of a blocked read; the text so far is kept, the connection closed."""
    options = {"answer_timeout_s": 0.5, "patience": None}
    with endpoint(response_stream([FIRST], end="hang"), **options) as (llm, server):
        with pytest.raises(InferenceTimeoutError) as raised:
            collect(llm.stream(ASK))
        assert server.client_left.wait(5)
    assert raised.value.partial_text == " Paris"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_deadline_ends_the_wait_for_an_answers_head(*, streamed: bool) -> None:
    """A server that accepts and says nothing."""
    with endpoint(Reply(end="hang", status=200), answer_timeout_s=0.3, patience=None) as (llm, server):
        with pytest.raises(InferenceTimeoutError):
            collect(llm.stream(ASK)) if streamed else llm.generate(ASK)
        assert len(server.seen) == 1


def test_payloads_are_of_their_thread() -> None:
    """Sixteen threads with one endpoint object: each gets the answer to its own question."""

    def ask(number: int) -> str:
        llm.set_payload(f"question {number}")
        barrier.wait()
        return llm.inference().text

    barrier = threading.Barrier(16)
    with endpoint(ANSWER) as (llm, server), ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [" Paris"] * 16
        asked = {seen.document["inputs"] for seen in server.seen}
    assert asked == {f"question {number}" for number in range(16)}


def test_a_session_of_boto3s_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """For services that have one already."""
    with serving(ANSWER) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        own = boto3.Session(region_name=REGION, aws_access_key_id="made-up", aws_secret_access_key="made-up")
        llm = LLMInferenceSagemakerEndpoint("twin", {}, "ic", dialect="tgi", session=own)
        assert llm.generate(ASK).text == " Paris"


def test_without_a_session_the_environment_and_env_file_decide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The seed's `.env`: where, who, and the sampling parameters of a client that says none."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "MAX_NEW_TOKENS_INFERENCE"):
        monkeypatch.delenv(name, raising=False)
    with serving(ANSWER) as server:
        lines = [f"AWS_ENDPOINT_URL={server.url}", "AWS_REGION=eu-west-3", "AWS_ACCESS_KEY=AKIAMADEUP",
                 "AWS_SECRET_KEY=made-up", "MAX_NEW_TOKENS_INFERENCE=11"]  # fmt: skip
        (tmp_path / ".env").write_text("\n".join(lines))
        llm = LLMInferenceSagemakerEndpoint("twin", None, "ic", dialect="tgi")
        assert InferenceExecutor(llm, "Where?").execute() == " Paris"
        (seen,) = server.seen
    assert seen.document["parameters"]["max_new_tokens"] == 11
    assert "AKIAMADEUP" in seen.headers["authorization"]
    assert "/eu-west-3/sagemaker/" in seen.headers["authorization"]


def test_objects_that_share_a_session_may_be_used_at_once() -> None:
    """Making clients in many threads does not break boto3."""
    with serving(ANSWER) as server:
        shared = session(server.url)
        llms = [LLMInferenceSagemakerEndpoint("twin", {}, "ic", dialect="tgi", session=shared) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert [answer.text for answer in pool.map(lambda llm: llm.generate(ASK), llms)] == [" Paris"] * 8
