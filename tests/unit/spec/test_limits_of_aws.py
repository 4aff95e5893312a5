"""Our limits against AWS's own, as the installed botocore documents them (it does not enforce them)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, get_args

import botocore.session
import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter, ValidationError

from llm_deploy.spec import DeploymentSpec, Instance, Network, Resources, Timeouts, Update, fields, rules, updates


@cache
def shape(service: str, path: str) -> Any:  # noqa: ANN401 - botocore has no types
    """A shape by its name, or a member of it: `ProductionVariant.VolumeSizeInGB`."""
    name, *members = path.split(".")
    found = botocore.session.get_session().get_service_model(service).shape_for(name)
    for member in members:
        found = found.members[member]
    return found


def sagemaker(path: str) -> dict[str, Any]:
    return dict(shape("sagemaker", path).metadata)


@cache
def adapter(kind: Any) -> TypeAdapter[str]:  # noqa: ANN401 - an annotated type
    return TypeAdapter(kind)


def bounds(document: type[Any], field: str) -> dict[str, Any]:
    """Lowest and highest value of a field, from its schema."""
    schema = document.model_json_schema()["properties"][field]
    schema = next((part for part in schema.get("anyOf", []) if part.get("type") != "null"), schema)
    return {key: schema[word] for key, word in WORDS if word in schema}


WORDS = (("min", "minimum"), ("max", "maximum"), ("max", "maxItems"))

LIMITS: list[tuple[type[Any], str, str]] = [
    (Instance, "volume_size_gib", "ProductionVariant.VolumeSizeInGB"),
    (Timeouts, "model_download_s", "ProductionVariant.ModelDataDownloadTimeoutInSeconds"),
    (Timeouts, "container_startup_s", "ProductionVariant.ContainerStartupHealthCheckTimeoutInSeconds"),
    (Timeouts, "model_download_s", "InferenceComponentStartupParameters.ModelDataDownloadTimeoutInSeconds"),
    (Instance, "min_count", "ProductionVariantManagedInstanceScaling.MinInstanceCount"),
    (Instance, "max_count", "ProductionVariantManagedInstanceScaling.MaxInstanceCount"),
    (Resources, "memory_mib", "InferenceComponentComputeResourceRequirements.MinMemoryRequiredInMb"),
    (Resources, "num_cpus", "InferenceComponentComputeResourceRequirements.NumberOfCpuCoresRequired"),
    (Resources, "num_accelerators", "InferenceComponentComputeResourceRequirements.NumberOfAcceleratorDevicesRequired"),
    (Network, "security_group_ids", "VpcConfig.SecurityGroupIds"),
    (Network, "subnets", "VpcConfig.Subnets"),
    (Update, "wait_s", "TrafficRoutingConfig.WaitIntervalInSeconds"),
    (Update, "wait_s", "InferenceComponentRollingUpdatePolicy.WaitIntervalInSeconds"),
    (Update, "termination_wait_s", "BlueGreenUpdatePolicy.TerminationWaitInSeconds"),
    (Update, "max_execution_s", "BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds"),
    (Update, "max_execution_s", "RollingUpdatePolicy.MaximumExecutionTimeoutInSeconds"),
]


@pytest.mark.parametrize(("document", "field", "path"), LIMITS, ids=[path for _, _, path in LIMITS])
def test_every_bound_of_aws_is_ours(document: type[Any], field: str, path: str) -> None:
    """Where AWS gives a bound we have the same; where it gives none, ours only keeps nonsense out."""
    theirs = {key: value for key, value in sagemaker(path).items() if key in {"min", "max"}}
    ours = bounds(document, field)
    if field in {"security_group_ids", "subnets"}:
        theirs.pop("min")  # none at all means no VPC; the rule for both or none is checked elsewhere
    assert {key: ours[key] for key in theirs} == theirs


@pytest.mark.parametrize(
    ("ours", "path", "key"),
    [
        (rules.ENVIRONMENT_ENTRIES, "EnvironmentMap", "max"),
        (rules.ENVIRONMENT_ENTRY_BYTES, "EnvironmentKey", "max"),
        (rules.ENVIRONMENT_ENTRY_BYTES, "EnvironmentValue", "max"),
        (rules.TAG_KEY_LENGTH, "TagKey", "max"),
        (rules.TAG_VALUE_LENGTH, "TagValue", "max"),
        (rules.TAG_LIMIT, "TagList", "max"),
        (fields.NAME_LENGTH, "EndpointName", "max"),
        (fields.NAME_LENGTH, "InferenceComponentName", "max"),
    ],
)
def test_every_length_of_aws_is_ours(ours: int, path: str, key: str) -> None:
    """A change at AWS shows when botocore is updated."""
    assert sagemaker(path)[key] == ours


PATTERNS: list[tuple[Any, str]] = [
    (fields.Name, "EndpointName"),
    (fields.Name, "InferenceComponentName"),
    (fields.Name, "VariantName"),
    (fields.BaseName, "ModelName"),
    (fields.BaseName, "EndpointConfigName"),
    (fields.ImageUri, "ContainerImage"),
    (fields.RoleArn, "RoleArn"),
    (fields.KmsKey, "KmsKeyId"),
    (fields.S3Prefix, "S3ModelUri"),
    (fields.SecurityGroup, "SecurityGroupId"),
    (fields.Subnet, "SubnetId"),
]
PIECES = [
    "a",
    "Z",
    "9",
    "-",
    "_",
    ".",
    "/",
    ":",
    " ",
    "\n",
    "é",
    "arn:aws:iam::123456789012:role/",
    "s3://buck/",
    "sg-",
]
PIECES += ["subnet-", "alias/", "x" * 30]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=70)


@pytest.mark.parametrize(("ours", "path"), PATTERNS, ids=[path for _, path in PATTERNS])
@given(text=texts)
def test_what_we_take_aws_takes(ours: Any, path: str, text: str) -> None:  # noqa: ANN401 - an annotated type
    """Nothing passes here that AWS's own pattern and length refuse."""
    theirs = sagemaker(path)
    try:
        adapter(ours).validate_python(text)
    except ValidationError:
        return
    assert re.fullmatch(theirs["pattern"], text)
    assert theirs.get("min", 0) <= len(text) <= theirs.get("max", len(text))


def test_metrics_and_routing_are_awss_words() -> None:
    """By the enums of the service models."""
    known = set(shape("application-autoscaling", "MetricType").enum)
    assert {*rules.METRICS_OF_COPIES.values(), *rules.METRICS_OF_INSTANCES.values()} <= known
    routing = get_args(DeploymentSpec.model_fields["routing_strategy"].annotation)
    assert set(routing) <= set(shape("sagemaker", "RoutingStrategy").enum)


def test_as_many_alarms_as_aws_takes() -> None:
    """AutoRollbackConfiguration takes ten."""
    assert sagemaker("AutoRollbackConfig.Alarms")["max"] == updates.MOST_ALARMS
