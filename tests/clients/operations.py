"""Calls of every operation that the local cloud has, in an order in which they make sense; each tour leaves nothing."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from tests.clients import hosting
from tests.clients.boto import Boto

NAME = {"EndpointName": "tour"}


def hosting_tour(boto: Boto) -> None:
    """SageMaker and its runtime: a model endpoint updated twice, and a component."""
    sagemaker, component = boto.sagemaker, {"InferenceComponentName": "tour"}
    arn = hosting.make_model(boto, "tour")
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    sagemaker.list_tags(ResourceArn=arn)
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["k"])
    sagemaker.describe_model(ModelName="tour")
    hosting.make_endpoint(boto, "tour", "tour")
    sagemaker.describe_endpoint_config(EndpointConfigName="tour")
    hosting.make_config(boto, "tour-2", "tour")
    sagemaker.update_endpoint(**NAME, EndpointConfigName="tour-2")
    sagemaker.describe_endpoint(**NAME)  # while it changes there is more to describe
    hosting.in_service(boto, "tour")
    one = [{"VariantName": "AllTraffic", "DesiredWeight": 0.5, "DesiredInstanceCount": 1}]
    sagemaker.update_endpoint_weights_and_capacities(**NAME, DesiredWeightsAndCapacities=one)
    hosting.in_service(boto, "tour")
    hosting.asked(boto, "tour")
    list(boto.sagemaker_runtime.invoke_endpoint_with_response_stream(**hosting.request("tour", stream=True))["Body"])
    asynchronous_tour(boto, "tour")
    hosting.make_endpoint(boto, "tour-c", None)
    hosting.make_component(boto, "tour", "tour-c", "tour")
    sagemaker.update_inference_component(**component, RuntimeConfig={"CopyCount": 1})
    hosting.component_rests(boto, "tour")
    sagemaker.update_inference_component_runtime_config(**component, DesiredRuntimeConfig={"CopyCount": 1})
    hosting.component_rests(boto, "tour")
    scaling_tour(boto)
    watching_tour(boto)
    hosting.remove(boto)


def asynchronous_tour(boto: Boto, model: str) -> None:
    """An endpoint that answers to S3; the bucket is gone afterwards."""
    bucket, name = {"Bucket": "tour-answers"}, {"EndpointName": "tour-async"}
    boto.s3.create_bucket(**bucket, CreateBucketConfiguration={"LocationConstraint": boto.variables["AWS_REGION"]})
    variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 1}
    output = {"S3OutputPath": "s3://tour-answers/out", "S3FailurePath": "s3://tour-answers/bad"}
    boto.sagemaker.create_endpoint_config(
        EndpointConfigName="tour-async", ProductionVariants=[variant], AsyncInferenceConfig={"OutputConfig": output}
    )
    boto.sagemaker.create_endpoint(**name, EndpointConfigName="tour-async")
    hosting.in_service(boto, "tour-async")
    assert boto.sagemaker.describe_endpoint(**name)["AsyncInferenceConfig"]["OutputConfig"] == output
    told = boto.sagemaker_runtime.invoke_endpoint_async(**name, Body=json.dumps(hosting.QUESTION).encode())
    key = {"Key": told["OutputLocation"].removeprefix("s3://tour-answers/")}
    boto.s3.get_waiter("object_exists").wait(**bucket, **key, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    boto.s3.delete_object(**bucket, **key)
    boto.s3.delete_bucket(**bucket)


def scaling_tour(boto: Boto) -> None:
    """Application Auto Scaling of the component."""
    scaling = boto.application_autoscaling
    what = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/tour",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    where = {"ServiceNamespace": "sagemaker"}
    arn = scaling.register_scalable_target(**what, MinCapacity=1, MaxCapacity=2)["ScalableTargetARN"]
    scaling.tag_resource(ResourceARN=arn, Tags={"k": "v"})
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"k": "v"}
    scaling.untag_resource(ResourceARN=arn, TagKeys=["k"])
    metric = {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"}
    tracking = {"TargetValue": 5.0, "PredefinedMetricSpecification": metric}
    policy = {"PolicyName": "tour", **what}
    scaling.put_scaling_policy(
        **policy, PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking
    )
    assert len(scaling.describe_scaling_policies(**where)["ScalingPolicies"][0]["Alarms"]) == 2
    action = {"ScheduledActionName": "tour", **what}
    scaling.put_scheduled_action(**action, Schedule="rate(1 day)", ScalableTargetAction={"MinCapacity": 1})
    assert scaling.describe_scheduled_actions(**where)["ScheduledActions"]
    assert scaling.describe_scalable_targets(**where)["ScalableTargets"]
    scaling.describe_scaling_activities(**where)
    scaling.delete_scheduled_action(**action)
    scaling.delete_scaling_policy(**policy)
    scaling.deregister_scalable_target(**what)


def watching_tour(boto: Boto) -> None:
    """CloudWatch: metrics of ours and of the endpoint, and alarms."""
    cloudwatch, now = boto.cloudwatch, datetime.now(UTC)
    window = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(hours=1)}
    cloudwatch.put_metric_data(Namespace="Tour", MetricData=[{"MetricName": "m", "Value": 2.5, "Timestamp": now}])
    assert cloudwatch.list_metrics(Namespace="Tour")["Metrics"]
    ours = {"Namespace": "Tour", "MetricName": "m"}
    points = cloudwatch.get_metric_statistics(**ours, **window, Period=60, Statistics=["Sum"])["Datapoints"]
    assert sum(point["Sum"] for point in points) == 2.5
    query = {"Id": "q", "MetricStat": {"Metric": ours, "Period": 60, "Stat": "p99"}}
    results = cloudwatch.get_metric_data(**window, MetricDataQueries=[query])["MetricDataResults"]
    assert results[0]["Values"] == [2.5]
    alarm = {"AlarmName": "tour", **ours, "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
    cloudwatch.put_metric_alarm(**alarm, ComparisonOperator="GreaterThanThreshold")
    arn = cloudwatch.describe_alarms(AlarmNames=["tour"])["MetricAlarms"][0]["AlarmArn"]
    assert cloudwatch.describe_alarms_for_metric(**ours)["MetricAlarms"]
    cloudwatch.set_alarm_state(AlarmName="tour", StateValue="ALARM", StateReason="tour")
    cloudwatch.disable_alarm_actions(AlarmNames=["tour"])
    cloudwatch.enable_alarm_actions(AlarmNames=["tour"])
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["k"])
    cloudwatch.delete_alarms(AlarmNames=["tour"])


def logs_tour(boto: Boto) -> None:
    """CloudWatch Logs: a group and a stream, written, read and filtered."""
    logs, group = boto.logs, {"logGroupName": "/tour"}
    stream = {**group, "logStreamName": "s"}
    logs.create_log_group(**group, tags={"a": "b"})
    logs.put_retention_policy(**group, retentionInDays=7)
    found = logs.describe_log_groups(logGroupNamePrefix="/tour")["logGroups"][0]
    assert found["retentionInDays"] == 7
    logs.delete_retention_policy(**group)
    arn = found.get("logGroupArn") or found["arn"].removesuffix(":*")
    logs.tag_resource(resourceArn=arn, tags={"k": "v"})
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b", "k": "v"}
    logs.untag_resource(resourceArn=arn, tagKeys=["k"])
    logs.create_log_stream(**stream)
    now_ms = int(time.time() * 1000)
    logs.put_log_events(**stream, logEvents=[{"timestamp": now_ms, "message": f"line {n}"} for n in range(3)])
    assert [event["message"] for event in logs.get_log_events(**stream)["events"]] == ["line 0", "line 1", "line 2"]
    assert [event["message"] for event in logs.filter_log_events(**group, filterPattern='"line 1"')["events"]] == [
        "line 1"
    ]
    assert logs.describe_log_streams(**group)["logStreams"]
    logs.delete_log_stream(**stream)
    logs.delete_log_group(**group)


def quotas_tour(boto: Boto) -> None:
    """Service Quotas of SageMaker; a request is granted, and taken back."""
    quotas, service = boto.service_quotas, {"ServiceCode": "sagemaker"}
    assert quotas.list_services()["Services"]
    listed = [
        quota
        for page in quotas.get_paginator("list_service_quotas").paginate(**service)
        for quota in page["Quotas"]
        if quota["QuotaName"] == "ml.g5.xlarge for endpoint usage"
    ]
    code = {**service, "QuotaCode": listed[0]["QuotaCode"]}
    quotas.list_aws_default_service_quotas(**service)
    quotas.get_aws_default_service_quota(**code)
    before = quotas.get_service_quota(**code)["Quota"]["Value"]
    quotas.request_service_quota_increase(**code, DesiredValue=before + 1)
    assert quotas.get_service_quota(**code)["Quota"]["Value"] == before + 1
    quotas.request_service_quota_increase(**code, DesiredValue=before)
