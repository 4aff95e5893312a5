"""From a model to an answer and back to nothing, driven by boto3 against real processes."""

from __future__ import annotations

import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from tests.functional.emulator.cloud import RunningCloud, processes_of

BODY = json.dumps({"inputs": "The capital of France is"}).encode()


def ask(cloud: RunningCloud, endpoint: str, **more: str) -> dict[str, Any]:
    """One whole answer of the fake model server."""
    answer = cloud.runtime.invoke_endpoint(EndpointName=endpoint, Body=BODY, ContentType="application/json", **more)
    (document,) = json.loads(answer["Body"].read())
    return {**document, "answer_headers": answer["ResponseMetadata"]["HTTPHeaders"]}


@pytest.mark.row("T3")
def test_a_model_based_endpoint_from_nothing_to_nothing(shared_cloud: RunningCloud) -> None:
    """Botocore's own waiters see it come and go; it answers; nothing is left."""
    cloud = shared_cloud
    cloud.make_model_endpoint("life", count=2, HF_MODEL_ID="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert cloud.sagemaker.describe_endpoint(EndpointName="life")["EndpointStatus"] == "Creating"
    fast = {"Delay": 1, "MaxAttempts": 20}
    cloud.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="life", WaiterConfig=fast)
    found = ask(cloud, "life")
    assert found["generated_text"] == " w0 w1 w2 w3 w4"
    assert found["dialect"] == "tgi"
    assert found["answer_headers"]["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert "x-local-stand-in" not in found["answer_headers"]
    cloud.sagemaker.delete_endpoint(EndpointName="life")
    cloud.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="life", WaiterConfig=fast)
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="life")
    cloud.sagemaker.delete_model(ModelName="life")
    assert cloud.sagemaker.list_models(NameContains="life")["Models"] == []
    cloud.eventually(lambda: not processes_of(cloud.state_dir, "endpoint-life-"))


@pytest.mark.row("T3")
def test_an_inference_component_from_nothing_to_nothing(shared_cloud: RunningCloud) -> None:
    """Endpoint first, component on it, asked by its header; then both go."""
    cloud = shared_cloud
    cloud.make_model("part", HF_MODEL_ID="mlabonne/TwinLlama-3.1-8B-DPO")
    cloud.make_component_endpoint("parts")
    cloud.make_component("part", "parts", "part", copies=2)
    found = cloud.component_rests("part")
    assert (found["InferenceComponentStatus"], found["RuntimeConfig"]["CurrentCopyCount"]) == ("InService", 2)
    answer = ask(cloud, "parts", InferenceComponentName="part")
    assert answer["served_model_name"] == "mlabonne/TwinLlama-3.1-8B-DPO"
    assert answer["answer_headers"]["x-local-stand-in"] == "smollm2-135m-instruct for mlabonne/TwinLlama-3.1-8B-DPO"
    cloud.sagemaker.delete_inference_component(InferenceComponentName="part")
    cloud.eventually(lambda: not cloud.sagemaker.list_inference_components()["InferenceComponents"])
    cloud.sagemaker.delete_endpoint(EndpointName="parts")
    cloud.eventually(lambda: not cloud.sagemaker.list_endpoints(NameContains="parts")["Endpoints"])
    cloud.eventually(lambda: not processes_of(cloud.state_dir, "inference-component-part-"))


def test_a_container_sees_its_own_environment_and_nothing_of_ours(shared_cloud: RunningCloud) -> None:
    """No AWS variable and no secret of whoever runs the cloud."""
    cloud = shared_cloud
    cloud.make_model_endpoint("env", MAX_TOTAL_TOKENS="4096")
    cloud.endpoint_rests("env")
    environment = ask(cloud, "env")["environment"]
    assert environment["MAX_TOTAL_TOKENS"] == "4096"
    allowed = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONUNBUFFERED"}
    assert environment.keys() - allowed == {"MAX_TOTAL_TOKENS"}
    assert environment["HOME"].startswith(str(cloud.state_dir))
    cloud.sagemaker.delete_endpoint(EndpointName="env")


