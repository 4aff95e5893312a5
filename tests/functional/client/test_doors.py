"""SageMaker's other doors, on the local cloud: its OpenAI-compatible path, and its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from llm_deploy import (
    AsyncLLMInferenceSagemakerEndpoint,
    GenerationRequest,
    LLMInferenceHttpEndpoint,
    LLMInferenceSagemakerEndpoint,
)
from llm_deploy.aws import Session
from llm_deploy.client.queued import Ticket
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import InferenceRequestError
from tests.conftest import ROOT, Terminal
from tests.functional.serving.servers import wait_for

pytestmark = [pytest.mark.row("T5"), pytest.mark.row("T10"), pytest.mark.xdist_group("local-cloud")]

LIVE, QUEUED = "doors", "doors-queued"
ASK = GenerationRequest(prompt="The capital of France is", max_new_tokens=5, temperature=0, seed=7)
CHAT = GenerationRequest(messages=({"role": "user", "content": "Say hello."},), max_new_tokens=5, temperature=0, seed=7)


@pytest.fixture(scope="module")
def session(pointed_at_it: dict[str, str]) -> Session:
    """The local cloud's."""
    return Session(
        region=pointed_at_it["AWS_REGION"],
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        access_key=pointed_at_it["AWS_ACCESS_KEY_ID"],
        secret_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="module")
def live(local_cloud: Terminal) -> Iterator[str]:
    """An endpoint that answers live."""
    settings = ("--endpoint-type", "model", "--set", f"name={LIVE}")
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "smollm2.yaml"), *settings, "--yes")
    yield LIVE
    local_cloud.run("delete-endpoint", LIVE, "--yes")


@pytest.fixture(scope="module")
def queued(live: str, pointed_at_it: dict[str, str]) -> Iterator[str]:
    """Another over the same model, with a queue."""

    def client(service: str) -> Any:  # noqa: ANN401 - boto3 has no types
        return boto3.client(
            service,
            region_name=pointed_at_it["AWS_REGION"],
            endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
            aws_access_key_id=pointed_at_it["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
        )

    hosting, storage = client("sagemaker"), client("s3")
    config = hosting.describe_endpoint_config(
        EndpointConfigName=hosting.describe_endpoint(EndpointName=live)["EndpointConfigName"]
    )
    region = pointed_at_it["AWS_REGION"]
    bucket = f"sagemaker-{region}-doors"
    storage.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    hosting.create_endpoint_config(
        EndpointConfigName=QUEUED,
        ProductionVariants=config["ProductionVariants"],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/failed"}
        },
    )
    hosting.create_endpoint(EndpointName=QUEUED, EndpointConfigName=QUEUED)
    hosting.get_waiter("endpoint_in_service").wait(EndpointName=QUEUED, WaiterConfig={"Delay": 1})
    yield QUEUED
    hosting.delete_endpoint(EndpointName=QUEUED)
    hosting.get_waiter("endpoint_deleted").wait(EndpointName=QUEUED, WaiterConfig={"Delay": 1})
    hosting.delete_endpoint_config(EndpointConfigName=QUEUED)
    for kept in storage.list_objects_v2(Bucket=bucket).get("Contents", []):
        storage.delete_object(Bucket=bucket, Key=kept["Key"])
    storage.delete_bucket(Bucket=bucket)


def test_the_openai_path_answers_chats_with_a_token(live: str, session: Session, local_cloud: Terminal) -> None:
    """As the runtime does; made by the client itself, or by the command for a client that only has the token."""
    runtime = LLMInferenceSagemakerEndpoint(live, session=session).generate(CHAT)
    with LLMInferenceSagemakerEndpoint(live, session=session, via="openai") as llm:
        assert llm.generate(CHAT).text == collect(llm.stream(CHAT)).text == runtime.text
    made = local_cloud.run("token", live, "--json").json
    with LLMInferenceHttpEndpoint(made["base_url"], api_key=made["api_key"]) as llm:
        assert llm.generate(CHAT).text == runtime.text


def test_a_queue_answers_as_the_runtime_does(queued: str, live: str, session: Session) -> None:
    """Found by the endpoint's description alone; whole and as a stream; from threads and on a loop; a batch too."""
    runtime = LLMInferenceSagemakerEndpoint(live, session=session).generate(ASK)
    llm = LLMInferenceSagemakerEndpoint(queued, session=session)
    assert llm.generate(ASK).text == collect(llm.stream(ASK)).text == runtime.text
    assert [item.text for item in llm.batch([ASK, ASK])] == [runtime.text] * 2

    async def on_a_loop() -> str:
        async with AsyncLLMInferenceSagemakerEndpoint(queued, session=session) as here:
            return (await here.generate(ASK)).text

    assert asyncio.run(on_a_loop()) == runtime.text


def test_a_large_request_goes_through_s3(queued: str, session: Session) -> None:
    """And is refused by the engine, in its own words, from the failure's place."""
    llm = LLMInferenceSagemakerEndpoint(queued, session=session)
    with pytest.raises(InferenceRequestError, match="token"):
        llm.generate(GenerationRequest(prompt="word " * 30_000, max_new_tokens=5))


def test_a_ticket_outlives_its_object(queued: str, session: Session) -> None:
    """Submitted by one, redeemed by another."""
    kept = LLMInferenceSagemakerEndpoint(queued, session=session).submit(ASK).to_json()
    other = LLMInferenceSagemakerEndpoint(queued, session=session)
    found: list[str] = []

    def answered() -> bool:
        answer = other.redeem(Ticket.from_json(kept))
        found.extend([] if answer is None else [answer.text])
        return answer is not None

    wait_for(answered, 60)
    assert found[0].startswith(" Paris")
