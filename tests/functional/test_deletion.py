"""Deletion on the local cloud from states that a real one gets into; then boto3's own lists are empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
DEPLOY = ("deploy-endpoint", TWIN, "--yes")
DELETE = ("delete-endpoint", "twin", "--yes")
BROKEN = ("--set", "environment.MAX_CONCURRENT_REQUESTS=many")

pytestmark = [pytest.mark.xdist_group("local-cloud"), pytest.mark.row("T12")]


class Cloud:
    """What a foreign client sees of our objects and can do to them."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self.sagemaker, self.logs = self.client("sagemaker"), self.client("logs")

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """A client that knows nothing of llmdeploy."""
        return boto3.client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )

    @property
    def left(self) -> dict[str, int]:
        """How many of each kind of what bills or could."""
        return {kind: len(items) for kind, items in everything(self.variables).items() if items}

    def arn(self, kind: str, name: str) -> str:
        """An object's ARN."""
        return f"arn:aws:sagemaker:{self.variables['AWS_REGION']}:000000000000:{kind}/{name}"

    def lose_tags(self, kind: str, name: str) -> None:
        """Take the ownership tag away."""
        self.sagemaker.delete_tags(ResourceArn=self.arn(kind, name), TagKeys=["llmdeploy:deployment"])

    def log_groups(self) -> list[str]:
        """Names of all log groups."""
        return [group["logGroupName"] for group in self.logs.describe_log_groups()["logGroups"]]


@pytest.fixture
def cloud(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> Iterator[Cloud]:
    """A cloud that is empty before and after."""
    found = Cloud(pointed_at_it)
    assert found.left == {}
    yield found
    local_cloud.run(*DELETE, code=None)
    assert found.left == {}


def proved(receipt: dict[str, Any], cloud: Cloud) -> None:
    """A receipt says that nothing is left, and boto3 says the same."""
    assert receipt["left"] == []
    assert receipt["usd_per_hour"] == 0
    assert cloud.left == {}


def test_while_creating_and_then_again(local_cloud: Terminal, cloud: Cloud) -> None:
    """AWS refuses to delete an endpoint that it makes, so that is waited for; a second deletion does nothing."""
    local_cloud.run(*DEPLOY, "--no-wait")
    done = local_cloud.run(*DELETE, "--json")
    assert [item["kind"] for item in done.json["done"]] == ["Endpoint", "EndpointConfig", "Model"]
    proved(done.json, cloud)
    again = local_cloud.run(*DELETE, "--json")
    assert again.json["done"] == []
    assert "still billing: $0.00/h" in again.err


def test_while_updating(local_cloud: Terminal, cloud: Cloud) -> None:
    """An endpoint that scales and a component that scales refuse as well."""
    local_cloud.run(*DEPLOY, "--endpoint-type", "model")
    wish = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    cloud.sagemaker.update_endpoint_weights_and_capacities(EndpointName="twin", DesiredWeightsAndCapacities=wish)
    proved(local_cloud.run(*DELETE, "--json").json, cloud)

    local_cloud.run(*DEPLOY)
    cloud.sagemaker.update_inference_component_runtime_config(
        InferenceComponentName="twin", DesiredRuntimeConfig={"CopyCount": 0}
    )
    proved(local_cloud.run(*DELETE, "--json").json, cloud)


@pytest.mark.row("T13")
def test_a_wait_says_what_it_costs_and_one_that_is_too_short_what_still_bills(
    local_cloud: Terminal, cloud: Cloud
) -> None:
    """A container that never gets up keeps the endpoint Creating, and billing; the next run waits it out."""
    local_cloud.run(*DEPLOY, "--endpoint-type", "model", "--no-wait", *BROKEN)
    short = local_cloud.run(*DELETE, "--timeout", "1", "--json", code=10)
    assert "Still billing: $1.51/h" in short.err
    assert "the same command goes on from here" in short.err
    endpoint = next(item for item in short.json["left"] if item["kind"] == "Endpoint")
    assert (endpoint["status"], round(endpoint["usd_per_hour"], 2)) == ("Creating", 1.51)
    assert cloud.left == {"models": 1, "configs": 1, "endpoints": 1}
    whole = local_cloud.run(*DELETE, "--json")
    assert "$1.51/h meanwhile" in whole.err
    proved(whole.json, cloud)


def test_a_failed_endpoint_goes(local_cloud: Terminal, cloud: Cloud) -> None:
    """Deletion is all that AWS allows of it."""
    local_cloud.run(*DEPLOY, "--endpoint-type", "model", *BROKEN, code=9)
    proved(local_cloud.run(*DELETE, "--json").json, cloud)


def test_components_that_outlive_their_endpoint_go(local_cloud: Terminal, cloud: Cloud) -> None:
    """AWS deletes neither components nor scalable targets with an endpoint; an adapter goes before its base."""
    local_cloud.run(*DEPLOY)
    cloud.sagemaker.create_inference_component(
        InferenceComponentName="a-twin-adapter",
        EndpointName="twin",
        Specification={"BaseInferenceComponentName": "twin", "Container": {"ArtifactUrl": "s3://bucket/a.tar.gz"}},
        Tags=[{"Key": "llmdeploy:deployment", "Value": "twin"}],
    )
    cloud.sagemaker.delete_endpoint(EndpointName="twin")
    cloud.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="twin", WaiterConfig={"Delay": 1})
    orphans = [item["name"] for item in local_cloud.run("list", "--json").json if item["orphan"]]
    assert sorted(orphans) == ["a-twin-adapter", "twin"]
    done = local_cloud.run(*DELETE, "--json").json
    names = [(item["kind"], item["name"]) for item in done["done"]]
    assert names.index(("InferenceComponent", "a-twin-adapter")) < names.index(("InferenceComponent", "twin"))
    assert {kind for kind, _ in names} >= {"ScalingPolicy", "ScalableTarget", "EndpointConfig", "Model"}
    proved(done, cloud)


