"""CloudFormation makes, changes and removes what SageMaker hosting is made of, as boto3 sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functional.local.conftest import Running

IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"
TOO_MANY = 21
"""Instances: one more than the local cloud's quota of each type."""
SETTLED = ("_COMPLETE", "_FAILED")
Document = dict[str, Any]


@pytest.fixture
def stacks(running: Running) -> Iterator[Any]:
    """A client of CloudFormation; every stack of the test is deleted at its end."""
    client = running.client("cloudformation")
    yield client
    for stack in client.describe_stacks()["Stacks"]:
        client.delete_stack(StackName=stack["StackId"])
        assert settled(client, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def settled(stacks: Any, name: str, timeout_s: float = 60.0) -> Document:  # noqa: ANN401 - boto3 ships no types
    """The stack when nothing is in progress any more."""
    deadline = time.monotonic() + timeout_s
    while True:
        stack: Document = stacks.describe_stacks(StackName=name)["Stacks"][0]
        cleaning = stack["StackStatus"].endswith("CLEANUP_IN_PROGRESS")
        if stack["StackStatus"].endswith(SETTLED) and not cleaning:
            return stack
        assert time.monotonic() < deadline, stack["StackStatus"]
        time.sleep(0.05)


def changes_of(stacks: Any, name: str, template: Document, kind: str, **more: Any) -> Document:  # noqa: ANN401 - as above
    """A change set that has been worked out."""
    asked = {"StackName": name, "ChangeSetName": f"set-{time.monotonic_ns()}", "ChangeSetType": kind, **more}
    made = stacks.create_change_set(TemplateBody=json.dumps(template), **asked)
    while True:
        found: Document = stacks.describe_change_set(ChangeSetName=made["Id"], IncludePropertyValues=True)
        if found["Status"] in {"CREATE_COMPLETE", "FAILED"}:
            return found
        time.sleep(0.02)


def execute(stacks: Any, name: str, template: Document, kind: str, **more: Any) -> Document:  # noqa: ANN401 - as above
    """The stack after a change set was executed."""
    found = changes_of(stacks, name, template, kind, **more)
    stacks.execute_change_set(ChangeSetName=found["ChangeSetId"])
    return settled(stacks, found["StackId"])


def told(stacks: Any, name: str) -> list[tuple[str, str, str]]:  # noqa: ANN401 - as above
    """The stack's events in their order: resource, status, reason."""
    events = reversed(stacks.describe_stack_events(StackName=name)["StackEvents"])
    return [
        (each["LogicalResourceId"], each["ResourceStatus"], each.get("ResourceStatusReason", "")) for each in events
    ]


def everything(running: Running, name: str = "whole", value: str = "a", **more: Any) -> Document:  # noqa: ANN401 - as above
    """A template with one resource of each type."""
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    component = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"inference-component/{name}",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    metric = {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"}
    return {
        "Parameters": {"Memory": {"Type": "Number", "Default": 1024}},
        "Resources": {
            "Model": model(role, f"{name}-{value}", value),
            "Config": config(role, f"{name}-config", **more),
            "Endpoint": endpoint(name),
            "Component": {
                "Type": "AWS::SageMaker::InferenceComponent",
                "DependsOn": "Endpoint",
                "Properties": {
                    "InferenceComponentName": name,
                    "EndpointName": name,
                    "VariantName": "main",
                    "Specification": {
                        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": {"Ref": "Memory"}},
                    },
                    "RuntimeConfig": {"CopyCount": 1},
                },
            },
            "Target": {
                "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                "DependsOn": ["Component"],
                "Properties": {**component, "MinCapacity": 1, "MaxCapacity": "2"},
            },
            "Policy": {
                "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
                "Properties": {
                    "PolicyName": name,
                    "PolicyType": "TargetTrackingScaling",
                    "ScalingTargetId": {"Ref": "Target"},
                    "TargetTrackingScalingPolicyConfiguration": {
                        "PredefinedMetricSpecification": metric,
                        "TargetValue": 5,
                    },
                },
            },
            "Alarm": alarm(f"{name}-alarm"),
        },
        "Outputs": {
            "Arn": {"Value": {"Ref": "Endpoint"}},
            "Url": {"Value": {"Fn::Sub": "https://${AWS::Region}/${Endpoint.EndpointName}/${AWS::AccountId}"}},
            "Target": {"Value": {"Ref": "Target"}},
            "Policy": {"Value": {"Fn::GetAtt": ["Policy", "Arn"]}},
        },
    }


def model(role: str, name: str, value: str = "a") -> Document:
    environment = {"HF_MODEL_ID": "owner/name", "VALUE": value}
    container = {"Image": IMAGE, "Environment": environment}
    properties = {"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": container}
    return {"Type": "AWS::SageMaker::Model", "Properties": properties}


def config(role: str, name: str, instance: str = "ml.g5.xlarge", count: int = 1) -> Document:
    variant = {"VariantName": "main", "InstanceType": instance, "InitialInstanceCount": count}
    properties = {"EndpointConfigName": name, "ExecutionRoleArn": role, "ProductionVariants": [variant]}
    return {"Type": "AWS::SageMaker::EndpointConfig", "Properties": properties}


def endpoint(name: str, *, retain: bool = True) -> Document:
    return {
        "Type": "AWS::SageMaker::Endpoint",
        "Properties": {
            "EndpointName": name,
            "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
            "RetainAllVariantProperties": retain,
            "Tags": [{"Key": "own", "Value": "yes"}],
        },
    }


def alarm(name: str, threshold: int = 1) -> Document:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": name,
            "MetricName": "m",
            "Namespace": "n",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanThreshold",
        },
    }


