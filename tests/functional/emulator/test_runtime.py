"""Invocations: streams as they arrive, failures in AWS's words, and nothing that runs on for nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError, ReadTimeoutError

from tests.functional.emulator.cloud import RunningCloud


@pytest.fixture(scope="module")
def echo(shared_cloud: RunningCloud) -> Iterator[RunningCloud]:
    """The shared cloud with an endpoint `echo` in service."""
    shared_cloud.make_model_endpoint("echo", HF_MODEL_ID="org/other")
    assert shared_cloud.endpoint_rests("echo")["EndpointStatus"] == "InService"
    yield shared_cloud
    shared_cloud.sagemaker.delete_endpoint(EndpointName="echo")


def stream(cloud: RunningCloud, endpoint: str = "echo", **fake: Any) -> Any:  # noqa: ANN401 - botocore's stream
    """A streamed answer of the fake model server."""
    body = json.dumps({"inputs": "x", "stream": True, "fake": fake}).encode()
    return cloud.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, Body=body, ContentType="application/json"
    )


def parts(answer: Any) -> Iterator[bytes]:  # noqa: ANN401 - as above
    """The payloads of a stream."""
    for event in answer["Body"]:
        yield event["PayloadPart"]["Bytes"]


def whole(cloud: RunningCloud, endpoint: str = "echo", body: bytes | None = None, **fake: Any) -> Any:  # noqa: ANN401 - as above
    """A whole answer of the fake model server."""
    content = json.dumps({"inputs": "x", "fake": fake}).encode() if body is None else body
    return cloud.runtime.invoke_endpoint(EndpointName=endpoint, Body=content, ContentType="application/json")


def cancelled(cloud: RunningCloud) -> list[str]:
    """What the containers of `echo` wrote down about clients that hung up."""
    files = (cloud.state_dir / "containers").glob("endpoint-echo-*/cancelled")
    return [line for file in files for line in file.read_text().splitlines()]


def expected(tokens: int) -> bytes:
    """What the fake model server streams."""
    events = [json.dumps({"index": i, "token": {"id": i, "text": f" w{i}"}}) for i in range(tokens)]
    return b"".join(f"data:{event}\n\n".encode() for event in events)


@pytest.mark.row("T4")
def test_a_stream_arrives_whole_and_cut_anywhere(echo: RunningCloud) -> None:
    """Every byte in order, events split over parts and merged into one. Ledger: runtime.split."""
    answer = stream(echo, tokens=200, token_s=0.001)
    assert answer["ContentType"] == "text/event-stream"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-local-stand-in"] == "smollm2-135m-instruct for org/other"
    seen = list(parts(answer))
    assert b"".join(seen) == expected(200)
    assert any(not part.endswith(b"\n\n") for part in seen)
    assert any(b"\n\ndata" in part for part in seen)


def test_tokens_arrive_when_they_are_made(echo: RunningCloud) -> None:
    """The first part comes long before the last; nothing is collected."""
    started = time.monotonic()
    moments = [time.monotonic() - started for _ in parts(stream(echo, tokens=10, token_s=0.1))]
    assert moments[0] < 0.5
    assert moments[-1] > 0.8


def test_a_client_that_hangs_up_ends_the_copys_request_at_once(echo: RunningCloud) -> None:
    """The container sees the hang-up of a stream long before its next 50 seconds of tokens."""
    answer = stream(echo, tokens=1000, token_s=0.05)
    next(parts(answer))
    assert cancelled(echo) == []
    answer["Body"].close()
    (line,) = echo.eventually(lambda: cancelled(echo), timeout_s=1)
    assert line.startswith("cancelled after ")


def test_a_client_that_hangs_up_on_a_whole_answer_ends_the_copys_request_too(echo: RunningCloud) -> None:
    """A whole answer that nobody waits for is not made."""
    before = len(cancelled(echo))
    impatient = echo.client("sagemaker-runtime", read_timeout=0.5)
    with pytest.raises(ReadTimeoutError):
        impatient.invoke_endpoint(EndpointName="echo", Body=b'{"fake": {"tokens": 100, "token_s": 0.5}}')
    echo.eventually(lambda: len(cancelled(echo)) == before + 1, timeout_s=1)


def test_a_break_in_a_stream_is_an_error_after_the_text_so_far(echo: RunningCloud) -> None:
    """What had been generated arrives, then ModelStreamError with its code. Ledger: runtime.stream-broken."""
    seen: list[bytes] = []
    with pytest.raises(EventStreamError) as broken:
        seen.extend(parts(stream(echo, tokens=10, break_after=4, token_s=0.01)))
    assert broken.value.response["Error"]["Code"] == "ModelStreamError"


def test_the_text_before_a_break_is_complete(echo: RunningCloud) -> None:
    """No byte that the container sent is lost by the cutting."""
    collected = b""
    try:
        for part in parts(stream(echo, tokens=10, break_after=4, token_s=0.01)):
            collected += part
    except EventStreamError:
        pass
    assert collected == expected(4)


@pytest.mark.parametrize(("status", "side"), [(500, "server"), (422, "client"), (429, "client"), (503, "server")])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_of_the_container_is_a_model_error(
    echo: RunningCloud, status: int, side: str, *, streamed: bool
) -> None:
    """Status 424 with the container's own status and text inside. Ledger: runtime.model-error."""
    with pytest.raises(ClientError) as refused:
        _ = stream(echo, status=status) if streamed else whole(echo, status=status)
    response = refused.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["Error"]["Message"].startswith(f"Received {side} error ({status}) from primary with message ")
    assert "logEventViewer:group=/aws/sagemaker/Endpoints/echo in account 000000000000" in response["Error"]["Message"]
    assert ":log-group:/aws/sagemaker/Endpoints/echo:log-stream:AllTraffic/i-" in response["LogStreamArn"]