def test_requests_spread_over_the_copies(shared_cloud: RunningCloud) -> None:
    """The copy with the fewest open requests is asked. Ledger: runtime.least-outstanding."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only this test needs it

    cloud = shared_cloud
    cloud.make_model_endpoint("spread", count=3, FAKE_TOKENS="1", FAKE_TOKEN_S="0.5")
    cloud.endpoint_rests("spread")
    _ = cloud.runtime  # made once, before the threads
    with ThreadPoolExecutor(6) as pool:
        pids = [each["pid"] for each in pool.map(lambda _: ask(cloud, "spread"), range(6))]
    assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2, 2]
    cloud.sagemaker.delete_endpoint(EndpointName="spread")


def test_an_update_never_interrupts_the_answers(shared_cloud: RunningCloud) -> None:
    """Requests go on during a blue/green switch, first to the old fleet, then to the new one."""
    cloud = shared_cloud
    cloud.make_model_endpoint("switch", HF_MODEL_ID="org/old")
    cloud.endpoint_rests("switch")
    cloud.make_model("switch-new", HF_MODEL_ID="org/new")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "switch-new",
        "InstanceType": "ml.g5.2xlarge",
        "InitialInstanceCount": 1,
    }
    cloud.sagemaker.create_endpoint_config(EndpointConfigName="switch-new", ProductionVariants=[variant])
    cloud.sagemaker.update_endpoint(EndpointName="switch", EndpointConfigName="switch-new")
    names: list[str] = []
    end = time.monotonic() + 20
    while time.monotonic() < end and (not names or names[-1] != "org/new"):
        names.append(ask(cloud, "switch")["served_model_name"])
    assert names[0] == "org/old"
    assert names[-1] == "org/new"
    assert cloud.endpoint_rests("switch")["EndpointConfigName"] == "switch-new"
    cloud.sagemaker.delete_endpoint(EndpointName="switch")


def test_a_copy_that_dies_comes_back(shared_cloud: RunningCloud) -> None:
    """The endpoint stays in service, and a request during the restart waits for the new process."""
    import os  # noqa: PLC0415 - only this test kills
    import signal  # noqa: PLC0415 - as above

    cloud = shared_cloud
    cloud.make_model_endpoint("phoenix")
    cloud.endpoint_rests("phoenix")
    first = ask(cloud, "phoenix")["pid"]
    os.kill(first, signal.SIGKILL)
    cloud.eventually(lambda: not os.path.exists(f"/proc/{first}"))  # noqa: PTH110 - a process, not a path of ours
    assert ask(cloud, "phoenix")["pid"] != first
    assert cloud.sagemaker.describe_endpoint(EndpointName="phoenix")["EndpointStatus"] == "InService"
    cloud.sagemaker.delete_endpoint(EndpointName="phoenix")


@pytest.mark.parametrize("mode", ["crash", "never_ready", "deaf"])
def test_a_container_that_never_gets_ready_keeps_its_endpoint_creating(shared_cloud: RunningCloud, mode: str) -> None:
    """Crash loop, no health, no port: the status says nothing for long, and nobody is answered."""
    cloud = shared_cloud
    name = mode.replace("_", "-")
    cloud.make_model_endpoint(name, FAKE_MODE=mode)
    time.sleep(1.0)
    assert cloud.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 000000000000 not found."):
        ask(cloud, name)


def test_lists_are_pages_for_botocores_paginators(shared_cloud: RunningCloud) -> None:
    """A foreign paginator walks every page, in order."""
    cloud = shared_cloud
    names = [f"page-{index:02}" for index in range(25)]
    for name in names:
        cloud.make_model(name)
    pages = cloud.sagemaker.get_paginator("list_models").paginate(
        NameContains="page-", SortBy="Name", SortOrder="Ascending", MaxResults=7
    )
    sizes = [[each["ModelName"] for each in page["Models"]] for page in pages]
    assert [len(page) for page in sizes] == [7, 7, 7, 4]
    assert [name for page in sizes for name in page] == names


@pytest.mark.parametrize(
    ("operation", "params", "code", "words"),
    [
        ("describe_endpoint", {"EndpointName": "none"}, "ValidationException", 'Could not find endpoint "arn:aws:'),
        ("delete_model", {"ModelName": "none"}, "ValidationException", 'Could not find model "arn:aws:'),
        (
            "describe_endpoint_config",
            {"EndpointConfigName": "none"},
            "ValidationException",
            'Could not find endpoint configuration "arn:aws:',
        ),
        (
            "describe_inference_component",
            {"InferenceComponentName": "none"},
            "ValidationException",
            'Could not find inference component "arn:aws:',
        ),
        ("describe_model", {"ModelName": "bad_name!"}, "ValidationException", "1 validation error detected: Value"),
        ("list_training_jobs", {}, "LocalCloudNotImplemented", "does not implement sagemaker:ListTrainingJobs"),
    ],
)
def test_refusals_reach_boto3_with_code_and_text(
    shared_cloud: RunningCloud, operation: str, params: dict[str, str], code: str, words: str
) -> None:
    """Ledger: sm.*.not-found, protocol.validation, local.not-implemented."""
    with pytest.raises(ClientError) as refused:
        getattr(shared_cloud.sagemaker, operation)(**params)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["Error"]["Message"].startswith(words) or words in str(refused.value)


def test_another_region_is_refused_and_named(shared_cloud: RunningCloud) -> None:
    """No empty list from a region that was meant by mistake. Ledger: local.wrong-region."""
    with pytest.raises(ClientError, match="is in eu-central-1; the request is signed for us-west-2") as refused:
        shared_cloud.client("sagemaker", "us-west-2").list_endpoints()
    assert refused.value.response["Error"]["Code"] == "LocalCloudWrongRegion"


def test_a_foreign_client_needs_nothing_but_the_environment(
    shared_cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ENDPOINT_URL and the announced keys are enough for an unchanged boto3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT_ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT_SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert "Endpoints" in boto3.session.Session().client("sagemaker").list_endpoints()
