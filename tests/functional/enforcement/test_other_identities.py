"""Who may only invoke, the execution role, the least policy of one deployment, and a role that is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.client.endpoint import LLMInferenceHttpEndpoint, LLMInferenceSagemakerEndpoint
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import LlmDeployError
from llm_deploy.spec import Place
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.statements import policy
from tests.conftest import Terminal
from tests.functional.enforcement.conftest import (
    EXECUTION,
    PREFIX,
    TWIN,
    Account,
    acting_as,
    delete,
    deploy,
    queue_over,
    spec_of,
    wait_for_iam,
)

pytestmark = pytest.mark.xdist_group("local-cloud")

PLACE = Place(region="eu-central-1", account="000000000000")
WISH = iam.RolesWish(PLACE, PREFIX)
WEIGHTS = "s3://proof-weights/llm/"
WITH_WEIGHTS = iam.RolesWish(PLACE, PREFIX, model_bucket="proof-weights", model_prefix="llm")
NOT_EMULATED = {"logs:DescribeLogStreams", "cloudwatch:PutMetricData", "cloudwatch:DescribeAlarms"}
"""What AWS documents for the execution role and the local cloud does not do with it; the report of the enforcement
names them."""
NAME = f"{PREFIX}-exec"
ASKED = GenerationRequest(prompt="The capital of France is", max_new_tokens=2)
PROMPT = ("The capital of France is", "--max-new-tokens", "2")


@pytest.mark.row("T1")
def test_who_may_only_invoke_invokes_and_does_nothing_else(narrow: Terminal, account: Account) -> None:
    """Whole answers and streams, of both types, with a token too, and through a queue; everything else is refused."""
    names = {f"{PREFIX}-called-{word}": word for word in ("inference-component", "model")}
    role = f"{PREFIX}-invoker"
    for name, word in names.items():
        narrow.run("deploy-endpoint", str(TWIN), "--endpoint-type", word, "--set", f"name={name}", "--yes")
    with account.role(role, attached=WISH.policy_arn(iam.INVOKE_POLICY)) as arn:
        for name, word in names.items():
            component = ("--component", name) if word == "inference-component" else ()
            for stream in ((), ("--stream",)):
                assert "Paris" in narrow.run("invoke", name, *PROMPT, *component, *stream, LLMDEPLOY_ROLE_ARN=arn).out
            for command in (("status", name), ("logs", name), ("delete-endpoint", name, "--yes"), ("list",)):
                assert "not authorized" in narrow.run(*command, code=5, LLMDEPLOY_ROLE_ARN=arn).err
            by_token = narrow.run("token", name, *component, "--json", LLMDEPLOY_ROLE_ARN=arn).json
            LLMInferenceHttpEndpoint(by_token["base_url"], api_key=by_token["api_key"]).chat("Hi", max_new_tokens=2)
        with queue_over(f"{PREFIX}-called-model", account) as queue:
            session = acting_as(arn, narrow).session
            assert LLMInferenceSagemakerEndpoint(queue, session=session, via="queue").submit(ASKED).output_location
        allowed = {entry["action"] for entry in account.record(role) if entry["allowed"]}
    for name in names:
        narrow.run("delete-endpoint", name, "--yes")
    assert allowed - {"sts:GetCallerIdentity"} == {
        "sagemaker:InvokeEndpoint",
        "sagemaker:InvokeEndpointWithResponseStream",
        "sagemaker:InvokeEndpointAsync",
        "sagemaker:CallWithBearerToken",
    }


@pytest.mark.row("T1")
@pytest.mark.parametrize("endpoint_type", ["inference-component", "model"])
def test_the_least_policy_suffices(narrow: Terminal, account: Account, endpoint_type: str) -> None:
    """A role with nothing but `llmdeploy policy CONFIG` deploys that one deployment, changes, asks and deletes it.

    Deleting asks whether a stack holds it and goes on where it may not; nobody is told of that.
    """
    name = f"{PREFIX}-least"
    alarm = ("--set", "update.alarms.errors_above=5")
    spec = (str(TWIN), "--endpoint-type", endpoint_type, *alarm, "--set", f"name={name}")
    least = narrow.run("policy", *spec, "--json").json
    with account.role(f"{PREFIX}-least", inline=least) as arn:
        narrow.run("deploy-endpoint", *spec, "--yes", LLMDEPLOY_ROLE_ARN=arn)
        narrow.run("invoke", name, *PROMPT, LLMDEPLOY_ROLE_ARN=arn)
        narrow.run("logs", name, LLMDEPLOY_ROLE_ARN=arn)
        changed = ("--set", "limits.max_input_tokens=1024", "--set", "autoscaling.target=7", "--yes")
        narrow.run("deploy-endpoint", *spec, *changed, LLMDEPLOY_ROLE_ARN=arn)
        other = ("deploy-endpoint", *spec[:-1], f"name={name}-2", "--yes")
        assert "not authorized" in narrow.run(*other, code=5, LLMDEPLOY_ROLE_ARN=arn).err
        deleted = narrow.run("delete-endpoint", name, "--yes", LLMDEPLOY_ROLE_ARN=arn)
        refused = [entry for entry in account.record(f"{PREFIX}-least") if not entry["allowed"]]
    assert "not authorized" not in deleted.err
    others = [entry["resource"] for entry in refused if entry["action"] != "cloudformation:DescribeStacks"]
    assert {resource.partition("/")[2].partition("-least-2")[1] for resource in others} == {"-least-2"}


@pytest.mark.row("T1")
def test_the_least_policy_through_cloudformation_suffices(narrow: Terminal, account: Account) -> None:
    """With `--via cloudformation` it has what a stack needs, for this one stack."""
    name = f"{PREFIX}-least-stack"
    spec = (str(TWIN), "--via", "cloudformation", "--endpoint-type", "model", "--set", f"name={name}")
    least = narrow.run("policy", *spec, "--json").json
    with account.role(f"{PREFIX}-least-stack", inline=least) as arn:
        narrow.run("deploy-endpoint", *spec, "--yes", LLMDEPLOY_ROLE_ARN=arn)
        other = ("deploy-endpoint", *spec[:-1], f"name={name}-2", "--yes")
        assert "not authorized" in narrow.run(*other, code=5, LLMDEPLOY_ROLE_ARN=arn).err
        narrow.run("delete-endpoint", name, "--yes", LLMDEPLOY_ROLE_ARN=arn)


@pytest.fixture(scope="module")
def weights(account: Account) -> Iterator[str]:
    """Weights in S3, and an execution role that may read them."""
    s3, client = account.client("s3"), account.client("iam")
    s3.create_bucket(
        Bucket="proof-weights", CreateBucketConfiguration={"LocationConstraint": account.variables["AWS_REGION"]}
    )
    s3.put_object(Bucket="proof-weights", Key="llm/config.json", Body=b"{}")
    before = client.get_role_policy(RoleName=EXECUTION, PolicyName="execution")["PolicyDocument"]
    _execution_may(client, _executing())
    yield WEIGHTS
    _execution_may(client, before["Statement"])
    s3.delete_object(Bucket="proof-weights", Key="llm/config.json")
    s3.delete_bucket(Bucket="proof-weights")


@pytest.fixture(scope="module")
def connection(narrow: Terminal) -> Connection:
    """The deploy role's."""
    return acting_as(WISH.deploy_role_arn, narrow)


