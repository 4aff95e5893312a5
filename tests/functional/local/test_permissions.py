"""Permissions across the whole cloud, as boto3 meets them: one evaluation for our services and those behind us."""

from __future__ import annotations

import json
import time
import uuid

from tests.functional.local.conftest import Running
from tests.functional.local.people import (
    ACCOUNT,
    IMAGE,
    REGION,
    VISIBLE_S,
    allow,
    authorizations,
    document,
    new_role,
    new_user,
    refused,
    trusting,
)


def test_a_user_may_what_its_policy_says_everywhere(running: Running, bucket: str) -> None:
    """One policy, and each service denies in its own shape. Ledger: access.denied."""
    own = allow("s3:PutObject", resource=f"arn:aws:s3:::{bucket}/${{aws:username}}/*")
    keys = new_user(running, own, allow("sagemaker:ListModels"))
    user = running.client("sts", **keys).get_caller_identity()["Arn"]
    name = user.rpartition("/")[2]
    running.client("sagemaker", **keys).list_models()
    running.client("s3", **keys).put_object(Bucket=bucket, Key=f"{name}/ä b+c", Body=b"x")
    words = "is not authorized to perform: {0} on resource: {1} because no identity-based policy allows the {0} action"
    ssm = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/p"
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    new = {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}
    cases = [
        ("s3", "put_object", {"Bucket": bucket, "Key": "x"}, 403, "AccessDenied", "s3:PutObject"),
        ("iam", "create_role", new, 403, "AccessDenied", "iam:CreateRole"),
        ("sns", "list_topics", {}, 403, "AuthorizationError", "sns:ListTopics"),
        ("cloudformation", "list_stacks", {}, 403, "AccessDenied", "cloudformation:ListStacks"),
        ("ssm", "get_parameter", {"Name": "p"}, 400, "AccessDeniedException", "ssm:GetParameter"),
        ("kms", "list_keys", {}, 403, "AccessDeniedException", "kms:ListKeys"),
    ]
    resources = {"s3": f'"arn:aws:s3:::{bucket}/x"', "iam": role, "ssm": ssm}
    for service, operation, params, status, code, action in cases:
        found = refused(getattr(running.client(service, **keys), operation), **params)
        assert found == (status, code, f"User: {user} {words.format(action, resources.get(service, '*'))}")


def test_a_boundary_and_a_deny_hold_for_the_services_behind_too(running: Running, bucket: str) -> None:
    """One evaluation for the whole cloud; its texts say which policy decided."""
    deny = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}
    keys = new_user(running, allow("*"), deny, boundary=allow("s3:*", "sts:*"))
    s3 = running.client("s3", **keys)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    explicit = refused(s3.delete_object, Bucket=bucket, Key="k")[2]
    assert explicit.endswith("with an explicit deny in an identity-based policy")
    limited = refused(running.client("iam", **keys).list_users)[2]
    assert limited.endswith("because no permissions boundary allows the iam:ListUsers action")


def test_assuming_a_role(running: Running) -> None:
    """Trust, its conditions, and the caller's own policy. Ledger: access.assume-role."""
    keys = new_user(running, allow("sts:AssumeRole"))
    without = new_user(running)
    user = running.client("sts", **without).get_caller_identity()["Arn"]
    account = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    open_to_account = new_role(running, allow("sagemaker:ListModels"), trust=trusting(account))
    with_id = new_role(running, trust=trusting(account, StringEquals={"sts:ExternalId": "right"}))
    named = new_role(running, trust=trusting({"AWS": user}))
    mine, theirs = running.client("sts", **keys), running.client("sts", **without)
    session = mine.assume_role(RoleArn=open_to_account, RoleSessionName="work")["Credentials"]
    mine.assume_role(RoleArn=with_id, RoleSessionName="work", ExternalId="right")
    theirs.assume_role(RoleArn=named, RoleSessionName="work")
    for sts, role, more in (
        (mine, with_id, {"ExternalId": "wrong"}),
        (mine, named, {}),
        (theirs, open_to_account, {}),
        (mine, f"arn:aws:iam::{ACCOUNT}:role/nobody", {}),
    ):
        status, code, message = refused(sts.assume_role, RoleArn=role, RoleSessionName="work", **more)
        assert (status, code) == (403, "AccessDenied")
        assert message.endswith(f"is not authorized to perform: sts:AssumeRole on resource: {role}")
    given = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    time.sleep(VISIBLE_S)
    running.client("sagemaker", **given).list_models()
    assert (
        f"assumed-role/{open_to_account.rpartition('/')[2]}/work"
        in refused(running.client("sagemaker", **given).list_endpoints)[2]
    )
    del given["aws_session_token"]
    assert refused(running.client("sagemaker", **given).list_models)[1] == "UnrecognizedClientException"


