"""The CDK stack inside somebody's app: what it offers, what it grants, and that it stays the template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.node import use_node
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets.blueprint import Blueprint
from tests.conftest import ROOT
from tests.parity.examples import ACCOUNT, LITERAL, REGION, SPECS, SYMBOLIC, blueprint

pytestmark = pytest.mark.xdist_group("cdk")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_VALIDATION", "false")
    use_node()


def app_with_a_caller(found: Blueprint, *, apart: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Templates of the deployment and of a stack with a role that may invoke it; one and the same unless `apart`."""
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node
    from aws_cdk import aws_iam as iam  # noqa: PLC0415 - as above

    from infra.stack import LlmEndpointStack  # noqa: PLC0415 - as above

    app = cdk.App(analytics_reporting=False)
    stack = LlmEndpointStack(app, "Llm", found)
    environment = cdk.Environment(region=stack.region)
    calling = cdk.Stack(app, "Calling", env=environment) if apart else stack
    caller = iam.Role(calling, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    stack.grant_invoke(caller)
    cdk.CfnOutput(calling, "Called", value=stack.endpoint_name)
    cdk.CfnOutput(calling, "CalledArn", value=stack.endpoint_arn)
    assembly = app.synth()
    return assembly.get_stack_by_name("Llm").template, assembly.get_stack_by_name(calling.stack_name).template


@pytest.mark.row("T3")
@pytest.mark.parametrize(
    ("spec", "called"),
    [
        (SPECS["twin"], [{"Ref": "Endpoint"}, {"Ref": "InferenceComponent"}]),
        (SPECS["twin on machines"], {"Ref": "Endpoint"}),
    ],
    ids=["component", "model"],
)
def test_a_caller_may_invoke_this_endpoint_and_nothing_else(spec: DeploymentSpec, called: object) -> None:
    """Streaming or not, on the endpoint and its component; the deployment's own resources stay as rendered."""
    found = blueprint(spec, SYMBOLIC)
    template, _ = app_with_a_caller(found, apart=False)
    policies = [each for each in template["Resources"].values() if each["Type"] == "AWS::IAM::Policy"]
    assert [each["Properties"]["PolicyDocument"]["Statement"] for each in policies] == [
        [
            {
                "Action": ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"],
                "Effect": "Allow",
                "Resource": called,
            }
        ]
    ]
    assert template["Outputs"]["Called"]["Value"] == {"Fn::GetAtt": ["Endpoint", "EndpointName"]}
    assert template["Outputs"]["CalledArn"]["Value"] == {"Ref": "Endpoint"}
    assert found.template()["Resources"].items() <= template["Resources"].items()


def test_a_caller_in_another_stack_imports_what_it_calls() -> None:
    """The CDK exports ARN and name across stacks; the resources do not change for it."""
    found = blueprint(SPECS["twin"], SYMBOLIC)
    template, calling = app_with_a_caller(found, apart=True)
    assert template["Resources"] == found.template()["Resources"]
    assert "Fn::ImportValue" in calling["Outputs"]["Called"]["Value"]


def test_the_stack_is_for_the_place_of_its_blueprint() -> None:
    """The region always; the account where one was named. Nothing of a bootstrap is needed."""
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node

    from infra.stack import LlmEndpointStack  # noqa: PLC0415 - as above

    for place, account in ((SYMBOLIC, "unknown-account"), (LITERAL, ACCOUNT)):
        app = cdk.App(analytics_reporting=False)
        LlmEndpointStack(app, "Llm", blueprint(SPECS["twin"], place))
        artifact = app.synth().get_stack_by_name("Llm")
        assert artifact.environment.account == account
        assert artifact.environment.region == REGION
        assert artifact.template["Rules"].keys() == {"Region"}
        assert "BootstrapVersion" not in artifact.template.get("Parameters", {})


def test_the_app_of_the_how_to_runs(tmp_path: Path) -> None:
    """As it stands on the page, in a process of its own: the function may call the endpoint of the other stack."""
    page = (ROOT / "docs" / "how-to" / "cloudformation-and-cdk.md").read_text("utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path), "CDK_VALIDATION": "false"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True)
    resources = json.loads((tmp_path / "Service.template.json").read_text("utf-8"))["Resources"]
    policy = next(each for each in resources.values() if each["Type"] == "AWS::IAM::Policy")
    assert "sagemaker:InvokeEndpoint" in policy["Properties"]["PolicyDocument"]["Statement"][0]["Action"]