@pytest.mark.row("T1")
def test_containers_use_every_action_of_the_execution_role(
    weights: str, connection: Connection, account: Account
) -> None:
    """As far as the local cloud does what SageMaker does: image, weights and log."""
    account.forget()
    deploy(spec_of(NAME, "model", model=weights), connection)
    delete(NAME, connection)
    used = {entry["action"] for entry in account.record(EXECUTION) if entry["allowed"]}
    granted = {action for statement in _executing() for action in statement["Action"]}
    assert used == granted - NOT_EMULATED


@pytest.mark.row("T1")
@pytest.mark.parametrize("sid", ["ReadWeights", "ListWeights", "RegistryLogin", "PullImages"])
def test_without_a_statement_a_container_does_not_start(
    weights: str, connection: Connection, account: Account, sid: str
) -> None:
    """SageMaker refuses the model, or the endpoint fails and says what the role may not do."""
    with _execution_without(account, sid), pytest.raises(LlmDeployError) as failed:
        deploy(spec_of(NAME, "model", model=weights), connection)
    delete(NAME, connection)
    role_is_named = EXECUTION in failed.value.message
    assert role_is_named, failed.value.message


@pytest.mark.row("T1")
def test_without_the_log_statement_there_is_no_log(weights: str, connection: Connection, account: Account) -> None:
    """The endpoint serves all the same, as at AWS; its log group does not come to be."""
    with _execution_without(account, "WriteLogs"):
        deploy(spec_of(f"{NAME}-mute", "model", model=weights), connection)
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/sagemaker/Endpoints/{NAME}-mute")
    delete(f"{NAME}-mute", connection)
    assert groups["logGroups"] == []


@pytest.mark.row("T1")
def test_a_new_role_is_waited_for(tmp_path: Path) -> None:
    """On a cloud whose IAM is two seconds late `create-roles` returns when the role works, and a deployment starts."""
    slow = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path / "home"), "LLMDEPLOY_TARGET": "local"})
    slow.run("local", "up", "--port", "0", "--speed", "4")
    try:
        made = slow.run("create-roles", "--prefix", "twin", "--write-env", "--yes")
        assert "llmdeploy-twin-deployer: cannot be used yet" in made.err
        assert "llmdeploy-twin-deployer (can be used)" in made.err
        started = slow.run("deploy-endpoint", str(TWIN), "--no-wait", "--yes")
        assert "as assumed-role/llmdeploy-twin-deployer/llmdeploy" in started.err
    finally:
        slow.run("local", "down")


def _executing() -> list[dict[str, Any]]:
    return iam.execution_statements(iam.scope(WITH_WEIGHTS))


def _execution_may(client: Any, found: list[dict[str, Any]]) -> None:  # noqa: ANN401 - boto3 ships no types
    document = json.dumps(policy(found))
    client.put_role_policy(RoleName=EXECUTION, PolicyName="execution", PolicyDocument=document)
    wait_for_iam()


@contextmanager
def _execution_without(account: Account, sid: str) -> Iterator[None]:
    client = account.client("iam")
    _execution_may(client, [statement for statement in _executing() if statement["Sid"] != sid])
    try:
        yield
    finally:
        _execution_may(client, _executing())