def resources(**found: Document) -> Document:
    """A template of these resources."""
    return {"Resources": found}


def reason_of(stacks: Any, name: str, resource: str) -> str:  # noqa: ANN401 - as above
    """Why a resource failed."""
    return next(reason for who, status, reason in told(stacks, name) if who == resource and status.endswith("_FAILED"))


def refused(call: Callable[..., object], **arguments: Any) -> tuple[str, str]:  # noqa: ANN401 - as above
    """Code and message of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_stack_makes_everything_and_removes_it(running: Running, stacks: Any) -> None:  # noqa: ANN401 - boto3 ships no types
    """Ledger cfn.types, cfn.ref-is-arn, cfn.ref-of-scaling, cfn.waits, cfn.initiated, cfn.review, cfn.change-set.

    One resource of each type through a change set; references, parameters and outputs have AWS's values; the endpoint
    is in service when the stack is complete; nothing is left after the deletion.
    """
    sagemaker, scaling = running.client("sagemaker"), running.client("application-autoscaling")
    stack = execute(stacks, "whole", everything(running), "CREATE")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    described = sagemaker.describe_endpoint(EndpointName="whole")
    assert described["EndpointStatus"] == "InService"
    dimension = "sagemaker:inference-component:DesiredCopyCount"
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert outputs == {
        "Arn": described["EndpointArn"],
        "Url": f"https://eu-central-1/whole/{described['EndpointArn'].split(':')[4]}",
        "Target": f"inference-component/whole|{dimension}|sagemaker",
        "Policy": policy["PolicyARN"],
    }
    events = told(stacks, "whole")
    assert events[0][:2] == ("whole", "REVIEW_IN_PROGRESS")
    assert ("Endpoint", "CREATE_IN_PROGRESS", "Resource creation Initiated") in events
    order = [who for who, status, _ in events if status == "CREATE_COMPLETE"]
    assert order.index("Config") < order.index("Endpoint") < order.index("Component") < order.index("Target")
    stacks.delete_stack(StackName="whole")
    assert settled(stacks, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    assert leftovers(running) == []
    assert refused(stacks.describe_stacks, StackName="whole") == (
        "ValidationError",
        "Stack with id whole does not exist",
    )


def leftovers(running: Running) -> list[str]:
    """What of SageMaker, autoscaling and alarms is there."""
    sagemaker, scaling = running.client("sagemaker"), running.client("application-autoscaling")
    return [
        *(each["ModelName"] for each in sagemaker.list_models()["Models"]),
        *(each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        *(each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]),
        *(each["InferenceComponentName"] for each in sagemaker.list_inference_components()["InferenceComponents"]),
        *(
            each["ResourceId"]
            for each in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        ),
        *(each["AlarmName"] for each in running.client("cloudwatch").describe_alarms()["MetricAlarms"]),
    ]


def test_tags_of_the_stack_are_on_what_takes_them(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.system-tags, sm.tags.reserved: AWS's own three on models only, and nobody else may set them."""
    sagemaker = running.client("sagemaker")
    execute(stacks, "tagged", everything(running, "tagged"), "CREATE", Tags=[{"Key": "team", "Value": "llm"}])
    endpoint_arn = sagemaker.describe_endpoint(EndpointName="tagged")["EndpointArn"]
    assert tags(sagemaker, endpoint_arn) == {"own": "yes", "team": "llm"}
    of_model = tags(sagemaker, sagemaker.describe_model(ModelName="tagged-a")["ModelArn"])
    assert of_model["aws:cloudformation:stack-name"] == "tagged"
    assert of_model["aws:cloudformation:logical-id"] == "Model"
    assert of_model["team"] == "llm"
    forged = [{"Key": "aws:cloudformation:stack-name", "Value": "mine"}]
    assert refused(sagemaker.add_tags, ResourceArn=endpoint_arn, Tags=forged)[0] == "ValidationException"


