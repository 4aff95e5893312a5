"""Asynchronous endpoints, SageMaker's OpenAI path and an embedding server, with the real model, S3, SNS and IAM."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from llm_deploy.serving import models
from tests.functional.local.conftest import Running, wait_until
from tests.functional.local.people import IMAGE, REGION, allow, new_role, new_user, refused, trusting

TEI_IMAGE = f"141502667606.dkr.ecr.{REGION}.amazonaws.com/tei:2.0.1-tei1.8.2-gpu-py310-cu122-ubuntu22.04"
PROMPT = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 4}}
CHAT = {"model": "", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6, "temperature": 0}
HOSTING = allow("s3:GetObject", "ecr:*", "logs:*")


@contextmanager
def endpoint(running: Running, name: str, image: str = IMAGE, role: str | None = None, **config: Any) -> Iterator[str]:  # noqa: ANN401 - API members
    """A model-based endpoint in service, and gone afterwards."""
    sagemaker = running.client("sagemaker")
    arn = role or running.cloud.environment()["AWS_ARN_ROLE"]
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=arn, PrimaryContainer={"Image": image})
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **config)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    try:
        yield name
    finally:
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def token(keys: dict[str, str], *, region: str = REGION, expires: int = 3600) -> str:
    """A bearer token of somebody's keys."""
    request = AWSRequest(
        method="POST",
        url="https://sagemaker.amazonaws.com/",
        headers={"host": "sagemaker.amazonaws.com"},
        params={"Action": "CallWithBearerToken"},
    )
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    SigV4QueryAuth(credentials, "sagemaker", region, expires=expires).add_auth(request)
    text = request.url.removeprefix("https://") + "&Version=1"
    return "sagemaker-api-key-" + base64.b64encode(text.encode()).decode()


