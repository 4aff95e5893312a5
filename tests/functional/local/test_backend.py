"""IAM, STS, S3 and the other services of the account, through the proxy, as boto3 sees them."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llm_deploy.targets.local import LocalCloud
from tests.functional.local.conftest import Running, children_of, is_running, wait_until


def trust_document(effect: str = "Allow", service: str = "sagemaker.amazonaws.com") -> dict[str, Any]:
    statement = {"Effect": effect, "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


TRUST = trust_document()
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
EXECUTION_ROLE = "llmdeploy-local-execution"


def new_role(iam: Any, name: str, trust: dict[str, Any] = TRUST) -> str:  # noqa: ANN401 - boto3 ships no types
    return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"])


def new_model(running: Running, name: str, role: str, **container: Any) -> str:  # noqa: ANN401 - as above
    image = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"
    whole = {"Image": image, **container}
    answer = running.client("sagemaker").create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=whole)
    return str(answer["ModelArn"])


def test_the_execution_role_is_there_from_the_start(running: Running) -> None:
    """Ledger backend.execution-role: a first deployment needs no roles of its own."""
    role = running.client("iam").get_role(RoleName=EXECUTION_ROLE)["Role"]
    assert role["Arn"] == running.cloud.environment()["AWS_ARN_ROLE"]
    assert role["AssumeRolePolicyDocument"] == TRUST


@pytest.mark.row("T1")
def test_the_calls_of_create_roles_and_delete_roles(running: Running) -> None:
    """Roles, users, keys, policies and tags: made, read back, refused while in use, deleted, gone."""
    iam = running.client("iam")
    arn = new_role(iam, "flow")
    iam.tag_role(RoleName="flow", Tags=[{"Key": "llmdeploy:owner", "Value": "x"}])
    iam.put_role_policy(RoleName="flow", PolicyName="inline", PolicyDocument=json.dumps(READ))
    policy = iam.create_policy(PolicyName="managed", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="flow", PolicyArn=policy)
    iam.create_user(UserName="deployer")
    iam.attach_user_policy(UserName="deployer", PolicyArn=policy)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    assert iam.list_role_tags(RoleName="flow")["Tags"] == [{"Key": "llmdeploy:owner", "Value": "x"}]
    assert iam.get_role_policy(RoleName="flow", PolicyName="inline")["PolicyDocument"] == READ
    assert [each["PolicyArn"] for each in iam.list_attached_role_policies(RoleName="flow")["AttachedPolicies"]] == [
        policy
    ]
    sts = running.client("sts", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(":user/deployer")
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole on resource: " + arn):
        sts.assume_role(RoleArn=arn, RoleSessionName="test")
    with pytest.raises(ClientError, match="DeleteConflict"):
        iam.delete_role(RoleName="flow")
    with pytest.raises(ClientError, match="DeleteConflict"):
        iam.delete_policy(PolicyArn=policy)
    iam.detach_user_policy(UserName="deployer", PolicyArn=policy)
    iam.delete_access_key(UserName="deployer", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="deployer")
    iam.detach_role_policy(RoleName="flow", PolicyArn=policy)
    iam.delete_role_policy(RoleName="flow", PolicyName="inline")
    iam.delete_role(RoleName="flow")
    iam.delete_policy(PolicyArn=policy)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName="flow")


def test_objects_of_any_size_come_back_as_they_were(running: Running) -> None:
    """Metadata, odd keys, ranges and a multipart upload survive the proxy."""
    s3 = running.client("s3")
    s3.create_bucket(Bucket="weights", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    body = os.urandom(20_000_000)
    s3.upload_fileobj(io.BytesIO(body), "weights", "llm/a b+c&d=é.bin", ExtraArgs={"Metadata": {"k_x": "v"}})
    answer = s3.get_object(Bucket="weights", Key="llm/a b+c&d=é.bin")
    assert hashlib.sha256(answer["Body"].read()).digest() == hashlib.sha256(body).digest()
    assert answer["Metadata"] == {"k_x": "v"}
    part = s3.get_object(Bucket="weights", Key="llm/a b+c&d=é.bin", Range="bytes=100-199")["Body"].read()
    assert part == body[100:200]
    assert s3.head_object(Bucket="weights", Key="llm/a b+c&d=é.bin")["ContentLength"] == len(body)
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket="weights", Key="none")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"


def test_the_other_services_answer(running: Running) -> None:
    """One call of each, in this cloud's region and account."""
    made = [
        running.client("secretsmanager").create_secret(Name="hub", SecretString="hf_x")["ARN"],
        running.client("sns").create_topic(Name="errors")["TopicArn"],
        running.client("kms").create_key()["KeyMetadata"]["Arn"],
        running.client("ecr").create_repository(repositoryName="images")["repository"]["repositoryArn"],
    ]
    assert all(":eu-central-1:000000000000:" in arn for arn in made)
    running.client("ssm").put_parameter(Name="/a", Value="1", Type="String")
    assert running.client("ssm").get_parameter(Name="/a")["Parameter"]["Value"] == "1"


