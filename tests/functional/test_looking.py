"""status, describe, logs and list: what they say of endpoints that are not as ours usually are."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, Terminal

TWIN = str(ROOT / "configs" / "twin.yaml")
IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"

pytestmark = [pytest.mark.xdist_group("local-cloud"), pytest.mark.row("T13")]


@pytest.fixture
def sagemaker(pointed_at_it: dict[str, str]) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
    """A foreign client."""
    return boto3.client(
        "sagemaker",
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        region_name=pointed_at_it["AWS_REGION"],
        aws_access_key_id=pointed_at_it["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def odd_endpoint(sagemaker: Any, pointed_at_it: dict[str, str]) -> Iterator[str]:  # noqa: ANN401 - as above
    """One on a type that the catalogue does not have."""
    container = {"Image": IMAGE, "Environment": {"HF_MODEL_ID": "x/y"}}
    role = pointed_at_it["AWS_ARN_ROLE"]
    sagemaker.create_model(ModelName="odd", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "odd", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="odd", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="odd", EndpointConfigName="odd")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="odd", WaiterConfig={"Delay": 1})
    yield "odd"
    sagemaker.delete_endpoint(EndpointName="odd")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="odd", WaiterConfig={"Delay": 1})
    sagemaker.delete_endpoint_config(EndpointConfigName="odd")
    sagemaker.delete_model(ModelName="odd")


def test_a_type_without_a_known_price_is_no_error(local_cloud: Terminal, odd_endpoint: str) -> None:
    """State and machines are told; of the price that it is unknown."""
    said = local_cloud.run("status", odd_endpoint).out
    assert "1 of 1 ml.m5.large" in said
    assert "price unknown" in said
    assert local_cloud.run("status", odd_endpoint, "--json").json["usd_per_hour"] is None


@pytest.fixture
def twin(local_cloud: Terminal) -> Iterator[str]:
    """A deployment that has logged."""
    local_cloud.run("deploy-endpoint", TWIN, "--yes")
    yield "twin"
    local_cloud.run("delete-endpoint", "twin", "--yes")


def test_describe_takes_json_as_every_reader_does(local_cloud: Terminal, twin: str) -> None:
    """With and without it, JSON of the same objects."""
    named = [
        [(item["kind"].rpartition("::")[2], item["name"]) for item in local_cloud.run("describe", twin, *json_).json]
        for json_ in ((), ("--json",))
    ]
    assert named[0] == named[1]
    assert {kind for kind, _ in named[0]} >= {"Model", "EndpointConfig", "Endpoint", "InferenceComponent"}


def test_logs_since_and_follow(local_cloud: Terminal, twin: str) -> None:
    """No recent line is an answer, no log is an error; followed as JSON, each log line is one line of output."""
    none = local_cloud.run("logs", twin, "--since", "0.001")
    assert none.out == ""
    assert "No log lines" in none.err
    assert local_cloud.run("logs", twin, "--since", "0.001", "--json").json == []
    assert "no log lines of 'nobody'" in local_cloud.run("logs", "nobody", "--since", "9999", code=6).err

    whole = local_cloud.run("logs", twin, "--json", "--tail", "3").json
    process = local_cloud.start("logs", twin, "--json", "--follow", "--tail", "3")
    assert process.stdout is not None
    followed = [json.loads(process.stdout.readline()) for _ in whole]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert followed == whole


@pytest.mark.row("T12")
def test_what_is_left_without_an_endpoint_is_listed_on_request(
    local_cloud: Terminal,
    sagemaker: Any,  # noqa: ANN401 - as above
    twin_without_endpoint: Callable[[], None],
) -> None:
    """`list` is of endpoints; --all also finds half a deployment, and delete-endpoint removes it."""
    twin_without_endpoint()
    assert local_cloud.run("list", "--json").json == []
    (left,) = local_cloud.run("list", "--all", "--json").json
    assert (left["name"], left["status"]) == ("twin", "NoEndpoint")
    assert left["models"] == [item["ModelName"] for item in sagemaker.list_models()["Models"]]
    assert left["models"][0] in local_cloud.run("list", "--all").out
    local_cloud.run("delete-endpoint", "twin", "--yes")
    assert local_cloud.run("list", "--all", "--json").json == []


@pytest.fixture
def twin_without_endpoint(local_cloud: Terminal, sagemaker: Any) -> Callable[[], None]:  # noqa: ANN401 - as above
    """Deploy, then take the endpoint away as another program would."""

    def make() -> None:
        local_cloud.run("deploy-endpoint", TWIN, "--endpoint-type", "model", "--yes")
        sagemaker.delete_endpoint(EndpointName="twin")
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="twin", WaiterConfig={"Delay": 1})

    return make