def tags(sagemaker: Any, arn: str) -> dict[str, str]:  # noqa: ANN401 - as above
    return {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}


def test_an_update_replaces_what_must_be_and_changes_the_rest_in_place(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.replacement, cfn.in-place, cfn.cleanup, cfn.property-values.

    A new model is made, the component moves to it in place, the alarm and the target change in place, and the old model
    goes last; the change set has told all of that.
    """
    sagemaker = running.client("sagemaker")
    execute(stacks, "moving", everything(running, "moving"), "CREATE")
    component = sagemaker.describe_inference_component(InferenceComponentName="moving")
    template = everything(running, "moving", "b")
    template["Resources"]["Target"]["Properties"]["MaxCapacity"] = "4"
    template["Resources"]["Alarm"] = alarm("moving-alarm", threshold=7)
    found = changes_of(stacks, "moving", template, "UPDATE")
    planned = {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in found["Changes"]}
    assert {name: change["Replacement"] for name, change in planned.items()} == {
        "Model": "True",
        "Component": "False",
        "Target": "False",
        "Alarm": "False",
    }
    assert json.loads(planned["Alarm"]["AfterContext"])["Properties"]["Threshold"] == 7
    (detail,) = planned["Target"]["Details"]
    assert (detail["Target"]["Path"], detail["Target"]["BeforeValue"], detail["Target"]["AfterValue"]) == (
        "/Properties/MaxCapacity",
        "2",
        "4",
    )
    stacks.execute_change_set(ChangeSetName=found["ChangeSetId"])
    assert settled(stacks, "moving")["StackStatus"] == "UPDATE_COMPLETE"
    after = sagemaker.describe_inference_component(InferenceComponentName="moving")
    assert after["Specification"]["ModelName"] == "moving-b"
    assert after["CreationTime"] == component["CreationTime"]
    assert [each["ModelName"] for each in sagemaker.list_models(NameContains="moving")["Models"]] == ["moving-b"]
    events = told(stacks, "moving")
    assert events.index(("moving", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")) < events.index(
        ("Model", "DELETE_COMPLETE", "")
    )
    same = changes_of(stacks, "moving", template, "UPDATE")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in same["StatusReason"]


def test_an_endpoint_moves_to_another_config_in_place(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.in-place, cfn.update-only-properties: UpdateEndpoint, and the same endpoint as before."""
    sagemaker = running.client("sagemaker")
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    first = resources(Config=config(role, "place-1"), Endpoint=endpoint("place"))
    execute(stacks, "place", first, "CREATE")
    before = sagemaker.describe_endpoint(EndpointName="place")
    second = resources(Config=config(role, "place-2", "ml.g5.2xlarge"), Endpoint=endpoint("place"))
    assert execute(stacks, "place", second, "UPDATE")["StackStatus"] == "UPDATE_COMPLETE"
    after = sagemaker.describe_endpoint(EndpointName="place")
    assert (after["EndpointConfigName"], after["CreationTime"]) == ("place-2", before["CreationTime"])
    names = [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    assert names == ["place-2"]


def test_a_custom_name_cannot_be_replaced(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.replacement: another document under the same name is refused, and the update rolled back."""
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    execute(stacks, "named", resources(Model=model(role, "named")), "CREATE")
    stack = execute(stacks, "named", resources(Model=model(role, "named", "b")), "UPDATE")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "custom-named resource requires replacing" in reason_of(stacks, "named", "Model")


def test_a_stack_that_fails_leaves_nothing_and_blocks_its_name(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.reason, cfn.rollback, cfn.name-taken, cfn.not-updatable, cfn.exists-for-change-set."""
    template = everything(running, "refused", count=TOO_MANY)
    stack = execute(stacks, "refused", template, "CREATE")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = reason_of(stacks, "refused", "Endpoint")
    assert reason.startswith("The account-level service limit 'ml.g5.xlarge for endpoint usage' is 20 Instances")
    assert "(Service: AmazonSageMaker; Status Code: 400; Error Code: ResourceLimitExceeded; Request ID:" in reason
    assert leftovers(running) == []
    body = json.dumps(template)
    assert refused(stacks.create_stack, StackName="refused", TemplateBody=body) == (
        "AlreadyExistsException",
        "Stack [refused] already exists",
    )
    asked = {"StackName": "refused", "ChangeSetName": "again", "TemplateBody": body}
    assert refused(stacks.create_change_set, ChangeSetType="CREATE", **asked)[1] == (
        "Stack [refused] already exists and cannot be created again with the changeSet [again]."
    )
    assert refused(stacks.create_change_set, ChangeSetType="UPDATE", **asked)[1] == (
        f"Stack:{stack['StackId']} is in ROLLBACK_COMPLETE state and can not be updated."
    )


def test_an_update_that_fails_goes_back(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.rollback: what was changed is changed back, what was made is removed, the endpoint serves on."""
    sagemaker = running.client("sagemaker")
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    good = resources(Config=config(role, "back-1"), Endpoint=endpoint("back"), Alarm=alarm("back", 1))
    execute(stacks, "back", good, "CREATE")
    moved = endpoint("back", retain=False)
    bad = resources(Config=config(role, "back-2", count=TOO_MANY), Endpoint=moved, Alarm=alarm("back", 2))
    stack = execute(stacks, "back", bad, "UPDATE")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    described = sagemaker.describe_endpoint(EndpointName="back")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "back-1")
    (found,) = running.client("cloudwatch").describe_alarms(AlarmNames=["back"])["MetricAlarms"]
    assert found["Threshold"] == 1
    names = [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    assert names == ["back-1"]


def test_what_exists_already_fails_a_stack_and_is_not_touched(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.already-exists, cfn.reason: neither a model nor a role nor an alarm is taken over."""
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    sagemaker = running.client("sagemaker")
    properties = model(role, "mine")["Properties"]
    sagemaker.create_model(**properties)
    execute(stacks, "taken", resources(Model=model(role, "mine")), "CREATE")
    assert "Cannot create already existing model" in reason_of(stacks, "taken", "Model")
    running.client("cloudwatch").put_metric_alarm(**alarm("mine")["Properties"])
    execute(stacks, "taken-alarm", resources(Alarm=alarm("mine", 9)), "CREATE")
    assert reason_of(stacks, "taken-alarm", "Alarm") == (
        "Resource of type 'AWS::CloudWatch::Alarm' with identifier 'mine' already exists."
    )
    trust = {"Version": "2012-10-17", "Statement": []}
    named = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": role.rpartition("/")[2]}}
    named["Properties"]["AssumeRolePolicyDocument"] = trust  # type: ignore[index]
    execute(stacks, "taken-role", resources(Role=named), "CREATE", Capabilities=["CAPABILITY_NAMED_IAM"])
    assert "already exists" in reason_of(stacks, "taken-role", "Role")
    for name in ("taken", "taken-alarm", "taken-role"):
        assert settled(stacks, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert sagemaker.describe_model(ModelName="mine")
    assert running.client("iam").get_role(RoleName=role.rpartition("/")[2])
    sagemaker.delete_model(ModelName="mine")
    running.client("cloudwatch").delete_alarms(AlarmNames=["mine"])


def test_named_roles_need_a_capability(stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.capabilities."""
    role = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r", "AssumeRolePolicyDocument": {}}}
    body = json.dumps(resources(Role=role))
    assert refused(stacks.create_stack, StackName="capable", TemplateBody=body) == (
        "InsufficientCapabilitiesException",
        "Requires capabilities : [CAPABILITY_NAMED_IAM]",
    )


def test_types_that_nobody_could_see_are_refused(stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.types: a table would be made in a service that the cloud does not have."""
    body = json.dumps(resources(Table={"Type": "AWS::DynamoDB::Table", "Properties": {}}))
    code, message = refused(stacks.create_stack, StackName="unseen", TemplateBody=body)
    assert code == "ValidationError"
    assert "AWS::DynamoDB::Table" in message


def test_unknown_properties_and_wrong_types_fail_a_resource(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.extraneous-key, cfn.wrong-type: the reason names the place."""
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    odd = model(role, "odd")
    odd["Properties"]["PrimaryContainer"]["Imagine"] = "x"
    execute(stacks, "odd", resources(Model=odd), "CREATE")
    assert "#/PrimaryContainer: extraneous key [Imagine] is not permitted" in reason_of(stacks, "odd", "Model")
    wrong = config(role, "wrong")
    wrong["Properties"]["ProductionVariants"][0]["InitialInstanceCount"] = "some"
    execute(stacks, "wrong", resources(Config=wrong), "CREATE")
    assert "#/ProductionVariants/0/InitialInstanceCount: expected type: Number" in reason_of(stacks, "wrong", "Config")


def test_attributes_that_a_type_lacks_fail_the_stack(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.component-has-no-name, cfn.generated-name."""
    template = everything(running, "nameless")
    del template["Resources"]["Model"]["Properties"]["ModelName"]
    template["Outputs"] = {"Name": {"Value": {"Fn::GetAtt": ["Component", "InferenceComponentName"]}}}
    stack = execute(stacks, "nameless", template, "CREATE")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert any("InferenceComponentName does not exist" in reason for _, _, reason in told(stacks, "nameless"))
    made = stacks.describe_stack_events(StackName="nameless")["StackEvents"]
    assert any("model/model-" in each.get("PhysicalResourceId", "") for each in made)


def test_a_stack_can_be_deleted_while_it_is_made_but_not_while_it_is_updated(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.delete-while-creating, cfn.delete-while-updating, cfn.cancelled."""
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    first = resources(Config=config(role, "busy-1"), Endpoint=endpoint("busy"))
    stack = stacks.create_stack(StackName="busy", TemplateBody=json.dumps(first))["StackId"]
    while not any(who == "Endpoint" for who, _, _ in told(stacks, stack)):
        time.sleep(0.01)
    stacks.delete_stack(StackName="busy")
    while stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] != "DELETE_COMPLETE":
        time.sleep(0.05)
    assert leftovers(running) == []
    execute(stacks, "busy", first, "CREATE")
    found = changes_of(stacks, "busy", resources(Config=config(role, "busy-2"), Endpoint=endpoint("busy")), "UPDATE")
    stacks.execute_change_set(ChangeSetName=found["ChangeSetId"])
    code, message = refused(stacks.delete_stack, StackName="busy")
    assert code == "ValidationError"
    assert "cannot be deleted while in status UPDATE_IN_PROGRESS" in message
    assert settled(stacks, "busy")["StackStatus"] == "UPDATE_COMPLETE"


def test_a_stack_takes_in_what_exists(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger cfn.import-tags, cfn.import-missing, cfn.auto-import.

    By its ARN a model is taken in as it is and tagged; by its name alone it is not found, and what does not exist fails
    the change set.
    """
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    sagemaker = running.client("sagemaker")
    arn = sagemaker.create_model(**model(role, "adopted")["Properties"])["ModelArn"]
    kept = {**model(role, "adopted"), "DeletionPolicy": "RetainExceptOnCreate"}
    guessed = changes_of(stacks, "adopting", resources(Model=kept), "CREATE", ImportExistingResources=True)
    assert [each["ResourceChange"]["Action"] for each in guessed["Changes"]] == ["Add"]
    what = {"ResourceType": "AWS::SageMaker::Model", "LogicalResourceId": "Model"}
    absent = [{**what, "ResourceIdentifier": {"ModelArn": f"{arn}-not"}}]
    missing = changes_of(stacks, "adopting", resources(Model=kept), "IMPORT", ResourcesToImport=absent)
    assert (missing["Status"], "was not found" in missing["StatusReason"]) == ("FAILED", True)
    named = [{**what, "ResourceIdentifier": {"ModelArn": arn}}]
    stack = execute(stacks, "adopting", resources(Model=kept), "IMPORT", ResourcesToImport=named)
    assert stack["StackStatus"] == "IMPORT_COMPLETE"
    assert tags(sagemaker, arn)["aws:cloudformation:stack-name"] == "adopting"
    again = {**kept}
    del again["DeletionPolicy"]
    assert execute(stacks, "adopting", resources(Model=again), "UPDATE")["StackStatus"] == "UPDATE_COMPLETE"


def test_a_template_may_be_yaml_with_a_schedule(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Short intrinsic functions are read, and a target's scheduled actions come and go with it."""
    scaling = running.client("application-autoscaling")
    template = everything(running, "timed")
    action = {"ScheduledActionName": "night", "Schedule": "cron(0 0 * * ? *)"}
    action["ScalableTargetAction"] = {"MinCapacity": 1, "MaxCapacity": 1}  # type: ignore[assignment]
    template["Resources"]["Target"]["Properties"]["ScheduledActions"] = [action]
    execute(stacks, "timed", template, "CREATE")
    found = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert [each["ScheduledActionName"] for each in found] == ["night"]
    template["Resources"]["Target"]["Properties"]["ScheduledActions"] = []
    assert execute(stacks, "timed", template, "UPDATE")["StackStatus"] == "UPDATE_COMPLETE"
    assert scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"] == []


def test_a_stack_may_do_what_whoever_asked_for_it_may(running: Running, stacks: Any) -> None:  # noqa: ANN401 - as above
    """Ledger access.stacks: all of CloudFormation is no way to a model that the caller may not make."""
    iam = running.client("iam")
    iam.create_user(UserName="stacker")
    allowed = [{"Effect": "Allow", "Action": "cloudformation:*", "Resource": "*"}]
    document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_user_policy(UserName="stacker", PolicyName="stacks", PolicyDocument=document)
    key = iam.create_access_key(UserName="stacker")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    while refused(running.client("sagemaker", **keys).list_models)[0] != "AccessDeniedException":
        time.sleep(0.01)  # a new key is not known everywhere at once: ledger access.consistency
    template = json.dumps(resources(Model=model(running.cloud.environment()["AWS_ARN_ROLE"], "forbidden")))
    running.client("cloudformation", **keys).create_stack(StackName="forbidden", TemplateBody=template)
    assert settled(stacks, "forbidden")["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = reason_of(stacks, "forbidden", "Model")
    assert "user/stacker is not authorized to perform: sagemaker:CreateModel" in reason
    iam.delete_access_key(UserName="stacker", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="stacker", PolicyName="stacks")
    iam.delete_user(UserName="stacker")


def test_what_a_kill_interrupted_goes_with_its_stack(own: Running) -> None:
    """Ledger backend.interrupted-stack: the endpoint that was being made is in the stack, so deleting removes it."""
    stacks = own.client("cloudformation")
    role = own.cloud.environment()["AWS_ARN_ROLE"]
    template = resources(Config=config(role, "cut"), Endpoint=endpoint("cut"))
    stack = stacks.create_stack(StackName="cut", TemplateBody=json.dumps(template))["StackId"]
    while ("Endpoint", "CREATE_IN_PROGRESS", "Resource creation Initiated") not in told(stacks, stack):
        time.sleep(0.01)
    stacks.create_change_set(
        StackName="idle", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=json.dumps(template)
    )
    own.kill()
    own.cloud.ensure_running(port=0, speed=1000)
    stacks = own.client("cloudformation")
    assert stacks.describe_stacks(StackName="cut")["Stacks"][0]["StackStatus"] == "CREATE_FAILED"
    assert stacks.describe_stacks(StackName="idle")["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    for name in ("cut", "idle"):
        identity = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        stacks.delete_stack(StackName=name)
        assert settled(stacks, identity)["StackStatus"] == "DELETE_COMPLETE"
    with suppress(ClientError):
        own.client("sagemaker").delete_endpoint(EndpointName="cut")
        pytest.fail("the endpoint is still there")