def test_a_scalable_target_on_nothing_goes_whatever_its_name(local_cloud: Terminal, cloud: Cloud) -> None:
    """Its component had a name of its own and is gone; only the target's tag still says whose it is."""
    local_cloud.run(*DEPLOY, "--set", "inference_component_name=other")
    sagemaker = cloud.sagemaker
    sagemaker.delete_inference_component(InferenceComponentName="other")
    sagemaker.delete_endpoint(EndpointName="twin")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="twin", WaiterConfig={"Delay": 1})
    for config in sagemaker.list_endpoint_configs()["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for model in sagemaker.list_models()["Models"]:
        sagemaker.delete_model(ModelName=model["ModelName"])
    left = local_cloud.run("list", "--all", "--json").json
    assert [item["scalable_targets"] for item in left if item["status"] == "NoEndpoint"] == [
        ["inference-component/other"]
    ]
    proved(local_cloud.run(*DELETE, "--json").json, cloud)


def test_what_lost_its_tag_is_named_and_left_until_it_is_adopted(local_cloud: Terminal, cloud: Cloud) -> None:
    """An endpoint stops the deletion, since it bills; a model is left alone and named, also by the next run."""
    local_cloud.run(*DEPLOY, "--endpoint-type", "model")
    model = cloud.sagemaker.list_models()["Models"][0]["ModelName"]
    cloud.lose_tags("endpoint", "twin")
    cloud.lose_tags("model", model)
    refused = local_cloud.run(*DELETE, code=7)
    assert "gc --adopt twin" in refused.err
    assert cloud.left["endpoints"] == 1
    assert local_cloud.run("gc", "--adopt", "twin", "--yes", "--json").json["deployment"] == "twin"
    done = local_cloud.run(*DELETE, "--json")
    assert f"not ours, left alone: Model {model}" in done.err
    assert [item["name"] for item in done.json["not_ours"]] == [model]
    assert cloud.left == {"models": 1}
    assert model in local_cloud.run(*DELETE).err, "its name alone still says so"
    local_cloud.run("gc", "--adopt", model, "--yes")
    local_cloud.run("gc", "--older-than", "0s", "--yes")
    assert cloud.left == {}


def test_log_groups_stay_unless_asked_for(local_cloud: Terminal, cloud: Cloud) -> None:
    """They outlive what wrote them, for whoever wants to know why it failed."""
    group = "/aws/sagemaker/InferenceComponents/twin"
    local_cloud.run(*DEPLOY)
    local_cloud.run(*DELETE)
    assert group in cloud.log_groups()
    done = local_cloud.run(*DELETE, "--logs", "--json").json
    assert ("LogGroup", group) in [(item["kind"], item["name"]) for item in done["done"]]
    assert not {name for name in cloud.log_groups() if name.rpartition("/")[2] == "twin"}


@pytest.mark.row("T3")
def test_a_dry_run_deletes_nothing(local_cloud: Terminal, cloud: Cloud) -> None:
    """The plan names every object that would go."""
    local_cloud.run(*DEPLOY, "--no-wait")
    before = json.dumps(cloud.left)
    changes = local_cloud.run(*DELETE, "--dry-run", "--json").json["changes"]
    assert {change["action"] for change in changes} == {"delete"}
    assert json.dumps(cloud.left) == before
