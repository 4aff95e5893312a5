"""Every limit of a single field: what it takes and what it refuses."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from llm_deploy.resource import content_name
from llm_deploy.spec import DeploymentSpec, EndpointType, HubModel, Instance, S3Model
from llm_deploy.spec.fields import NAME_PATTERN

AWS_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""SageMaker's own pattern of names."""


def spec(**fields: object) -> DeploymentSpec:
    return DeploymentSpec.model_validate({"name": "twin", "model": "owner/name", **fields})


RIGHT: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "a" * 54},
    {"name": "a--b"},
    {"inference_component_name": "a" * 63},
    {"variant_name": "AllTraffic"},
    {"model": "owner/name@main"},
    {"model": {"id": "owner/name", "revision": "0" * 40}},
    {"model": "s3://bucket/a/b/"},
    {"model": "s3://bucket/"},
    {"model": {"s3_uri": "s3://bucket/a/", "accept_eula": True}},
    {"instance": "ml.p6-b200.48xlarge"},
    {"instance": {"type": "ml.p3.2xlarge", "volume_size_gib": 512}},
    {"instance": {"min_count": 0, "max_count": 1}},
    {"timeouts": {"model_download_s": 60, "container_startup_s": 3600}},
    {"resources": {"memory_mib": 128, "num_cpus": 0.25}},
    {"image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine:1"},
    {"execution_role_arn": "arn:aws-us-gov:iam::123456789012:role/service-role/x"},
    {"kms_key_id": "alias/mine"},
    {"network": {"subnets": ["subnet-1"] * 16, "security_group_ids": ["sg-1"] * 5}},
    {"environment": {"A": 1, "B": True, "C": 0.5, "D": ""}},
    {"limits": {"max_input_tokens": 131071, "max_total_tokens": 131072}},
    {"engine_version": "huggingface-vllm:0.29.0"},
]
WRONG: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "a" * 55},
    {"name": "a_b"},
    {"name": "a.b"},
    {"name": "-a"},
    {"name": "a-"},
    {"name": "a\n"},
    {"name": "ä"},
    {"name": 5},
    {"inference_component_name": "a" * 64},
    {"endpoint_config_name": "a" * 55},
    {"variant_name": "All Traffic"},
    {"model": "name"},
    {"model": "owner/name@"},
    {"model": "https://huggingface.co/owner/name"},
    {"model": "../name"},
    {"model": "s3://bucket/a"},
    {"model": "s3://bucket/a//"},
    {"model": "s3://B/a/"},
    {"model": "s3://bucket/" + "a" * 1012 + "/"},
    {"model": {"id": "owner/name", "s3_uri": "s3://bucket/a/"}},
    {"model": {}},
    {"instance": "g5.xlarge"},
    {"instance": {"initial_count": 0}},
    {"instance": {"min_count": -1}},
    {"instance": {"max_count": 0}},
    {"instance": {"volume_size_gib": 0}},
    {"instance": {"volume_size_gib": 513}},
    {"timeouts": {"model_download_s": 59}},
    {"timeouts": {"container_startup_s": 3601}},
    {"resources": {"copies": 0}},
    {"resources": {"num_accelerators": 0}},
    {"resources": {"memory_mib": 127}},
    {"resources": {"num_cpus": 0.1}},
    {"image": "a" * 256},
    {"image": "my image"},
    {"execution_role_arn": "my-role"},
    {"network": {"subnets": ["subnet-1"] * 17, "security_group_ids": ["sg-1"]}},
    {"network": {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"] * 6}},
    {"network": {"subnets": ["vpc-1"], "security_group_ids": ["sg-1"]}},
    {"autoscaling": {"min_copies": -1}},
    {"autoscaling": {"target": 0}},
    {"autoscaling": {"target": float("nan")}},
    {"autoscaling": {"scale_in_cooldown_s": -1}},
    {"generation": {"top_p": 0}},
    {"generation": {"temperature": -1}},
    {"routing_strategy": "FASTEST"},
    {"engine": "triton"},
    {"endpoint_type": "serverless"},
    {"nmae": "x"},
    {"resources": {"memory": 1024}},
]


@pytest.mark.parametrize("fields", RIGHT, ids=str)
def test_a_value_inside_its_limits_is_taken(fields: dict[str, Any]) -> None:
    """A limit is where AWS puts it, not below."""
    assert spec(**fields)


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: str(fields)[:60])
def test_a_value_outside_its_limits_is_refused(fields: dict[str, Any]) -> None:
    """What AWS would refuse minutes later is refused at once."""
    with pytest.raises(ValidationError):
        spec(**fields)


