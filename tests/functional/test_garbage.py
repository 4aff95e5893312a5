"""`gc` and `reap` on the local cloud: what is nobody's goes, what serves stays, what others made is left alone."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from tests.conftest import Terminal
from tests.functional.test_deletion import DELETE, DEPLOY, Cloud, cloud as cloud_fixture

cloud = cloud_fixture

pytestmark = [pytest.mark.xdist_group("local-cloud"), pytest.mark.row("T12")]

IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"
OLD = [{"Key": "llmdeploy:deployment", "Value": "old"}]


def make_model(cloud: Cloud, name: str, tags: list[dict[str, str]]) -> None:
    cloud.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=cloud.variables["AWS_ARN_ROLE"],
        PrimaryContainer={"Image": IMAGE, "Environment": {"HF_MODEL_ID": "x/y"}},
        Tags=tags,
    )


def make_config(cloud: Cloud, name: str, model: str, tags: list[dict[str, str]]) -> None:
    variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    cloud.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)


def test_what_nobody_claims_goes_and_what_serves_stays(local_cloud: Terminal, cloud: Cloud) -> None:
    """Half of a deployment that never was, and a whole one beside it; young things only when asked for."""
    local_cloud.run(*DEPLOY)
    local_cloud.run(*DEPLOY, "--set", "limits.max_input_tokens=1024")
    serving = cloud.left
    make_model(cloud, "old-12345678", OLD)
    make_config(cloud, "old-87654321", "old-12345678", OLD)

    careful = local_cloud.run("gc", "--yes", "--json")
    assert careful.json["garbage"] == []
    assert {item["name"] for item in careful.json["spared"]} == {"old-12345678", "old-87654321"}

    dry = local_cloud.run("gc", "--older-than", "0s", "--json").json
    assert {(item["kind"], item["name"]) for item in dry["garbage"]} == {
        ("Model", "old-12345678"),
        ("EndpointConfig", "old-87654321"),
    }
    assert dry["removed"] == []
    assert cloud.left != serving, "without --yes nothing is removed"
    assert local_cloud.run("gc", "--older-than", "0s", "--name", "twin", "--json").json["garbage"] == []

    done = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json").json
    assert [item["name"] for item in done["removed"]] == ["old-87654321", "old-12345678"]
    assert done["left"] == []
    assert cloud.left == serving
    assert "Paris" in local_cloud.run("invoke", "twin", "The capital of France is", "--max-new-tokens", "8").out
    assert "No garbage" in local_cloud.run("gc", "--older-than", "0s").err


def test_what_a_deleted_stack_left_goes_and_what_a_stack_holds_stays(local_cloud: Terminal, cloud: Cloud) -> None:
    """CloudFormation says which stacks stand; a tag that names one that is gone protects nothing."""
    model = {"ExecutionRoleArn": cloud.variables["AWS_ARN_ROLE"], "PrimaryContainer": {"Image": IMAGE}}
    template = {"Resources": {"Theirs": {"Type": "AWS::SageMaker::Model", "Properties": model}}}
    stacks = cloud.client("cloudformation")
    stacks.create_stack(StackName="standing", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="standing", WaiterConfig={"Delay": 1})
    for stack in ("standing", "gone"):
        make_model(cloud, f"old-{stack}", [*OLD, {"Key": "llmdeploy:stack", "Value": stack}])
    done = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json").json
    assert [item["name"] for item in done["removed"]] == ["old-gone"]
    assert [(item["name"], item["why"]) for item in done["spared"]] == [("old-standing", "of the stack standing")]
    stacks.delete_stack(StackName="standing")
    stacks.get_waiter("stack_delete_complete").wait(StackName="standing", WaiterConfig={"Delay": 1})
    done = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json").json
    assert [item["name"] for item in done["removed"]] == ["old-standing"]
    assert cloud.left == {}


def test_alarms_that_are_all_that_is_left_are_garbage(local_cloud: Terminal, cloud: Cloud) -> None:
    """Ours by their tag; an alarm that is merely named alike is not touched."""
    cloudwatch = cloud.client("cloudwatch")
    for name, tags in (("old-rollback-errors", OLD), ("theirs-rollback-errors", [])):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SageMaker",
            MetricName="Invocation5XXErrors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            Tags=tags,
        )
    try:
        done = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json").json
        assert [(item["kind"], item["name"]) for item in done["removed"]] == [("Alarm", "old-rollback-errors")]
        (standing,) = cloudwatch.describe_alarms()["MetricAlarms"]
        assert standing["AlarmName"] == "theirs-rollback-errors"
    finally:
        cloudwatch.delete_alarms(AlarmNames=["old-rollback-errors", "theirs-rollback-errors"])


def test_components_and_rules_without_an_endpoint_are_garbage(local_cloud: Terminal, cloud: Cloud) -> None:
    """An endpoint that somebody deleted by hand leaves all the rest; gc takes it in AWS's order."""
    local_cloud.run(*DEPLOY)
    cloud.sagemaker.delete_endpoint(EndpointName="twin")
    cloud.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="twin", WaiterConfig={"Delay": 1})
    done = local_cloud.run("gc", "--older-than", "0s", "--logs", "--yes", "--json").json
    kinds = list(dict.fromkeys(item["kind"] for item in done["removed"]))  # logs of earlier deployments may lie there
    assert kinds == ["ScalingPolicy", "ScalableTarget", "InferenceComponent", "EndpointConfig", "Model", "LogGroup"]
    assert cloud.left == {}