def test_bodies_beyond_the_limit_are_refused(echo: RunningCloud) -> None:
    """6291456 bytes pass, one more does not. Ledger: runtime.body-limit."""
    with pytest.raises(ClientError, match="less than or equal to 6291456") as refused:
        whole(echo, body=b"x" * 6_291_457)
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="not JSON"):
        whole(echo, body=b"x" * 6_291_456)


def test_names_and_headers_are_checked_in_aws_words(echo: RunningCloud) -> None:
    """Ledger: runtime.no-endpoint, runtime.no-variant, runtime.header-forbidden."""
    with pytest.raises(ClientError, match=r"Endpoint none of account 000000000000 not found\.") as refused:
        whole(echo, "none")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="Endpoint ECHO of account"):
        whole(echo, "ECHO")
    for more, words in (
        ({"TargetVariant": "Other"}, "Variant Other not found"),
        ({"InferenceComponentName": "c"}, "header is not allowed"),
    ):
        with pytest.raises(ClientError, match=words):
            echo.runtime.invoke_endpoint(EndpointName="echo", Body=b"{}", **more)


def test_headers_for_the_model_reach_the_model(echo: RunningCloud) -> None:
    """Custom attributes, inference id and Accept pass; the signature does not."""
    answer = echo.runtime.invoke_endpoint(
        EndpointName="echo",
        Body=b"{}",
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="route=/v1/x",
        InferenceId="id-1",
    )
    (document,) = json.loads(answer["Body"].read())
    assert document["headers"]["x-amzn-sagemaker-custom-attributes"] == "route=/v1/x"
    assert document["headers"]["x-amzn-sagemaker-inference-id"] == "id-1"
    assert document["headers"]["accept"] == "application/json"
    assert "authorization" not in document["headers"]


def test_a_component_without_copies_refuses_at_once(shared_cloud: RunningCloud) -> None:
    """400 with the text that deployers know; with the copy back, an answer. Ledger: runtime.no-capacity."""
    cloud = shared_cloud
    cloud.make_model("zero")
    cloud.make_component_endpoint("zeros")
    cloud.make_component("zero", "zeros", "zero")
    cloud.component_rests("zero")

    def ask() -> Any:  # noqa: ANN401 - botocore's answer
        return cloud.runtime.invoke_endpoint(EndpointName="zeros", InferenceComponentName="zero", Body=b"{}")

    def scale(count: int) -> None:
        cloud.sagemaker.update_inference_component_runtime_config(
            InferenceComponentName="zero", DesiredRuntimeConfig={"CopyCount": count}
        )
        cloud.component_rests("zero")

    assert ask()["ResponseMetadata"]["HTTPStatusCode"] == 200
    with pytest.raises(ClientError, match="Inference Component Name header is required"):
        cloud.runtime.invoke_endpoint(EndpointName="zeros", Body=b"{}")
    with pytest.raises(ClientError, match="Inference Component none of account"):
        cloud.runtime.invoke_endpoint(EndpointName="zeros", InferenceComponentName="none", Body=b"{}")
    scale(0)
    with pytest.raises(ClientError, match="Inference Component has no capacity to process this request") as refused:
        ask()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    scale(1)
    assert ask()["ResponseMetadata"]["HTTPStatusCode"] == 200
    cloud.sagemaker.delete_inference_component(InferenceComponentName="zero")
    cloud.sagemaker.delete_endpoint(EndpointName="zeros")


def test_asynchronous_invocations_are_for_asynchronous_endpoints(echo: RunningCloud) -> None:
    """An endpoint that answers at once refuses them, and nothing is noted. Ledger: runtime.async.not."""
    with pytest.raises(ClientError, match="is not an asynchronous inference endpoint") as refused:
        echo.runtime.invoke_endpoint_async(EndpointName="echo", InputLocation="s3://b/k")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
