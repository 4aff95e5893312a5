"""What an endpoint leaves in the services beside it: logs, metrics, scalable targets; and that it obeys the quota."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functional.local.conftest import Running, wait_until

NAME, VARIANT = "watched", "AllTraffic"
IMAGE = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"
SCALABLE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{NAME}/variant/{VARIANT}",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


def new_endpoint(running: Running, name: str, instance_type: str) -> None:
    sagemaker = running.client("sagemaker")
    container = {"Image": IMAGE, "Environment": {"HF_MODEL_ID": "HuggingFaceTB/SmolLM2-135M-Instruct"}}
    role = running.cloud.environment()["AWS_ARN_ROLE"]
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": instance_type,
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


@pytest.fixture(scope="module")
def watched(running: Running) -> Iterator[Running]:
    """A cloud with one endpoint in service, which has answered one request and refused another."""
    new_endpoint(running, NAME, "ml.g5.xlarge")
    running.client("sagemaker").get_waiter("endpoint_in_service").wait(
        EndpointName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    runtime = running.client("sagemaker-runtime")
    good = json.dumps({"inputs": "1, 2, 3,", "parameters": {"max_new_tokens": 4}})
    runtime.invoke_endpoint(EndpointName=NAME, ContentType="application/json", Body=good)
    with pytest.raises(ClientError):
        runtime.invoke_endpoint(EndpointName=NAME, ContentType="application/json", Body="no JSON")
    yield running
    running.client("sagemaker").delete_endpoint(EndpointName=NAME)


@pytest.mark.row("T13")
def test_the_containers_lines_are_in_the_endpoints_group(watched: Running) -> None:
    """One group for the endpoint, a stream for each container, lines in it while it runs."""
    logs = watched.client("logs")
    group = f"/aws/sagemaker/Endpoints/{NAME}"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"].startswith(f"{VARIANT}/i-")
    assert wait_until(lambda: bool(logs.filter_log_events(logGroupName=group)["events"]))


@pytest.mark.row("T13")
def test_invocations_latency_and_errors_are_counted(watched: Running) -> None:
    """One place for throughput, latency and errors: CloudWatch, under the names that AWS uses."""
    found = {name: total(watched, name) for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")}
    assert found["Invocations"] == 2
    assert found["Invocation4XXErrors"] == 1
    assert found["Invocation5XXErrors"] in {None, 0}
    assert (total(watched, "ModelLatency") or 0) > 0


def total(running: Running, name: str) -> float | None:
    now = datetime.now(UTC)
    dimensions = [{"Name": "EndpointName", "Value": NAME}, {"Name": "VariantName", "Value": VARIANT}]
    stat: dict[str, Any] = {
        "Metric": {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": dimensions},
        "Period": 3600,
        "Stat": "Sum",
    }
    answer = running.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "q", "MetricStat": stat}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
    )
    values = answer["MetricDataResults"][0]["Values"]
    return sum(values) if values else None


@pytest.mark.row("T9")
def test_a_real_endpoints_variant_can_be_registered(watched: Running) -> None:
    """Target and policy for what SageMaker has; nothing for what it has not."""
    scaling = watched.client("application-autoscaling")
    scaling.register_scalable_target(**SCALABLE, MinCapacity=1, MaxCapacity=2)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    answer = scaling.put_scaling_policy(
        **SCALABLE,
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 5.0, "PredefinedMetricSpecification": metric},
    )
    assert len(answer["Alarms"]) == 2
    scaling.deregister_scalable_target(**SCALABLE)
    assert watched.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    missing = SCALABLE | {"ResourceId": f"endpoint/{NAME}/variant/Other"}
    with pytest.raises(ClientError, match="ValidationException"):
        scaling.register_scalable_target(**missing, MinCapacity=1, MaxCapacity=2)


def test_a_quota_of_zero_is_enforced(watched: Running) -> None:
    """The same name in Service Quotas and in SageMaker's refusal."""
    quotas = watched.client("service-quotas")
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    codes = {quota["QuotaName"]: quota["QuotaCode"] for page in pages for quota in page["Quotas"]}
    name = "ml.g6.xlarge for endpoint usage"
    quotas.request_service_quota_increase(ServiceCode="sagemaker", QuotaCode=codes[name], DesiredValue=0)
    with pytest.raises(ClientError, match=name) as refused:
        new_endpoint(watched, "too-much", "ml.g6.xlarge")
    assert refused.value.response["Error"]["Code"] == "ResourceLimitExceeded"


def test_calls_are_quick(watched: Running) -> None:
    """No 40 ms of delayed acknowledgements on any path; the best of many, because other tests run beside this one."""
    for service, call in (("logs", "describe_log_groups"), ("iam", "list_roles"), ("sagemaker", "list_endpoints")):
        ask = getattr(watched.client(service), call)
        ask()
        taken_s = []
        for _ in range(20):
            began = time.perf_counter()
            ask()
            taken_s.append(time.perf_counter() - began)
        assert min(taken_s) < 0.03, service