def appears(running: Running, location: str) -> tuple[bytes, str]:
    """An object that will be written; its content and its type."""
    s3 = running.client("s3")
    bucket, _, key = location.removeprefix("s3://").partition("/")
    end = time.monotonic() + 20
    while True:
        try:
            found = s3.get_object(Bucket=bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            assert time.monotonic() < end, f"{location} does not appear"
            time.sleep(0.05)
        else:
            return found["Body"].read(), found["ContentType"]


class Listener(http.server.BaseHTTPRequestHandler):
    """An HTTP subscriber of a topic."""

    heard: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Take a message."""
        self.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where a topic can send to, and what it has sent."""
    heard: list[dict[str, Any]] = []
    kind = type("Heard", (Listener,), {"heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", heard
        server.shutdown()


@pytest.mark.row("T10")
def test_an_asynchronous_answer_of_the_real_model(running: Running, bucket: str) -> None:
    """From S3 to S3, inline to S3, a failure to the failure path, and a word to the topic about each.

    Ledger: runtime.async.accepted, runtime.async.locations, runtime.async.notification.
    """
    sns, s3, runtime = running.client("sns"), running.client("s3"), running.client("sagemaker-runtime")
    topic = sns.create_topic(Name="told")["TopicArn"]
    notification = {"SuccessTopic": topic, "ErrorTopic": topic}
    output = {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/bad"}
    config = {"OutputConfig": {**output, "NotificationConfig": notification}}
    s3.put_object(Bucket=bucket, Key="in/ä b.json", Body=json.dumps(PROMPT))
    with listening() as (url, heard), endpoint(running, "later", AsyncInferenceConfig=config) as name:
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)
        sns.confirm_subscription(TopicArn=topic, Token=_heard(heard, "SubscriptionConfirmation", 1)[0]["Token"])
        asked = {"EndpointName": name, "ContentType": "application/json"}
        one = runtime.invoke_endpoint_async(**asked, InputLocation=f"s3://{bucket}/in/ä b.json", InferenceId="one")
        other = runtime.invoke_endpoint_async(**asked, Body=json.dumps(PROMPT).encode(), Filename="other.json")
        wrong = runtime.invoke_endpoint_async(**asked, Body=b'{"inputs": ""}')
        assert one["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert other["OutputLocation"] == f"s3://{bucket}/out/other.json"
        for told in (one, other):
            body, kind = appears(running, told["OutputLocation"])
            assert (json.loads(body)[0]["generated_text"][:6], kind) == (" Paris", "application/json")
        assert b"`inputs` cannot be empty" in appears(running, wrong["FailureLocation"])[0]
        messages = [json.loads(each["Message"]) for each in _heard(heard, "Notification", 3)]
    assert {each["inferenceId"]: each["invocationStatus"] for each in messages}["one"] == "Completed"
    assert sorted(each["invocationStatus"] for each in messages) == ["Completed", "Completed", "Failed"]


def _heard(heard: list[dict[str, Any]], kind: str, count: int) -> list[dict[str, Any]]:
    assert wait_until(lambda: sum(each["Type"] == kind for each in heard) >= count), heard
    return [each for each in heard if each["Type"] == kind]


def test_the_execution_role_decides_what_is_written(running: Running, bucket: str) -> None:
    """An answer that the role may not write is a failure; who may not invoke asynchronously is denied.

    Ledger: runtime.async.role, runtime.async.no-output, access.denied.
    """
    failures = f"arn:aws:s3:::{bucket}/bad/*"
    sagemaker = trusting({"Service": "sagemaker.amazonaws.com"})
    role = new_role(running, HOSTING, allow("s3:PutObject", resource=failures), trust=sagemaker)
    output = {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/bad"}
    with endpoint(running, "narrow", role=role, AsyncInferenceConfig={"OutputConfig": output}) as name:
        asked: dict[str, Any] = {"EndpointName": name, "Body": json.dumps(PROMPT).encode()}
        told = running.client("sagemaker-runtime").invoke_endpoint_async(**asked)
        assert b"could not write" in appears(running, told["FailureLocation"])[0]
        keys = new_user(running, allow("sagemaker:InvokeEndpoint"))
        status, code, words = refused(running.client("sagemaker-runtime", **keys).invoke_endpoint_async, **asked)
        assert (status, code) == (403, "AccessDeniedException")
        assert "sagemaker:InvokeEndpointAsync" in words
        assert refused(running.client("sagemaker-runtime").invoke_endpoint, **asked)[:2] == (400, "ValidationError")


@pytest.mark.row("T5")
def test_the_openai_path_of_the_real_model(running: Running) -> None:
    """Whole, streamed as it is generated, refused as OpenAI refuses; keys with both permissions get in, others do not.

    Ledger: runtime.openai.path, runtime.openai.answer, runtime.openai.errors, access.bearer, access.bearer.two-actions.
    """
    both = new_user(running, allow("sagemaker:CallWithBearerToken", "sagemaker:InvokeEndpoint"))
    half = new_user(running, allow("sagemaker:InvokeEndpoint"))
    url = running.cloud.environment()["AWS_ENDPOINT_URL"]
    with (
        endpoint(running, "open") as name,
        httpx.Client(base_url=f"{url}/endpoints/{name}/openai/v1/", timeout=60) as http_,
    ):

        def ask(keys: dict[str, str], *, region: str = REGION, **more: Any) -> httpx.Response:  # noqa: ANN401 - JSON
            headers = {"authorization": f"Bearer {token(keys, region=region)}"}
            return http_.post("chat/completions", json={**CHAT, **more}, headers=headers)

        answer = ask(both)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        assert answer.json()["usage"]["completion_tokens"] == 6
        streamed = ask(both, stream=True)
        assert streamed.headers["content-type"] == "text/event-stream"
        assert streamed.text.endswith("data: [DONE]\n\n")
        pieces = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
        text = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces)
        assert text == answer.json()["choices"][0]["message"]["content"]
        wrong = ask(both, temperature=-1)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "model_error")
        assert "Received client error (400) from primary" in wrong.json()["error"]["message"]
        denied = ask(half)
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "access_denied")
        assert ask(both, region="eu-west-1").status_code == 403


def test_components_have_an_openai_path_of_their_own(running: Running) -> None:
    """Named in the path; the endpoint alone does not say which.

    Ledger: runtime.openai.path, runtime.header-required.
    """
    sagemaker, environment = running.client("sagemaker"), running.cloud.environment()
    role = environment["AWS_ARN_ROLE"]
    root = {"aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"]}  # fmt: skip
    headers = {"authorization": f"Bearer {token(root)}"}
    variant = {"VariantName": "v", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName="part", ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})
    sagemaker.create_endpoint_config(EndpointConfigName="parts", ExecutionRoleArn=role, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="parts", EndpointConfigName="parts")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="parts", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    needs = {"MinMemoryRequiredInMb": 1024, "NumberOfAcceleratorDevicesRequired": 1}
    sagemaker.create_inference_component(
        InferenceComponentName="part",
        EndpointName="parts",
        VariantName="v",
        Specification={"ModelName": "part", "ComputeResourceRequirements": needs},
        RuntimeConfig={"CopyCount": 1},
    )
    try:
        _wait_for_component(sagemaker, "part")
        url = f"{environment['AWS_ENDPOINT_URL']}/endpoints/parts"
        path = "openai/v1/chat/completions"
        named = httpx.post(f"{url}/inference-components/part/{path}", json=CHAT, headers=headers, timeout=60)
        assert named.status_code == 200, named.text
        alone = httpx.post(f"{url}/{path}", json=CHAT, headers=headers, timeout=60)
        assert (alone.status_code, alone.json()["error"]["code"]) == (400, "validation_error")
    finally:
        sagemaker.delete_inference_component(InferenceComponentName="part")
        sagemaker.delete_endpoint(EndpointName="parts")
        sagemaker.delete_endpoint_config(EndpointConfigName="parts")
        sagemaker.delete_model(ModelName="part")


def _wait_for_component(sagemaker: Any, name: str) -> None:  # noqa: ANN401 - boto3 ships no types
    end = time.monotonic() + 60
    while (
        sagemaker.describe_inference_component(InferenceComponentName=name)["InferenceComponentStatus"] != "InService"
    ):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.usefixtures("embedding_model")
def test_an_embedding_server_is_an_embedding_server(running: Running) -> None:
    """An image of TEI's gets the local model for embeddings, and answers as TEI does. Ledger: local.embeddings."""
    with endpoint(running, "vectors", TEI_IMAGE) as name:
        runtime = running.client("sagemaker-runtime")

        def ask(**body: Any) -> Any:  # noqa: ANN401 - JSON both ways
            answer = runtime.invoke_endpoint(EndpointName=name, Body=json.dumps(body), ContentType="application/json")
            return json.loads(answer["Body"].read())

        assert [len(vector) for vector in ask(inputs=["one", "two"])] == [384, 384]
        texts = ["It rains.", "Bread is baked from flour and water."]
        assert ask(query="How is bread made?", texts=texts)[0]["index"] == 1


@pytest.fixture
def embedding_model() -> None:
    """The embedding model in the cache, where a container looks for it."""
    models.pull("minilm")
