"""Deploying through CloudFormation as a person does it: change sets as plans, failures, interruptions, both ways."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
DEPLOY = ("deploy-endpoint", TWIN, "--via", "cloudformation", "--yes")
DELETE = ("delete-endpoint", "twin", "--yes")
STACK = "llmdeploy-twin"
TOO_MANY = ("--endpoint-type", "model", "--set", "autoscaling=null", "--set", "instance.initial_count=21")
"""One machine more than the local cloud's quota of each type."""

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture(autouse=True)
def nothing_left(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> Iterator[None]:
    """Each test ends in an empty cloud: no object and no stack."""
    yield
    local_cloud.run(*DELETE)
    assert not any(everything(pointed_at_it).values())
    assert stacks(pointed_at_it) == {}


def client(variables: dict[str, str], service: str) -> Any:  # noqa: ANN401 - boto3 ships no types
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def stacks(variables: dict[str, str]) -> dict[str, str]:
    """The status of each stack that there is."""
    found = client(variables, "cloudformation").describe_stacks()["Stacks"]
    return {each["StackName"]: each["StackStatus"] for each in found}


def actions(document: dict[str, Any]) -> dict[str, str]:
    """What a plan does to each kind."""
    return {each["kind"].rpartition(":")[2]: each["action"] for each in document["changes"]}


@pytest.mark.parametrize("endpoint_type", ["inference-component", "model"])
def test_the_whole_life_through_a_stack(
    local_cloud: Terminal, pointed_at_it: dict[str, str], endpoint_type: str
) -> None:
    """Look, deploy, deploy again, look at a change, change, delete; the change set is the plan each time."""
    deploy = (*DEPLOY, "--endpoint-type", endpoint_type, "--json")
    looked = local_cloud.run(*deploy, "--dry-run")
    assert set(actions(looked.json).values()) == {"create"}
    assert stacks(pointed_at_it) == {}

    receipt = local_cloud.run(*deploy).json
    assert receipt["smoke"]["text"].startswith(" Paris")
    assert {each["action"] for each in receipt["done"]} == {"+"}
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}
    assert local_cloud.run("status", "twin", "--json").json["stack"] == STACK
    assert [each["stack"] for each in local_cloud.run("list", "--json").json] == [STACK]
    headers, row = local_cloud.run("list").out.splitlines()
    assert (headers.split()[-1], row.split()[-1]) == ("STACK", STACK)

    again = local_cloud.run(*deploy)
    assert again.json["done"] == []
    assert "Nothing to change." in again.err

    change = (*deploy, "--set", "limits.max_input_tokens=1024")
    looked = local_cloud.run(*change, "--dry-run")
    planned = actions(looked.json)
    moved = "InferenceComponent" if endpoint_type == "inference-component" else "Endpoint"
    assert (planned["Model"], planned[moved], planned["ScalableTarget"]) == ("replace", "update", "keep")
    assert "PrimaryContainer.Environment.MAX_INPUT_LENGTH: '2048' -> '1024'" in looked.err
    before = everything(pointed_at_it)["models"]
    changed = local_cloud.run(*change).json
    assert ("~", moved) in {(each["action"], each["kind"]) for each in changed["done"]}
    (after,) = everything(pointed_at_it)["models"]
    assert after["ModelName"] not in {each["ModelName"] for each in before}

    gone = local_cloud.run(*DELETE, "--json").json
    assert {"Stack", "Endpoint", "Model"} <= {each["kind"] for each in gone["done"]}
    assert gone["usd_per_hour"] == 0