def test_what_others_left_is_listed_and_goes_only_when_it_is_adopted(local_cloud: Terminal, cloud: Cloud) -> None:
    """One object at a time, and nothing that something of theirs still uses."""
    make_model(cloud, "used", [])
    make_model(cloud, "idle", [])
    make_config(cloud, "theirs", "used", [])
    make_model(cloud, "theirs", [])
    listed = local_cloud.run("gc", "--all", "--older-than", "0s", "--yes", "--json").json
    assert {(item["kind"], item["name"]) for item in listed["others"]} == {
        ("Model", "idle"),
        ("Model", "theirs"),
        ("EndpointConfig", "theirs"),
    }
    assert listed["removed"] == []
    assert cloud.left == {"models": 3, "configs": 1}

    assert "Model/theirs" in local_cloud.run("gc", "--adopt", "theirs", code=3).err
    assert "used by EndpointConfig 'theirs'" in local_cloud.run("gc", "--adopt", "used", "--yes", code=7).err
    assert local_cloud.run("gc", "--adopt", "nobody", code=6).err
    local_cloud.run("gc", "--adopt", "idle", code=3)
    assert cloud.left == {"models": 3, "configs": 1}
    for name in ("idle", "Model/theirs", "EndpointConfig/theirs", "used"):
        local_cloud.run("gc", "--adopt", name, "--yes")
    done = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json").json
    assert {item["name"] for item in done["removed"]} == {"idle", "theirs", "used"}
    assert cloud.left == {}


def test_reap_deletes_what_outlived_its_ttl_and_nothing_else(local_cloud: Terminal, cloud: Cloud) -> None:
    """The local cloud's time stamps are real time, so a span is a real span here, whatever the speed."""
    local_cloud.run(*DEPLOY, "--no-wait", "--set", "ttl=10m")
    assert "left" in local_cloud.run("list").out
    assert "ttl" in local_cloud.run("status", "twin").out
    young = local_cloud.run("reap", "--expired", "--yes", "--json").json
    assert [(item["name"], item["delete"]) for item in young["deployments"]] == [("twin", False)]
    assert 0 < young["deployments"][0]["left_s"] <= 600
    assert young["deleted"] == []

    tags = [{"Key": "llmdeploy:ttl", "Value": "1s"}]
    cloud.sagemaker.add_tags(ResourceArn=cloud.arn("endpoint", "twin"), Tags=tags)
    time.sleep(1)
    looked = local_cloud.run("reap")
    assert "expired" in looked.out
    assert "Nothing was deleted" in looked.err
    assert cloud.left
    assert local_cloud.run("reap", "--expired", "--name", "prod-", "--yes", "--json").json["deployments"] == []
    done = local_cloud.run("reap", "--expired", "--yes", "--json").json
    assert [receipt["deployment"] for receipt in done["deleted"]] == ["twin"]
    assert (done["failed"], cloud.left) == ([], {})
    assert local_cloud.run("reap", "--expired", "--yes").out == ""