@given(st.from_regex(NAME_PATTERN.removesuffix("$") + r"\Z", fullmatch=True).filter(lambda name: len(name) <= 54))
def test_every_name_we_take_is_still_a_name_with_its_hash(name: str) -> None:
    """A content-hashed name never breaks AWS's pattern or its 63 characters."""
    assert AWS_NAME.fullmatch(content_name(spec(name=name).name, {"any": "document"}))


@given(st.text(max_size=70))
def test_we_take_exactly_the_names_of_aws_that_leave_room_for_the_hash(text: str) -> None:
    """Our rule for names is AWS's, less the hash's nine characters."""
    allowed = bool(AWS_NAME.fullmatch(text)) and len(text) <= 54
    try:
        spec(name=text)
    except ValidationError:
        assert not allowed
    else:
        assert allowed


def test_short_forms_mean_the_long_ones() -> None:
    """What is written for short is the same document."""
    assert spec(model="owner/name@abc").model == HubModel(id="owner/name", revision="abc")
    assert spec(model="s3://bucket/a/").model == S3Model(s3_uri="s3://bucket/a/")
    assert spec(instance="ml.g6.xlarge").instance == Instance(type="ml.g6.xlarge")
    assert spec(environment={"A": 1, "B": True}).environment == {"A": "1", "B": "true"}


class SdkEndpointType(Enum):
    """As in sagemaker.enums (v2) and sagemaker.core.enums (v3)."""

    MODEL_BASED = "ModelBased"
    INFERENCE_COMPONENT_BASED = "InferenceComponentBased"


@pytest.mark.row("T3")
@pytest.mark.parametrize(
    "value",
    [
        "inference-component",
        "InferenceComponentBased",
        SdkEndpointType.INFERENCE_COMPONENT_BASED,
        EndpointType.INFERENCE_COMPONENT_BASED,
    ],
)
def test_endpoint_types_are_taken_in_anybodys_spelling(value: object) -> None:
    """Ours, the SDK's enum by value, its value, and the command line's word."""
    assert EndpointType.from_any(value) is EndpointType.INFERENCE_COMPONENT_BASED
    assert spec(endpoint_type=value).endpoint_type is EndpointType.INFERENCE_COMPONENT_BASED


def test_a_document_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(ValidationError):
        spec().name = "other"  # type: ignore[misc]


def test_the_configuration_is_named_after_the_deployment_unless_said_otherwise() -> None:
    """SAGEMAKER_ENDPOINT_CONFIG_INFERENCE has a field, and a default."""
    assert spec().endpoint_config_base == "twin"
    assert spec(endpoint_config_name="other").endpoint_config_base == "other"


def test_a_token_that_is_allowed_is_still_not_shown() -> None:
    """A spec ends up in logs and tracebacks; its environment does not take the token there."""
    token = "hf_" + "A1b2" * 9
    found = spec(allow_token_in_environment=True, environment={"HF_TOKEN": token, "OTHER": token, "DTYPE": "float16"})
    for text in (repr(found), str(found), f"{found}"):
        assert token not in text
        assert "float16" in text
    assert found.environment["HF_TOKEN"] == token


def test_scaling_to_zero_is_refused_until_something_wakes_it() -> None:
    """Target tracking cannot leave zero: without a wake-up rule the endpoint would stay there."""
    with pytest.raises(ValidationError, match="min_copies"):
        DeploymentSpec.model_validate({"name": "t", "model": "a/b", "autoscaling": {"min_copies": 0}})