def test_session_policies_narrow_across_the_cloud(running: Running, bucket: str) -> None:
    """What the role may and the session may not is denied in the session policy's name."""
    role = new_role(running, allow("*"), trust=trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    policy = document(allow("s3:ListBucket", "sagemaker:ListModels"))
    got = running.client("sts").assume_role(RoleArn=role, RoleSessionName="work", Policy=policy)["Credentials"]
    given = {
        "aws_access_key_id": got["AccessKeyId"],
        "aws_secret_access_key": got["SecretAccessKey"],
        "aws_session_token": got["SessionToken"],
    }
    time.sleep(VISIBLE_S)
    running.client("s3", **given).list_objects_v2(Bucket=bucket)
    running.client("sagemaker", **given).list_models()
    for service, operation, params in (
        ("s3", "put_object", {"Bucket": bucket, "Key": "k"}),
        ("sagemaker", "list_endpoints", {}),
    ):
        message = refused(getattr(running.client(service, **given), operation), **params)[2]
        assert "because no session policy allows the" in message


def test_a_bucket_s_own_policy_counts(running: Running, bucket: str) -> None:
    """It allows whom it names, and a deny of it wins. Ledger: access.resource-policies."""
    keys, s3 = new_user(running), running.client("s3")
    user = running.client("sts", **keys).get_caller_identity()["Arn"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    mine = running.client("s3", **keys)
    assert refused(mine.get_object, Bucket=bucket, Key="k")[1] == "AccessDenied"
    objects = f"arn:aws:s3:::{bucket}/*"
    lets_in = {**allow("s3:GetObject", resource=objects), "Principal": {"AWS": user}}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(lets_in))
    assert mine.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    keeps_out = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": objects}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(lets_in, keeps_out))
    message = refused(mine.get_object, Bucket=bucket, Key="k")[2]
    assert message.endswith("with an explicit deny in a resource-based policy")
    s3.delete_bucket_policy(Bucket=bucket)


def test_a_model_under_a_narrow_role(running: Running, bucket: str) -> None:
    """The user passes the role, SageMaker assumes it, and the role reads the data. Ledger: access.pass-role."""
    running.client("s3").put_object(Bucket=bucket, Key="models/m.tar.gz", Body=b"x")
    sagemaker = trusting(
        {"Service": "sagemaker.amazonaws.com"},
        StringEquals={"aws:SourceAccount": ACCOUNT},
        ArnLike={"aws:SourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:*"},
    )
    reader = new_role(running, allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/models/*"), trust=sagemaker)
    blind = new_role(running, trust=sagemaker)
    passed = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    keys = new_user(
        running,
        allow("sagemaker:CreateModel", resource=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/llm-*"),
        allow("iam:PassRole", resource=[reader, blind], Condition=passed),
    )
    create = running.client("sagemaker", **keys).create_model
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/models/m.tar.gz"}
    prepared = running.cloud.environment()["AWS_ARN_ROLE"]
    create(ModelName="llm-a", ExecutionRoleArn=reader, PrimaryContainer=container)
    outside = refused(create, ModelName="other", ExecutionRoleArn=reader, PrimaryContainer=container)
    assert "perform: sagemaker:CreateModel on resource" in outside[2]
    foreign = refused(create, ModelName="llm-b", ExecutionRoleArn=prepared, PrimaryContainer=container)
    assert f"perform: iam:PassRole on resource: {prepared} because" in foreign[2]
    unread = refused(create, ModelName="llm-b", ExecutionRoleArn=blind, PrimaryContainer=container)
    assert unread[:2] == (400, "ValidationException")
    assert unread[2].startswith(
        f'Could not access model data at s3://{bucket}/models/m.tar.gz. Please ensure that the role "'
    )
    running.client("sagemaker").delete_model(ModelName="llm-a")


def test_the_service_linked_role_is_made_once(running: Running) -> None:
    """By the first scalable target, and IAM shows it. Ledger: access.service-linked-role."""
    endpoint = f"twin-{uuid.uuid4().hex[:6]}"
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    sagemaker = running.client("sagemaker")
    variant = {"VariantName": "v", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ExecutionRoleArn=role, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    keys = new_user(running, allow("application-autoscaling:*", "sagemaker:*"))
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/v",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 1,
        "MaxCapacity": 2,
    }
    register = running.client("application-autoscaling", **keys).register_scalable_target
    assert "perform: iam:CreateServiceLinkedRole on resource" in refused(register, **target)[2]
    running.client("application-autoscaling").register_scalable_target(**target)
    register(**target)
    made = running.client("iam").get_role(RoleName="AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")["Role"]
    assert made["Path"] == "/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    running.client("application-autoscaling").deregister_scalable_target(
        **{name: target[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    )
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1})
    sagemaker.delete_endpoint(EndpointName=endpoint)
    sagemaker.delete_endpoint_config(EndpointConfigName=endpoint)


def test_a_role_for_a_stack_is_passed_too(running: Running) -> None:
    """To CloudFormation. Ledger: access.pass-role."""
    role = new_role(running, trust=trusting({"Service": "cloudformation.amazonaws.com"}))
    keys = new_user(running, allow("cloudformation:*"))
    template = json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    create = running.client("cloudformation", **keys).create_stack
    status, code, message = refused(create, StackName="passed", TemplateBody=template, RoleARN=role)
    assert (status, code) == (403, "AccessDenied")
    assert f"perform: iam:PassRole on resource: {role} because" in message
    create(StackName="passed", TemplateBody=template)
    running.client("cloudformation").delete_stack(StackName="passed")


def test_the_record_has_what_every_service_decided(running: Running, bucket: str) -> None:
    """Ours and those behind us, allowed and denied, until it is deleted."""
    keys = new_user(running, allow("s3:PutObject", "sagemaker:ListModels"))
    user = running.client("sts", **keys).get_caller_identity()["Arn"]
    authorizations(running, "DELETE")
    running.client("s3", **keys).put_object(Bucket=bucket, Key="k", Body=b"x")
    running.client("sagemaker", **keys).list_models()
    refused(running.client("iam", **keys).list_users)
    decided = [
        (each["action"], each["resource"], each["allowed"])
        for each in authorizations(running)
        if each["principal"] == user
    ]
    assert decided == [
        ("s3:PutObject", f"arn:aws:s3:::{bucket}/k", True),
        ("sagemaker:ListModels", "*", True),
        ("iam:ListUsers", "*", False),
    ]


def test_simulation_still_answers(running: Running) -> None:
    """The SageMaker SDK asks it before it deploys."""
    role = new_role(running, allow("s3:GetObject"), trust=trusting({"Service": "sagemaker.amazonaws.com"}))
    found = running.client("iam").simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["s3:GetObject", "s3:PutObject"]
    )["EvaluationResults"]
    assert [each["EvalDecision"] for each in found] == ["allowed", "implicitDeny"]


def test_credentials_of_a_role_for_trying_it(running: Running) -> None:
    """`local env --role` gives what a narrow role has, by name or by ARN."""
    role = new_role(running, allow("sagemaker:ListModels"), trust=trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    time.sleep(VISIBLE_S)
    for named in (role, role.rpartition("/")[2]):
        variables = running.cloud.role_environment(named)
        given = {
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
            "aws_session_token": variables["AWS_SESSION_TOKEN"],
        }
        running.client("sagemaker", **given).list_models()
        assert refused(running.client("sagemaker", **given).list_endpoints)[1] == "AccessDeniedException"