@pytest.mark.parametrize("endpoint_type", ["inference-component", "model"])
def test_a_rollback_begins_the_ttl_anew(local_cloud: Terminal, cloud: Cloud, endpoint_type: str) -> None:
    """What it leads back to was made long ago; counted from there, the deployment would be reaped at once."""
    deploy = (*DEPLOY, "--endpoint-type", endpoint_type, "--set", "ttl=10m")

    def end() -> datetime:
        return datetime.fromisoformat(local_cloud.run("status", "twin", "--json").json["expires_at"])

    local_cloud.run(*deploy)
    local_cloud.run(*deploy, "--set", "limits.max_input_tokens=1024")
    deployed = end()
    time.sleep(1)
    local_cloud.run("rollback", "twin", "--yes")
    returned = end()
    assert returned > deployed
    time.sleep(1)
    local_cloud.run(*deploy)
    assert end() == returned, "what changes nothing does not extend it"
    time.sleep(1)
    local_cloud.run(*deploy, "--set", "limits.max_input_tokens=1024")
    assert end() > returned, "an older spec again is a deployment as well"
    assert cloud.left


def test_a_ttl_that_a_spec_drops_is_dropped(local_cloud: Terminal, cloud: Cloud) -> None:
    """Else a deployment that was to stay would be reaped. It changes a tag and nothing else."""
    local_cloud.run(*DEPLOY, "--set", "ttl=10m")
    changed = local_cloud.run(*DEPLOY, "--json").json
    assert [(item["action"], item["kind"]) for item in changed["done"]] == [("~", "Endpoint")]
    assert local_cloud.run("status", "twin", "--json").json["expires_at"] is None
    old = local_cloud.run("reap", "--older-than", "0s", "--yes", "--json").json
    assert [receipt["deployment"] for receipt in old["deleted"]] == ["twin"]
    assert cloud.left == {}
    local_cloud.run(*DELETE)


def test_one_deployment_that_cannot_be_deleted_does_not_keep_the_others(local_cloud: Terminal, cloud: Cloud) -> None:
    """The exit code is the failure's, and the other one is gone."""
    local_cloud.run(*DEPLOY, "--no-wait", "--set", "name=a-twin")
    local_cloud.run(*DEPLOY, "--no-wait")
    cloud.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="a-twin", WaiterConfig={"Delay": 1})
    cloud.sagemaker.create_inference_component(
        InferenceComponentName="stranger",
        EndpointName="a-twin",
        Specification={
            "ModelName": cloud.sagemaker.list_models()["Models"][0]["ModelName"],
            "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128},
        },
        RuntimeConfig={"CopyCount": 1},
    )
    problems = local_cloud.run("gc", "--json").json["problems"]
    assert [item["deployment"] for item in problems] == ["a-twin"], "what cannot be judged is told and left alone"
    assert "No garbage in what could be judged. 1 deployment could not be judged." in local_cloud.run("gc").err
    make_model(cloud, "old-12345678", OLD)
    tidied = local_cloud.run("gc", "--older-than", "0s", "--yes", "--json", code=7)
    assert [item["name"] for item in tidied.json["removed"]] == ["old-12345678"], "it does not keep the others"
    assert [(item["deployment"], item["exit_code"]) for item in tidied.json["failed"]] == [("a-twin", 7)]
    assert "No garbage" not in tidied.err
    done = local_cloud.run("reap", "--older-than", "0s", "--yes", "--json", code=7)
    assert [item["name"] for item in done.json["failed"]] == ["a-twin"]
    assert [receipt["deployment"] for receipt in done.json["deleted"]] == ["twin"]
    assert "gc --adopt stranger" in done.err
    local_cloud.run("gc", "--adopt", "stranger", "--yes")
    local_cloud.run("delete-endpoint", "a-twin", "--yes")
