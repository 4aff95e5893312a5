"""Asynchronous endpoints: requests into the queue, answers out of S3; real botocore before a server that plays both."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llm_deploy import (
    AsyncLLMInferenceSagemakerEndpoint,
    GenerationRequest,
    LLMInferenceSagemakerEndpoint,
)
from llm_deploy.aws import Session
from llm_deploy.client.patience import Patience
from llm_deploy.client.queued import MAX_INLINE_BYTES, Ticket
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import (
    AccessDeniedError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    SpecError,
)
from llm_deploy.resource import TAG_DIALECT
from tests.fakes.runtime_server import REGION, Reply, RuntimeServer, invocation, serving

pytestmark = [pytest.mark.row("T10")]

ASK = GenerationRequest(prompt="Hi", max_new_tokens=3)
LOOKED_UP = (
    invocation({
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/twin",
        "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://answers/out"}},
    }),
    invocation({"Tags": [{"Key": TAG_DIALECT, "Value": "tgi"}]}),
)  # fmt: skip
QUEUED = Reply(
    202,
    (b'{"InferenceId": "i-1"}',),
    {"X-Amzn-SageMaker-OutputLocation": "s3://answers/out/1.out",
     "X-Amzn-SageMaker-FailureLocation": "s3://answers/failed/1.err", "Content-Type": "application/json"},
    chunked=False,
)  # fmt: skip
NOT_YET = Reply(404, (b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>",), chunked=False)
DENIED = Reply(403, (b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",), chunked=False)
ANSWER = invocation([{"generated_text": " Paris", "details": {"finish_reason": "length", "generated_tokens": 1}}])
DONE = Reply(200, chunked=False)


class Clock:
    """Time that passes while somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let so much pass."""
        self.pauses.append(seconds)
        self.now_s += seconds

    def patience(self) -> Patience:
        """On this clock."""
        return Patience(clock=lambda: self.now_s, sleep=self.sleep)


def session(server: RuntimeServer) -> Session:
    return Session(region=REGION, endpoint_url=server.url, access_key="made-up", secret_key="made-up")


def endpoint(server: RuntimeServer, **options: Any) -> LLMInferenceSagemakerEndpoint:  # noqa: ANN401 - passed on
    return LLMInferenceSagemakerEndpoint("twin", session=session(server), **options)


def paths(server: RuntimeServer) -> list[tuple[str, str]]:
    """Method and path of what was asked of runtime and S3."""
    return [(seen.method, seen.path.split("?", maxsplit=1)[0]) for seen in server.seen if seen.path != "/"]


def test_an_endpoint_with_a_queue_is_asked_through_it() -> None:
    """Found by its description; output and failure are looked for, with growing pauses, until one is there."""
    clock = Clock()
    with serving(*LOOKED_UP, QUEUED, *[NOT_YET] * 8, ANSWER) as server:
        answer = endpoint(server, patience=clock.patience()).generate(ASK)
        assert (answer.text, answer.finish_reason) == (" Paris", "length")
        looks = [("GET", "/answers/out/1.out"), ("GET", "/answers/failed/1.err")]
        assert paths(server) == [("POST", "/endpoints/twin/async-invocations"), *looks * 4, looks[0]]
    assert clock.pauses == [0.2, pytest.approx(0.3), pytest.approx(0.45), pytest.approx(0.675)]


def test_a_stream_is_the_whole_answer_in_one_piece() -> None:
    """A queue cannot stream; callers that do need not know."""
    with serving(*LOOKED_UP, QUEUED, ANSWER) as server:
        chunks = list(endpoint(server).stream(ASK))
        assert [chunk.text for chunk in chunks] == [" Paris"]
        assert json.loads(server.seen[2].body)["stream"] is False
    assert collect(chunks).counts.generated == 1
    assert chunks[0].timings is not None


def test_on_an_event_loop() -> None:
    """The same; waiting takes no thread."""

    async def ask(server: RuntimeServer) -> list[str]:
        async with AsyncLLMInferenceSagemakerEndpoint("twin", session=session(server)) as llm:
            return [(await llm.generate(ASK)).text, *[chunk.text async for chunk in llm.stream(ASK)]]

    with serving(*LOOKED_UP, QUEUED, NOT_YET, NOT_YET, ANSWER, QUEUED, ANSWER) as server:
        assert asyncio.run(ask(server)) == [" Paris", " Paris"]


def test_a_failure_is_the_model_servers() -> None:
    """What was put into the failure location is its own words."""
    failure = Reply(
        200, (b'{"error":"`inputs` must have less than 9 tokens","error_type":"validation"}',), chunked=False
    )
    with (
        serving(*LOOKED_UP, QUEUED, NOT_YET, failure) as server,
        pytest.raises(InferenceRequestError, match="less than 9 tokens"),
    ):
        endpoint(server).generate(ASK)


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"Received server error (0) from primary"])
def test_any_other_failure_is_an_error(body: bytes) -> None:
    """Whatever stands there."""
    with (
        serving(*LOOKED_UP, QUEUED, NOT_YET, Reply(200, (body,), chunked=False)) as server,
        pytest.raises(InferenceError),
    ):
        endpoint(server).generate(ASK)


def test_a_deadline_ends_the_wait_and_says_where_the_answer_will_be() -> None:
    """The queue is told too, so that nobody works for a caller who has left."""
    clock = Clock()
    with serving(*LOOKED_UP, QUEUED, NOT_YET) as server:
        with pytest.raises(InferenceTimeoutError) as raised:
            endpoint(server, answer_timeout_s=30, patience=clock.patience()).generate(ASK)
        headers = server.seen[2].headers
    assert "s3://answers/out/1.out" in (raised.value.hint or "")
    assert sum(clock.pauses) == pytest.approx(30)
    assert (headers["x-amzn-sagemaker-requestttlseconds"], headers["x-amzn-sagemaker-invocationtimeoutseconds"]) == (
        "60",
        "30",
    )


def test_places_that_may_not_be_read_are_said_at_once() -> None:
    """With the permissions that are missing; waiting would not help."""
    with serving(*LOOKED_UP, QUEUED, DENIED) as server, pytest.raises(AccessDeniedError) as raised:
        endpoint(server).generate(ASK)
    assert "s3:ListBucket" in (raised.value.hint or "")


def test_a_large_request_goes_through_s3_and_is_removed_when_it_is_answered() -> None:
    """Under the place of answers; that it may not be removed loses no answer."""
    request = GenerationRequest(prompt="x" * MAX_INLINE_BYTES)
    for removed in (DONE, DENIED):
        with serving(*LOOKED_UP, DONE, QUEUED, ANSWER, removed) as server:
            assert endpoint(server).generate(request).text == " Paris"
            (put, key), (post, _), (get, _), (delete, same) = paths(server)
            assert (put, post, get, delete) == ("PUT", "POST", "GET", "DELETE")
            assert key == same
            assert key.startswith("/answers/out/requests/")
            assert server.seen[3].headers["x-amzn-sagemaker-inputlocation"] == f"s3:/{key}"


def test_a_ticket_is_redeemed_by_anybody() -> None:
    """Submitted here, kept as text, looked for by another object; a live endpoint gives none."""
    with serving(*LOOKED_UP, QUEUED) as server:
        kept = endpoint(server).submit(ASK).to_json()
    with serving(*LOOKED_UP, NOT_YET, NOT_YET, ANSWER) as server:
        other = endpoint(server)
        assert other.redeem(Ticket.from_json(kept)) is None
        found = other.redeem(Ticket.from_json(kept))
        assert found is not None
        assert found.text == " Paris"

    async def on_a_loop(server: RuntimeServer) -> str:
        llm = AsyncLLMInferenceSagemakerEndpoint("twin", session=session(server))
        ticket = await llm.submit(ASK)
        found = await llm.redeem(ticket)
        assert found is not None
        return found.text

    with serving(*LOOKED_UP, QUEUED, ANSWER) as server:
        assert asyncio.run(on_a_loop(server)) == " Paris"


def test_an_endpoint_without_a_queue_gives_no_tickets() -> None:
    """Said before anything is sent."""
    live = invocation({"EndpointArn": f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/twin"})
    looked_up = (live, LOOKED_UP[1], invocation({"InferenceComponents": []}))
    with serving(*looked_up) as server, pytest.raises(InferenceRequestError, match="no queue"):
        endpoint(server).submit(ASK)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"inference_id": 1}', '{"inference_id": "1", "output_location": "https://elsewhere/x"}',
     '{"inference_id": "1", "output_location": "s3://bucket"}', '{"a": 1}',
     '{"inference_id": "1", "output_location": 5}', '{"inference_id": "1", "output_location": ["s3://bucket/key"]}',
     '{"inference_id": 1, "output_location": "s3://bucket/key"}'],
)  # fmt: skip
def test_what_is_no_ticket_is_refused(text: str) -> None:
    """It may come from anywhere, and says what is read with our credentials."""
    with pytest.raises(SpecError):
        Ticket.from_json(text)
