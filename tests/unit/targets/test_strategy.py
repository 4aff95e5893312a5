"""The strategy: what a spec becomes, and that AWS's own parameter validation accepts all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings

from llm_deploy import catalog
from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import compare, decide
from llm_deploy.errors import ConflictError
from llm_deploy.resource import (
    ACCOUNT_OF_STACK,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    PARTITION_OF_STACK,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_DEPLOYMENT,
    Resource,
    tag_list,
)
from llm_deploy.spec import DeploymentSpec, EndpointType
from llm_deploy.targets.sagemaker.strategy import resources
from tests.specs import PLACE, resolved, specs, twin

GOLDEN = Path(__file__).parents[2] / "golden"
OPERATIONS = {
    MODEL: ("sagemaker", "CreateModel"),
    ENDPOINT_CONFIG: ("sagemaker", "CreateEndpointConfig"),
    ENDPOINT: ("sagemaker", "CreateEndpoint"),
    INFERENCE_COMPONENT: ("sagemaker", "CreateInferenceComponent"),
    SCALABLE_TARGET: ("application-autoscaling", "RegisterScalableTarget"),
    SCALING_POLICY: ("application-autoscaling", "PutScalingPolicy"),
}
SESSION = botocore.session.get_session()
MODELS = {service: SESSION.get_service_model(service) for service in ("sagemaker", "application-autoscaling")}


def request_of(resource: Resource) -> dict[str, object]:
    """What a manager sends to create a resource."""
    sent = {key: value for key, value in resource.properties.items() if key != "RetainAllVariantProperties"}
    if not resource.tags:
        return sent
    return sent | {"Tags": dict(resource.tags) if resource.kind == SCALABLE_TARGET else tag_list(resource.tags)}


def named(spec: DeploymentSpec) -> dict[str, Resource]:
    return {resource.id: resource for resource in resources(resolved(spec))}


@pytest.mark.row("T3")
@pytest.mark.row("T4")
@pytest.mark.parametrize("endpoint_type", list(EndpointType), ids=["model", "inference-component"])
def test_the_twins_documents_are_pinned(endpoint_type: EndpointType) -> None:
    """What is sent for the Twin is a golden file: a change of it is seen in review, not at AWS."""
    found = {resource.id: request_of(resource) for resource in resources(resolved(twin(endpoint_type=endpoint_type)))}
    path = GOLDEN / f"twin_{endpoint_type.name.lower()}.json"
    assert found == json.loads(path.read_text("utf-8"))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spec=specs())
def test_every_accepted_spec_makes_requests_that_botocore_accepts(spec: DeploymentSpec) -> None:
    """Types, required members and minimums of every request hold, for any spec that passes our own rules."""
    for resource in resources(resolved(spec)):
        service, operation = OPERATIONS[resource.kind]
        shape = MODELS[service].operation_model(operation).input_shape
        report = ParamValidator().validate(request_of(resource), shape)
        assert not report.has_errors(), report.generate_report()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spec=specs())
def test_names_follow_from_content_and_fit_aws(spec: DeploymentSpec) -> None:
    """Same spec, same names; no name longer than 63; every object of SageMaker carries the ownership tag."""
    first, second = resources(resolved(spec)), resources(resolved(spec))
    assert [resource.name for resource in first] == [resource.name for resource in second]
    for resource in first:
        if resource.kind.startswith("AWS::SageMaker"):
            assert len(resource.name) <= 63
            assert resource.name.startswith(spec.name) or resource.kind == INFERENCE_COMPONENT
            assert resource.tags[TAG_DEPLOYMENT] == spec.name


def test_another_model_is_another_name_and_other_tags_are_not() -> None:
    """The content hash is taken over the document without tags."""
    before, tagged, other = named(twin()), named(twin(tags={"team": "a"})), named(twin(model="org/other"))
    assert before["Model"].name == tagged["Model"].name
    assert before["Model"].name != other["Model"].name


@pytest.mark.parametrize("endpoint_type", list(EndpointType), ids=["model", "inference-component"])
def test_names_are_the_same_in_every_account_and_differ_by_role(endpoint_type: EndpointType) -> None:
    """A template that knows no account has the names of a deployment in one; another role is another object."""

    def names(role: str) -> list[str]:
        return [each.name for each in resources(catalog.resolve(twin(endpoint_type=endpoint_type), PLACE, role))]

    here = names("arn:aws:iam::123456789012:role/path/one")
    assert here == names("arn:aws-cn:iam::210987654321:role/path/one")
    assert here == names(f"arn:{PARTITION_OF_STACK}:iam::{ACCOUNT_OF_STACK}:role/path/one")
    other = names("arn:aws:iam::123456789012:role/one")
    assert here[0] != other[0]
    assert here[1] != other[1]


@pytest.mark.row("T3")
def test_only_the_component_based_config_carries_the_role_and_no_model() -> None:
    """AWS wants ExecutionRoleArn and no ModelName on a config for inference components, and the reverse otherwise."""
    component = named(twin())["EndpointConfig"].properties
    model = named(twin(endpoint_type="model"))["EndpointConfig"].properties
    assert "ExecutionRoleArn" in component
    assert "ModelName" not in component["ProductionVariants"][0]
    assert "ExecutionRoleArn" not in model
    assert model["ProductionVariants"][0]["ModelName"].startswith("twin-")


@pytest.mark.row("T9")
def test_autoscaling_registers_the_copies_and_tracks_the_seeds_metric() -> None:
    """Resource id, namespace, dimension, bounds, metric, target and cooldowns as the seed lists them."""
    found = named(twin(autoscaling={"min_copies": 1, "max_copies": 4, "target": 5}))
    target, policy = found["ScalableTarget"].properties, found["ScalingPolicy"].properties
    assert target["ResourceId"] == "inference-component/twin"
    assert target["ScalableDimension"] == "sagemaker:inference-component:DesiredCopyCount"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerInferenceComponentInvocationsPerCopy"
    assert (tracking["ScaleInCooldown"], tracking["ScaleOutCooldown"]) == (300, 300)


def test_copies_that_autoscaling_chose_are_no_difference() -> None:
    """A redeploy must not undo what autoscaling did; without autoscaling the number of copies is ours."""
    scaled = named(twin(autoscaling={"max_copies": 4}))["InferenceComponent"]
    fixed = named(twin())["InferenceComponent"]
    for resource, expected in ((scaled, 0), (fixed, 1)):
        properties = {**resource.properties, "RuntimeConfig": {"CopyCount": 3}}
        assert len(compare(resource, Found(resource.kind, resource.name, properties, resource.tags))) == expected


def test_an_update_of_an_autoscaled_endpoint_keeps_its_instance_count() -> None:
    """AWS resets the count to the initial one unless RetainAllVariantProperties is sent."""
    assert named(twin(autoscaling={"max_copies": 2}))["Endpoint"].properties["RetainAllVariantProperties"] is True
    assert "RetainAllVariantProperties" not in named(twin())["Endpoint"].properties


def test_weights_in_s3_need_no_token_and_no_download_from_the_hub() -> None:
    """An S3 prefix becomes an uncompressed ModelDataSource, mounted where the engine is told to look."""
    container = named(twin(model="s3://bucket/models/m/"))["Model"].properties["PrimaryContainer"]
    assert container["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": "s3://bucket/models/m/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }
    assert container["Environment"]["HF_MODEL_ID"] == "/opt/ml/model"


def test_a_long_prefix_still_fits_a_tag() -> None:
    """An S3 URI may be longer than a tag's value and hold signs that tags refuse."""
    tag = named(twin(model="s3://bucket/" + "folder(1)/" * 40))["Model"].tags["llmdeploy:model"]
    assert len(tag) == 256
    assert tag.endswith("folder_1_/")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"endpoint_type": "model"}, "endpoint-type"),
        ({"network": {"subnets": ["subnet-1a2b3c4d"], "security_group_ids": ["sg-1a2b3c4d"]}}, "network"),
        ({"variant_name": "Other"}, "VariantName"),
    ],
)
def test_what_aws_cannot_change_in_place_is_refused_before_anything_changes(change: dict[str, Any], says: str) -> None:
    """Endpoint type, VPC and a component's variant: refused with the ways out, not done by silent deletion."""
    before, after = named(twin()), named(twin(**change))
    name = "InferenceComponent" if "variant_name" in change else "Endpoint"
    old = before[name]
    found = Found(old.kind, old.name, old.properties, old.tags, owned_by="twin")
    with pytest.raises(ConflictError, match=says):
        decide(after[name], found, "twin")


def test_a_property_that_a_spec_drops_is_a_difference() -> None:
    """What AWS describes may hold defaults and cannot tell; the content's hash in a tag does."""
    old = named(twin(resources={"max_memory_mib": 4096}))["InferenceComponent"]
    found = Found(old.kind, old.name, old.properties, old.tags, owned_by="twin")
    assert [item.path for item in compare(named(twin())["InferenceComponent"], found)] == ["Tags.llmdeploy:content"]