def test_stacks_make_and_remove_resources_of_the_account(running: Running) -> None:
    """A stack's role exists for IAM as well, and goes with the stack."""
    stacks = running.client("cloudformation")
    new_stack(stacks, "good", {"Role": stacked_role("stacked")})
    stacks.get_waiter("stack_create_complete").wait(StackName="good", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert running.client("iam").get_role(RoleName="stacked")
    stacks.delete_stack(StackName="good")
    stacks.get_waiter("stack_delete_complete").wait(StackName="good", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    with pytest.raises(ClientError, match="NoSuchEntity"):
        running.client("iam").get_role(RoleName="stacked")


def test_a_stack_that_fails_is_rolled_back(running: Running) -> None:
    """What it had made is gone again, and a type that is not known is refused before anything is made."""
    stacks = running.client("cloudformation")
    policy = {
        "Type": "AWS::IAM::Policy",
        "Properties": {"PolicyName": "p", "Roles": ["no-such-role"], "PolicyDocument": READ},
        "DependsOn": "Role",
    }
    new_stack(stacks, "bad", {"Role": stacked_role("rolled-back"), "Policy": policy})
    assert wait_until(
        lambda: stacks.describe_stacks(StackName="bad")["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"
    )
    with pytest.raises(ClientError, match="NoSuchEntity"):
        running.client("iam").get_role(RoleName="rolled-back")
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        new_stack(stacks, "unknown", {"X": {"Type": "AWS::No::Such", "Properties": {}}})


def new_stack(stacks: Any, name: str, resources: dict[str, Any]) -> None:  # noqa: ANN401 - boto3 ships no types
    template = json.dumps({"Resources": resources})
    stacks.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])


def stacked_role(name: str) -> dict[str, Any]:
    return {"Type": "AWS::IAM::Role", "Properties": {"RoleName": name, "AssumeRolePolicyDocument": TRUST}}


@pytest.mark.parametrize(
    "trust",
    [
        None,
        {"Version": "2012-10-17", "Statement": []},
        trust_document(service="ec2.amazonaws.com"),
        trust_document(effect="Deny"),
    ],
)
def test_a_model_needs_a_role_that_sagemaker_may_assume(running: Running, trust: dict[str, Any] | None) -> None:
    """No role, one that trusts nobody, one that trusts somebody else, one that refuses."""
    name = f"untrusting-{abs(hash(json.dumps(trust)))}"
    arn = new_role(running.client("iam"), name, trust) if trust else f"arn:aws:iam::000000000000:role/{name}"
    with pytest.raises(ClientError, match="Could not assume role"):
        new_model(running, "m", arn)
    trusting = new_role(running.client("iam"), f"{name}-fixed")
    assert wait_until(lambda: is_taken(running, name[:60], trusting))


def is_taken(running: Running, name: str, role: str) -> bool:
    """Whether a model can be made with this role. A new one is not known at once. Ledger access.consistency."""
    try:
        return bool(new_model(running, name, role))
    except ClientError as error:
        if "Could not assume role" not in str(error):
            raise
        return False


def test_a_model_needs_its_data(running: Running) -> None:
    """An S3 prefix with nothing under it is refused; with an object it is not."""
    s3 = running.client("s3")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    source = {"S3Uri": "s3://models/llm/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    with pytest.raises(ClientError, match="Could not find model data"):
        new_model(running, "with-data", role, ModelDataSource={"S3DataSource": source})
    s3.put_object(Bucket="models", Key="llm/config.json", Body=b"{}")
    assert new_model(running, "with-data", role, ModelDataSource={"S3DataSource": source})


@pytest.mark.parametrize("service", ["secretsmanager", "sns", "cloudwatch", "logs"])
def test_another_region_is_refused_in_the_clients_protocol(running: Running, service: str) -> None:
    """Ledger local.wrong-region: an empty list from there would look like proof that nothing is left."""
    client = running.client(service, region_name="us-east-1")
    call = {
        "secretsmanager": "list_secrets",
        "sns": "list_topics",
        "cloudwatch": "describe_alarms",
        "logs": "describe_log_groups",
    }[service]
    with pytest.raises(ClientError, match="This local cloud is in eu-central-1"):
        getattr(client, call)()


def test_a_service_that_is_not_there_says_so(running: Running) -> None:
    """Ledger local.not-implemented."""
    with pytest.raises(ClientError, match="LocalCloudNotImplemented"):
        running.client("dynamodb").list_tables()


def test_everything_is_there_after_sigkill(own: Running) -> None:
    """Killed right after the answer and started again: roles, keys, policies, buckets, objects, secrets, stacks."""
    iam, s3 = own.client("iam"), own.client("s3")
    arn = new_role(iam, "kept")
    iam.put_role_policy(RoleName="kept", PolicyName="inline", PolicyDocument=json.dumps(READ))
    iam.create_user(UserName="kept")
    key = iam.create_access_key(UserName="kept")["AccessKey"]["AccessKeyId"]
    s3.create_bucket(Bucket="kept-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="kept-bucket", Key="a/b.txt", Body=b"hello", Metadata={"k": "v"})
    own.client("cloudwatch").put_metric_alarm(
        AlarmName="kept",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    own.client("secretsmanager").create_secret(Name="kept", SecretString="hf_x")
    own.kill()
    own.cloud.ensure_running(port=0)
    iam, s3 = own.client("iam"), own.client("s3")
    assert iam.get_role(RoleName="kept")["Role"]["Arn"] == arn
    assert iam.get_role_policy(RoleName="kept", PolicyName="inline")["PolicyDocument"] == READ
    assert [each["AccessKeyId"] for each in iam.list_access_keys(UserName="kept")["AccessKeyMetadata"]] == [key]
    answer = s3.get_object(Bucket="kept-bucket", Key="a/b.txt")
    assert (answer["Body"].read(), answer["Metadata"]) == (b"hello", {"k": "v"})
    assert own.client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"] == "hf_x"
    assert len(own.client("cloudwatch").describe_alarms()["MetricAlarms"]) == 1


def test_a_stack_that_was_interrupted_says_so(own: Running) -> None:
    """Nobody goes on making it after a restart, so it has failed, and can be deleted."""
    stacks = own.client("cloudformation")
    new_stack(stacks, "half", {"Role": stacked_role("half")})
    stacks.get_waiter("stack_create_complete").wait(StackName="half", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    own.cloud.stop()
    saved = own.cloud.state_dir() / "backend" / "services" / "cloudformation.json"
    saved.write_text(saved.read_text().replace("CREATE_COMPLETE", "CREATE_IN_PROGRESS"))
    own.cloud.ensure_running(port=0)
    (stack,) = own.client("cloudformation").describe_stacks(StackName="half")["Stacks"]
    assert stack["StackStatus"] == "CREATE_FAILED"
    own.client("cloudformation").delete_stack(StackName="half")
    own.client("cloudformation").get_waiter("stack_delete_complete").wait(
        StackName="half", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_deletions_are_kept_too(own: Running) -> None:
    """What was deleted before SIGKILL does not come back."""
    iam = own.client("iam")
    new_role(iam, "gone")
    iam.delete_role(RoleName="gone")
    own.kill()
    own.cloud.ensure_running(port=0)
    names = [role["RoleName"] for role in own.client("iam").list_roles()["Roles"]]
    assert names == [EXECUTION_ROLE]


def test_the_child_is_started_again_when_it_dies(own: Running) -> None:
    """A crash of the backend costs one failed call at most, and no state."""
    new_role(own.client("iam"), "kept")
    (child,) = children_of(own.pid())
    os.kill(child, signal.SIGKILL)
    assert wait_until(lambda: children_of(own.pid()) not in ([], [child]))
    assert own.client("iam").get_role(RoleName="kept")


def test_nobody_but_the_cloud_is_answered_by_the_child(own: Running) -> None:
    """A web page or a neighbour who finds its port gets nothing, and answers permit no page to read them."""
    (child,) = children_of(own.pid())
    own.client("s3").list_buckets()
    ports = listening_ports(child)
    assert ports
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/", headers={"x-local-cloud-key": "guess"})
        assert connection.getresponse().status == 403
        connection.close()
    headers = own.client("s3").list_buckets()["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in headers if name.startswith("access-control-")]
    assert "," not in headers["date"].replace(", ", " ", 1)


def listening_ports(pid: int) -> list[int]:
    """TCP ports on which a process listens, from /proc."""
    inodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listening = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return [int(row[1].rpartition(":")[2], 16) for row in listening]


def test_no_child_outlives_the_cloud(own: Running) -> None:
    """Not even after SIGKILL."""
    children = own.kill()
    assert children
    assert wait_until(lambda: not any(is_running(pid) for pid in children), timeout_s=2)


def test_a_backend_that_cannot_start_gives_its_reason(tmp_path: Path) -> None:
    """Its services answer with the cause; the others work."""
    broken = tmp_path / "broken" / "ministack"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "app.py").write_text("raise RuntimeError('no such luck')")
    cloud = LocalCloud(tmp_path / "home")
    arguments = ["--state-dir", str(cloud.state_dir()), "--port", "0", "--backend-path", str(broken.parent)]
    process = subprocess.Popen([sys.executable, "-m", "llm_deploy.emulator", *arguments])
    try:
        assert wait_until(lambda: cloud.status() is not None)
        running = Running(cloud)
        assert wait_until(lambda: "no such luck" in refusal_of(running.client("sts").get_caller_identity), 20)
        assert running.client("logs").describe_log_groups()["logGroups"] == []
    finally:
        process.kill()
        process.wait()


def refusal_of(call: Callable[[], object]) -> str:
    """What a call is refused with."""
    with pytest.raises(ClientError) as refused:
        call()
    return str(refused.value)
