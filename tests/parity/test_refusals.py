"""Mistakes that no linter of templates sees (`test_they_are_invisible`): our spec refuses each, or cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from cloudformation_validate import CompositeEngine
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from llm_deploy.spec import DeploymentSpec, ResolvedSpec
from tests.parity.examples import SPECS, SYMBOLIC, blueprint
from tests.parity.test_linters import said_by_aws, said_by_cfn_lint
from tests.specs import resolved, specs, twin

Template = dict[str, Any]
SCALED = {"min_copies": 1, "max_copies": 2}

pytestmark = pytest.mark.xdist_group("cdk")


def of(template: Template, logical_id: str) -> dict[str, Any]:
    """A resource's properties."""
    found: dict[str, Any] = template["Resources"][logical_id]["Properties"]
    return found


def without_memory(template: Template) -> None:
    """SageMaker wants it; CloudFormation's schema does not."""
    del of(template, "InferenceComponent")["Specification"]["ComputeResourceRequirements"]["MinMemoryRequiredInMb"]


def bounds_the_wrong_way_round(template: Template) -> None:
    """Fewest above most."""
    of(template, "ScalableTarget").update(MinCapacity=3, MaxCapacity=2)


def an_arn_for_a_name(template: Template) -> None:
    """`Ref` of an endpoint config is its ARN."""
    of(template, "Endpoint")["EndpointConfigName"] = {"Ref": "EndpointConfig"}
    template["Resources"]["Endpoint"].pop("DependsOn")


def a_policy_without_its_configuration(template: Template) -> None:
    """The type says target tracking, and no target is given."""
    del of(template, "ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]


def no_role(template: Template) -> None:
    """Neither the model nor the config has one."""
    del of(template, "Model")["ExecutionRoleArn"]
    del of(template, "EndpointConfig")["ExecutionRoleArn"]


def a_number_in_the_environment(template: Template) -> None:
    """A container's variables are texts."""
    of(template, "Model")["PrimaryContainer"]["Environment"]["SM_NUM_GPUS"] = 1


INVISIBLE: tuple[Callable[[Template], None], ...] = (
    without_memory,
    bounds_the_wrong_way_round,
    an_arn_for_a_name,
    a_policy_without_its_configuration,
    no_role,
    a_number_in_the_environment,
)


@pytest.mark.parametrize("mistake", INVISIBLE, ids=lambda mistake: mistake.__name__)
def test_they_are_invisible(mistake: Callable[[Template], None]) -> None:
    """No linter says a word, so it is for the spec to refuse; when one learns it, take the mistake off this list."""
    template = blueprint(SPECS["twin"], SYMBOLIC).template()
    mistake(template)
    assert said_by_cfn_lint(template) == []
    assert said_by_aws(CompositeEngine(), template) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resources": {"memory_mib": None}}, "memory_mib"),
        ({"resources": {"memory_mib": 0}}, "memory_mib"),
        ({"autoscaling": {"min_copies": 3, "max_copies": 2}}, "min_copies"),
        (
            {"endpoint_config_name": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/a"},
            "endpoint_config_name",
        ),
        ({"autoscaling": {**SCALED, "target": None}}, "target"),
        ({"autoscaling": {**SCALED, "metric": "NoSuchMetric"}}, "metric"),
        ({"execution_role_arn": ""}, "execution_role_arn"),
        ({"execution_role_arn": "my-role"}, "execution_role_arn"),
        ({"environment": {"A": {"b": "c"}}}, "environment"),
        ({"environment": {"A": ["b"]}}, "environment"),
        ({"environment": {"A": None}}, "environment"),
    ],
)
def test_the_spec_refuses_them(changes: Mapping[str, Any], field: str) -> None:
    """With the field's name, before anything is rendered."""
    with pytest.raises(ValidationError, match=field):
        twin(**changes)


def test_a_deployment_without_a_role_cannot_be_resolved() -> None:
    """An empty role would reach AWS as a missing one."""
    with pytest.raises(ValidationError, match="execution_role_arn"):
        ResolvedSpec.model_validate(resolved(twin()).model_dump() | {"execution_role_arn": ""})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spec=specs())
def test_no_spec_renders_one_of_them(spec: DeploymentSpec) -> None:
    """In any template: memory, role and configuration are there, bounds are in order, names and variables are texts."""
    template = blueprint(spec, SYMBOLIC, with_roles=False, role=None).template()
    assert of(template, "Model")["ExecutionRoleArn"]
    assert all(isinstance(value, str) for value in of(template, "Model")["PrimaryContainer"]["Environment"].values())
    assert all(isinstance(name, str) for name in names_in(template["Resources"]))
    if "InferenceComponent" in template["Resources"]:
        assert of(template, "EndpointConfig")["ExecutionRoleArn"]
        specification = of(template, "InferenceComponent")["Specification"]
        assert specification["ComputeResourceRequirements"]["MinMemoryRequiredInMb"] >= 128
    if "ScalingPolicy" in template["Resources"]:
        target = of(template, "ScalableTarget")
        assert target["MinCapacity"] <= target["MaxCapacity"]
        assert of(template, "ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] > 0


def names_in(value: object) -> Iterator[object]:
    """Every member whose name ends with `Name`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key.endswith("Name"):
                yield item
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)
