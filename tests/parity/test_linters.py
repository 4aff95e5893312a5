"""What AWS's own validator, cfn-lint and cdk-nag say of our templates: nothing, or what has a reason in `infra`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cfnlint.api
import pytest
from cfnlint.config import ManualArgs
from cloudformation_validate import CompositeEngine, Severity, TemplateContent, ValidateConfig
from hypothesis import HealthCheck, given, settings

from infra.node import use_node
from llm_deploy.render import cloudformation
from llm_deploy.spec import DeploymentSpec
from tests.parity.examples import LITERAL, REGION, SPECS, SYMBOLIC, blueprint, with_a_user
from tests.specs import specs

MADE_UP = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
NAMED_ON_PURPOSE = {"W9002", "W9013"}
"""A hard-coded ARN, a hard-coded account."""

pytestmark = pytest.mark.xdist_group("cdk")


@pytest.fixture(scope="session")
def engine() -> CompositeEngine:
    """AWS's validator; its rules take half a second to compile."""
    return CompositeEngine()


def said_by_cfn_lint(template: Mapping[str, Any]) -> list[str]:
    """Errors and warnings."""
    matches = cfnlint.api.lint(
        cloudformation.to_json(template), config=ManualArgs(regions=[REGION], include_checks=["E", "W"])
    )
    return [f"{match.rule.id} line {match.linenumber}: {match.message}" for match in matches]


def said_by_aws(engine: CompositeEngine, template: Mapping[str, Any]) -> list[str]:
    """Errors and warnings in strict mode, where what cannot be decided is a finding too."""
    content = TemplateContent(content=cloudformation.to_yaml(template))
    report = engine.validate_template(content, ValidateConfig(strict=True, severity_level=Severity.WARN))
    return [f"{found.rule_id} {found.property_path}: {found.message}" for found in report.diagnostics]


@pytest.mark.row("T3")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_no_linter_finds_anything(engine: CompositeEngine, spec: DeploymentSpec) -> None:
    """Schemas, references, redundancies: no error and no warning, with roles and a user or with neither."""
    for found in (with_a_user(blueprint(spec, SYMBOLIC)), blueprint(spec, SYMBOLIC, with_roles=False, role=None)):
        assert said_by_cfn_lint(found.template()) == []
        assert said_by_aws(engine, found.template()) == []


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_an_account_that_the_user_names_is_all_that_a_linter_minds(
    engine: CompositeEngine, spec: DeploymentSpec
) -> None:
    """With `--account`, or a role by its ARN, both stand in the template, as was asked for; nothing else is said."""
    for found in (with_a_user(blueprint(spec, LITERAL)), blueprint(spec, SYMBOLIC, with_roles=False)):
        assert said_by_cfn_lint(found.template()) == []
        assert {text.split()[0] for text in said_by_aws(engine, found.template())} <= NAMED_ON_PURPOSE


@MADE_UP
@given(spec=specs())
def test_no_linter_finds_anything_in_any_spec(engine: CompositeEngine, spec: DeploymentSpec) -> None:
    """For whatever the documents, the rules and the catalogue accept."""
    template = blueprint(spec, SYMBOLIC, with_roles=False, role=None).template()
    assert said_by_cfn_lint(template) == []
    assert said_by_aws(engine, template) == []


def test_the_linters_are_awake(engine: CompositeEngine) -> None:
    """Both see a mistake, so that their silence means something."""
    template = blueprint(SPECS["twin"], SYMBOLIC).template()
    template["Resources"]["EndpointConfig"]["Properties"]["ProductionVariants"][0]["InstanceTyp"] = "x"
    assert said_by_cfn_lint(template)
    assert said_by_aws(engine, template)


@pytest.mark.row("T1")
@pytest.mark.parametrize("spec", [SPECS["twin"], SPECS["everything"]], ids=["twin", "everything"])
def test_every_finding_of_cdk_nag_has_a_reason(
    spec: DeploymentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AwsSolutions passes; without the reasons of `infra/findings.yaml` it does not."""
    monkeypatch.setenv("CDK_VALIDATION", "false")
    nag(spec, tmp_path / "acknowledged")
    monkeypatch.setattr("infra.findings.RULE", "Another")
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        nag(spec, tmp_path / "not")
    assert "AwsSolutions-IAM5" in (tmp_path / "not" / "validation-report.json").read_text("utf-8")


def nag(spec: DeploymentSpec, folder: Path) -> None:
    """Judge a stack with its roles by cdk-nag. Raises RuntimeError when it finds anything."""
    use_node()
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415 - as above

    from infra.stack import LlmEndpointStack  # noqa: PLC0415 - as above

    app = cdk.App(outdir=str(folder), analytics_reporting=False)
    LlmEndpointStack(app, "Nagged", blueprint(spec, SYMBOLIC))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