def test_nobody_to_ask_leaves_nothing_behind(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """The change set that the plan was read from goes, and with it the stack that only it was for."""
    local_cloud.run("deploy-endpoint", TWIN, "--via", "cloudformation", code=3)
    assert stacks(pointed_at_it) == {}


def test_a_failure_has_its_reason_and_the_next_run_starts_over(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """The quota's own words, cause, hint and exit code; ROLLBACK_COMPLETE is no dead end."""
    failed = local_cloud.run(*DEPLOY, *TOO_MANY, code=8)
    assert "The account-level service limit 'ml.g5.2xlarge for endpoint usage' is 20 Instances" in failed.err
    assert "cause:" in failed.err
    assert stacks(pointed_at_it) == {STACK: "ROLLBACK_COMPLETE"}
    assert not any(everything(pointed_at_it).values())
    looked = local_cloud.run(*DEPLOY, "--dry-run")
    assert f"- Stack               {STACK}  (ROLLBACK_COMPLETE, can only be deleted; made again after)" in looked.err
    assert stacks(pointed_at_it) == {STACK: "ROLLBACK_COMPLETE"}
    local_cloud.run(*DEPLOY)
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}


def test_a_failed_update_goes_back_and_the_next_one_works(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """Missing weights fail the update; the endpoint serves on, and a good change goes through afterwards."""
    model = ("--endpoint-type", "model")
    local_cloud.run(*DEPLOY, *model)
    failed = local_cloud.run(*DEPLOY, *model, "--set", "model=s3://no-such-bucket/weights/", code=6)
    assert "Could not find model data at s3://no-such-bucket/weights/" in failed.err
    assert "serves on" in failed.err
    assert stacks(pointed_at_it) == {STACK: "UPDATE_ROLLBACK_COMPLETE"}
    assert "Paris" in local_cloud.run("invoke", "twin", "The capital of France is", "--max-new-tokens", "8").out
    local_cloud.run(*DEPLOY, *model, "--set", "limits.max_input_tokens=1024")
    assert stacks(pointed_at_it) == {STACK: "UPDATE_COMPLETE"}


def test_a_change_under_alarms_goes_through_or_is_said_to_have_gone_back(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """The stack makes, changes and removes the alarm; an update that it undoes is an error, each time."""
    deploy = (*DEPLOY, "--set", "update.alarms.errors_above=3")
    shorter = ("--set", "limits.max_input_tokens=1024")
    cloudwatch = client(pointed_at_it, "cloudwatch")

    def alarm() -> dict[str, Any]:
        (found,) = cloudwatch.describe_alarms(AlarmNames=["twin-rollback-errors"])["MetricAlarms"]
        return dict(found)

    local_cloud.run(*deploy)
    assert alarm()["Threshold"] == 3
    changed = local_cloud.run(*DEPLOY, "--set", "update.alarms.errors_above=5", *shorter, "--json").json
    assert {("~", "InferenceComponent"), ("~", "Alarm")} <= {(each["action"], each["kind"]) for each in changed["done"]}
    assert alarm()["Threshold"] == 5

    cloudwatch.set_alarm_state(AlarmName="twin-rollback-errors", StateValue="ALARM", StateReason="seven errors")
    for _ in range(2):
        failed = local_cloud.run(*deploy, code=9)
        assert f"stack '{STACK}' is complete, but InferenceComponent 'twin' is InService" in failed.err
        assert "alarm(s) in state ALARM: twin-rollback-errors" in failed.err
    cloudwatch.set_alarm_state(AlarmName="twin-rollback-errors", StateValue="OK", StateReason="no error")
    local_cloud.run(*deploy, *shorter)
    local_cloud.run(*deploy)
    assert "Alarm" in {each["kind"] for each in local_cloud.run(*DELETE, "--json").json["done"]}


def killed_at(terminal: Terminal, words: str, *arguments: str) -> None:
    """Start a command and SIGKILL it as soon as it has said something."""
    process: subprocess.Popen[str] = terminal.start(*arguments)
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            break
    else:
        pytest.fail(f"it ended before {words!r}")
    process.kill()
    process.communicate()


@pytest.mark.parametrize("words", ["Plan: ", "creating Endpoint", "creating InferenceComponent"])
def test_a_killed_deploy_is_gone_on_with(local_cloud: Terminal, pointed_at_it: dict[str, str], words: str) -> None:
    """Whether the change set, the endpoint or the component was under way: the same command ends it, once."""
    killed_at(local_cloud, words, *DEPLOY)
    assert local_cloud.run(*DEPLOY, "--json").json["smoke"]["text"].startswith(" Paris")
    counts = {kind: len(found) for kind, found in everything(pointed_at_it).items()}
    assert counts == {"models": 1, "configs": 1, "endpoints": 1, "components": 1, "targets": 1, "alarms": 2}
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}
    assert "Nothing to change." in local_cloud.run(*DEPLOY).err


@pytest.mark.parametrize("words", ["creating Endpoint", "creating InferenceComponent"])
def test_a_deploy_that_was_killed_can_be_deleted(
    local_cloud: Terminal, pointed_at_it: dict[str, str], words: str
) -> None:
    """A stack is deleted also while CloudFormation is still making it."""
    killed_at(local_cloud, words, *DEPLOY)
    local_cloud.run(*DELETE)
    assert not any(everything(pointed_at_it).values())
    assert stacks(pointed_at_it) == {}


def test_a_killed_deletion_is_gone_on_with(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """A stack that is being deleted is followed to its end."""
    local_cloud.run(*DEPLOY)
    killed_at(local_cloud, "deleting", *DELETE)
    local_cloud.run(*DELETE)
    assert stacks(pointed_at_it) == {}


def test_a_deletion_under_way_is_waited_for_by_a_deploy(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """DELETE_IN_PROGRESS is followed, then the stack is made anew."""
    local_cloud.run(*DEPLOY)
    killed_at(local_cloud, "deleting", *DELETE)
    local_cloud.run(*DEPLOY)
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}


def test_without_waiting_the_stack_goes_on_by_itself(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """--no-wait returns when the change set is executed; the same command without it sees it to its end."""
    started = local_cloud.run(*DEPLOY, "--no-wait", "--json")
    assert started.json["smoke"] is None
    assert set(stacks(pointed_at_it)) == {STACK}
    assert local_cloud.run(*DEPLOY, "--json").json["smoke"]["text"].startswith(" Paris")


def test_each_way_refuses_what_the_other_holds(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """Neither changes the other's objects beside it, and both say how to go on."""
    local_cloud.run(*DEPLOY)
    before = everything(pointed_at_it)["models"]
    refused = local_cloud.run("deploy-endpoint", TWIN, "--yes", "--set", "limits.max_input_tokens=1024", code=7)
    assert f"stack '{STACK}' holds objects of 'twin'" in refused.err
    assert "--via cloudformation" in refused.err
    assert everything(pointed_at_it)["models"] == before
    local_cloud.run(*DELETE)
    local_cloud.run("deploy-endpoint", TWIN, "--yes")
    refused = local_cloud.run(*DEPLOY, code=7)
    assert "was deployed without CloudFormation" in refused.err
    assert "--import-existing" in refused.err
    assert stacks(pointed_at_it) == {}


def test_a_stack_takes_a_deployment_in_as_it_is(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """The documented way from one to the other: nothing is made anew, and the kept generation goes."""
    local_cloud.run("deploy-endpoint", TWIN, "--yes", "--set", "limits.max_input_tokens=512")
    local_cloud.run("deploy-endpoint", TWIN, "--yes")
    before = everything(pointed_at_it)
    assert len(before["models"]) == 2
    import_it = (*DEPLOY, "--import-existing")
    refused = local_cloud.run(*import_it, "--set", "limits.max_input_tokens=1024", code=7)
    assert "is not as wanted, so a stack cannot take it in" in refused.err
    looked = local_cloud.run(*import_it, "--dry-run", "--json").json
    assert set(actions({"changes": looked["changes"][1:-1]}).values()) == {"keep"}
    assert stacks(pointed_at_it) == {}

    local_cloud.run(*import_it)
    after = everything(pointed_at_it)
    assert after["endpoints"][0]["CreationTime"] == before["endpoints"][0]["CreationTime"]
    assert len(after["models"]) == 1
    described = client(pointed_at_it, "cloudformation").get_template(StackName=STACK)["TemplateBody"]
    template = described if isinstance(described, dict) else json.loads(described)
    assert not any("DeletionPolicy" in each for each in template["Resources"].values())
    assert "Nothing to change." in local_cloud.run(*DEPLOY).err
    changed = local_cloud.run(*DEPLOY, "--set", "limits.max_input_tokens=1024", "--json").json
    assert ("~", "InferenceComponent") in {(each["action"], each["kind"]) for each in changed["done"]}


@pytest.mark.parametrize("then", [DEPLOY, DELETE])
def test_a_killed_import_is_gone_on_with_either_way(local_cloud: Terminal, then: tuple[str, ...]) -> None:
    """Between the import and the update after it the stack has no tags and would keep its objects; both ways end."""
    local_cloud.run("deploy-endpoint", TWIN, "--yes")
    killed_at(local_cloud, "in place  ScalingPolicy", *DEPLOY, "--import-existing")
    local_cloud.run(*then)
    if then is DEPLOY:
        assert "Nothing to change." in local_cloud.run(*DEPLOY).err


def test_what_no_update_can_do_is_refused_before_it(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """Another endpoint type, another machine under autoscaling: refused with the way, instead of rolled back."""
    model = ("--endpoint-type", "model")
    machine = ("--set", "instance.type=ml.g6.2xlarge")
    local_cloud.run(*DEPLOY, *model)
    assert "AWS cannot change it" in local_cloud.run(*DEPLOY, code=7).err
    refused = local_cloud.run(*DEPLOY, *model, *machine, code=7)
    assert "--set autoscaling=null" in refused.err
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}
    local_cloud.run(*DEPLOY, *model, "--set", "autoscaling=null")
    local_cloud.run(*DEPLOY, *model, *machine)
    assert local_cloud.run("status", "twin", "--json").json["instances"][0]["type"] == "ml.g6.2xlarge"


def test_a_stack_of_another_tool_is_deleted_only_if_it_holds_nothing_else(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """The template of `llmdeploy template`, deployed by somebody: found by the model's tag, refused with more in it."""
    cloudformation = client(pointed_at_it, "cloudformation")
    rendered = local_cloud.run("template", TWIN, "--format", "json", "--account", "000000000000").out
    template = json.loads(rendered)
    role = [{"ParameterKey": "ExecutionRoleArn", "ParameterValue": pointed_at_it["AWS_ARN_ROLE"]}]
    given = {"Parameters": role} if "ExecutionRoleArn" in template.get("Parameters", {}) else {}
    template["Resources"]["Topic"] = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "other"}}
    cloudformation.create_stack(StackName="theirs", TemplateBody=json.dumps(template), **given)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="theirs", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert local_cloud.run("status", "twin", "--json").json["status"] == "InService"
    refused = local_cloud.run(*DELETE, code=7)
    assert "stack 'theirs' holds 'twin' and more: Topic Topic" in refused.err
    del template["Resources"]["Topic"]
    cloudformation.update_stack(StackName="theirs", TemplateBody=json.dumps(template), **given)
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName="theirs", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert "CloudFormation stack 'theirs' holds" in local_cloud.run("deploy-endpoint", TWIN, "--yes", code=7).err
    local_cloud.run(*DELETE)


def test_what_somebody_put_into_our_stack_keeps_it(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """A deletion of our own stack too names what is no part of a deployment, and begins only without it."""
    cloudformation = client(pointed_at_it, "cloudformation")
    local_cloud.run(*DEPLOY)
    described = cloudformation.get_template(StackName=STACK)["TemplateBody"]
    ours = described if isinstance(described, dict) else json.loads(described)
    topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "other"}}}
    for template in ({**ours, "Resources": {**ours["Resources"], **topic}}, ours):
        cloudformation.update_stack(StackName=STACK, TemplateBody=json.dumps(template))
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        if template is not ours:
            refused = local_cloud.run(*DELETE, code=7)
            assert f"stack '{STACK}' holds 'twin' and more: Topic Topic" in refused.err
            assert everything(pointed_at_it)["endpoints"]
    local_cloud.run(*DELETE)


def test_a_stack_of_our_name_that_is_not_ours_is_left_alone(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """Neither changed nor deleted: it carries no tag of the deployment."""
    cloudformation = client(pointed_at_it, "cloudformation")
    topic = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "other"}}}}
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(topic))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert "exists already and is not ours" in local_cloud.run(*DEPLOY, code=7).err
    assert "There is nothing of twin" in local_cloud.run(*DELETE).err
    assert stacks(pointed_at_it) == {STACK: "CREATE_COMPLETE"}
    cloudformation.delete_stack(StackName=STACK)


def test_import_is_for_stacks(local_cloud: Terminal) -> None:
    """The option alone would do nothing, so it is refused."""
    refused = local_cloud.run("deploy-endpoint", TWIN, "--import-existing", "--yes", code=3)
    assert "--via cloudformation" in refused.err


def test_a_template_that_is_too_long_is_refused_before_anything_is_sent(
    local_cloud: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """CloudFormation's own limit: what SageMaker would take can be longer once it is written as JSON."""
    quotes = '"' * 1000
    lines = [f"  X_{number}: '{quotes}'" for number in range(30)]
    spec = local_cloud.folder / "long.yaml"
    spec.write_text("name: twin\nmodel: owner/name\nenvironment:\n" + "\n".join(lines) + "\n")
    refused = local_cloud.run("deploy-endpoint", str(spec), "--via", "cloudformation", "--yes", code=3)
    assert "CloudFormation takes 51,200" in refused.err
    assert stacks(pointed_at_it) == {}
