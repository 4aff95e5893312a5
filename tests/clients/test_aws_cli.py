"""The AWS CLI, version 1, from a shell's point of view. It has no command for response streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments
from tests.clients.conftest import TWIN, Foreign, Runner
from tests.conftest import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("client-aws-cli")]

IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"
INPUT = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 8, "temperature": 0.01}}


@pytest.fixture
def aws(foreign: Runner) -> Foreign:
    """The CLI; JSON on standard output, no pager."""
    return foreign(environments.python("awscli"), "-m", "awscli", "--output", "json")


def answer(aws: Foreign, *arguments: str) -> Any:  # noqa: ANN401 - whatever the cloud answered
    return json.loads(aws.run(*arguments).out)


def test_it_deploys_asks_and_deletes(aws: Foreign, pointed_at_it: dict[str, str]) -> None:
    """Create, wait, describe, list, tag, invoke, delete: as its manual says, with real tokens."""
    role = pointed_at_it["AWS_ARN_ROLE"]
    container = {"Image": IMAGE, "Environment": {"HF_MODEL_ID": "x/y"}}
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    made = answer(
        aws, *("sagemaker", "create-model", "--model-name", "m", "--execution-role-arn", role),
        *("--primary-container", json.dumps(container), "--tags", "Key=team,Value=judges"),
    )  # fmt: skip
    assert made["ModelArn"].endswith(":model/m")
    config = ("sagemaker", "create-endpoint-config", "--endpoint-config-name", "c")
    answer(aws, *config, "--production-variants", json.dumps([variant]))
    answer(aws, "sagemaker", "create-endpoint", "--endpoint-name", "e", "--endpoint-config-name", "c")
    aws.run("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", "e")
    assert answer(aws, "sagemaker", "describe-endpoint", "--endpoint-name", "e")["EndpointStatus"] == "InService"
    assert [each["EndpointName"] for each in answer(aws, "sagemaker", "list-endpoints")["Endpoints"]] == ["e"]
    tags = answer(aws, "sagemaker", "list-tags", "--resource-arn", made["ModelArn"])["Tags"]
    assert {"Key": "team", "Value": "judges"} in tags
    assert invoked(aws, "--endpoint-name", "e").startswith(" Paris")

    aws.run("sagemaker", "delete-endpoint", "--endpoint-name", "e")
    aws.run("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", "e")
    aws.run("sagemaker", "delete-endpoint-config", "--endpoint-config-name", "c")
    aws.run("sagemaker", "delete-model", "--model-name", "m")


def test_it_sees_what_llmdeploy_deployed(aws: Foreign, twin: str, endpoint_type: str) -> None:
    """Endpoint, component, target, policy, alarms and logs are all there for a foreign eye, and the model answers."""
    component = ("--inference-component-name", twin) if twin else ()
    text = invoked(aws, "--endpoint-name", "twin", *component)
    assert text.startswith(" Paris")
    described = answer(aws, "sagemaker", "describe-endpoint", "--endpoint-name", "twin")
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    scaling = ("application-autoscaling", "describe-scaling-policies", "--service-namespace", "sagemaker")
    (policy,) = answer(aws, *scaling)["ScalingPolicies"]
    assert policy["PolicyType"] == "TargetTrackingScaling"
    alarms = answer(aws, "cloudwatch", "describe-alarms")["MetricAlarms"]
    assert {each["AlarmARN"] for each in policy["Alarms"]} == {each["AlarmArn"] for each in alarms}
    group = "/aws/sagemaker/InferenceComponents/twin" if twin else "/aws/sagemaker/Endpoints/twin"
    events = answer(aws, "logs", "filter-log-events", "--log-group-name", group, "--limit", "50")["events"]
    assert events, f"{endpoint_type}: no log"
    assert all(event["message"] for event in events)


def test_it_deploys_a_template(aws: Foreign, local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """`aws cloudformation deploy` of what `llmdeploy template` printed: made, unchanged, changed, deleted."""
    template = aws.folder / "twin.yaml"
    deploy = ("cloudformation", "deploy", "--template-file", str(template), "--stack-name", "theirs")
    role = ("--parameter-overrides", f"ExecutionRoleArn={pointed_at_it['AWS_ARN_ROLE']}")
    local_cloud.run("template", TWIN, "-o", str(template))
    assert "Successfully created/updated stack - theirs" in aws.run(*deploy, *role).out
    (stack,) = answer(aws, "cloudformation", "describe-stacks", "--stack-name", "theirs")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    assert (stack["StackStatus"], outputs["EndpointName"]) == ("CREATE_COMPLETE", "twin")
    component = ("--inference-component-name", outputs["InferenceComponentName"])
    assert invoked(aws, "--endpoint-name", "twin", *component).startswith(" Paris")
    assert "No changes to deploy" in aws.run(*deploy, *role, "--no-fail-on-empty-changeset").out
    local_cloud.run("template", TWIN, "--set", "limits.max_input_tokens=1024", "-o", str(template))
    aws.run(*deploy, *role)
    aws.run("cloudformation", "delete-stack", "--stack-name", "theirs")
    aws.run("cloudformation", "wait", "stack-delete-complete", "--stack-name", "theirs")


def invoked(aws: Foreign, *target: str) -> str:
    """The text generated by a TGI or LMI endpoint, whose answer the CLI writes to a file."""
    body = aws.folder / "answer.json"
    options = ("--content-type", "application/json", "--body", json.dumps(INPUT))
    aws.run("sagemaker-runtime", "invoke-endpoint", *target, *options, str(body))
    document = json.loads(body.read_text())
    return str((document[0] if isinstance(document, list) else document)["generated_text"])


def test_errors_are_the_clouds_own_words(aws: Foreign) -> None:
    """Exit code 255 (the service refused) and AWS's text, in both planes."""
    absent = aws.run("sagemaker", "describe-endpoint", "--endpoint-name", "none", code=255).err
    assert "(ValidationException)" in absent
    assert 'Could not find endpoint "arn:aws:sagemaker:' in absent
    invoke = ("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "none", "--body", "{}")
    assert "(ValidationError)" in aws.run(*invoke, str(aws.folder / "out"), code=255).err
    loud = aws.run("sagemaker", "list-training-jobs", code=None)
    assert loud.code != 0
    assert "LocalCloudNotImplemented" in loud.err


def test_the_services_behind(aws: Foreign, tmp_path: Path) -> None:
    """Who am I, which roles, copy a file to S3 and back, and a quota by its name."""
    assert answer(aws, "sts", "get-caller-identity")["Account"] == "000000000000"
    assert "llmdeploy-local-execution" in {each["RoleName"] for each in answer(aws, "iam", "list-roles")["Roles"]}
    (tmp_path / "there").write_bytes(bytes(range(256)) * 1024)
    aws.run("s3", "mb", "s3://judges")
    aws.run("s3", "cp", "there", "s3://judges/a/b")
    aws.run("s3", "cp", "s3://judges/a/b", "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    aws.run("s3", "rb", "s3://judges", "--force")
    listed = answer(aws, "service-quotas", "list-service-quotas", "--service-code", "sagemaker")["Quotas"]
    assert "ml.g5.2xlarge for endpoint usage" in {each["QuotaName"] for each in listed}
