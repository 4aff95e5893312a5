"""The two alarms that Application Auto Scaling makes for a target-tracking policy."""

from __future__ import annotations

import uuid

from llm_deploy.emulator.autoscaling.scalables import METRIC_NAMESPACE, PredefinedMetric, ScalableId
from llm_deploy.emulator.store import Document

LOW_SHARE = 0.9
"""The low alarm's threshold over the target. Ledger: `autoscaling.alarm-periods`."""

HIGH, LOW = "AlarmHigh", "AlarmLow"


def tracking_alarms(scalable: ScalableId, policy: Document, names: list[str]) -> dict[str, Document]:
    """Alarm documents by name; `names` are those that the policy already had and that are used again.

    Ledger: `autoscaling.alarms`, `autoscaling.no-low-alarm`.
    """
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = _metric(scalable, configuration)
    shape = scalable.dimension.metrics.get(_predefined_type(configuration), PredefinedMetric(""))
    target = configuration["TargetValue"]
    shared = {
        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
        "AlarmActions": [policy["PolicyARN"]],
        **metric,
    }
    alarms = {
        _name(scalable, HIGH, names): {
            **shared,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": target,
            "EvaluationPeriods": shape.high_periods,
        }
    }
    if not configuration.get("DisableScaleIn", False):
        alarms[_name(scalable, LOW, names)] = {
            **shared,
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": target * LOW_SHARE,
            "EvaluationPeriods": shape.low_periods,
        }
    return alarms


def _name(scalable: ScalableId, side: str, names: list[str]) -> str:
    beginning = f"TargetTracking-{scalable.resource}-{side}-"
    known = next((name for name in names if name.startswith(beginning)), None)
    return known or f"{beginning}{uuid.uuid4()}"


def _predefined_type(configuration: Document) -> str:
    return str(configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", ""))


def _metric(scalable: ScalableId, configuration: Document) -> Document:
    if "PredefinedMetricSpecification" in configuration:
        predefined = scalable.dimension.metrics[_predefined_type(configuration)]
        return {
            "MetricName": predefined.name,
            "Namespace": METRIC_NAMESPACE,
            "Dimensions": scalable.metric_dimensions,
            "Statistic": predefined.statistic,
            "Period": predefined.period_s,
        }
    customised: Document = configuration["CustomizedMetricSpecification"]
    if "Metrics" in customised:
        return {"Metrics": [_query(query) for query in customised["Metrics"]]}
    names = ("MetricName", "Namespace", "Dimensions", "Statistic", "Unit")
    return {name: customised[name] for name in names if name in customised} | {"Period": 60}


def _query(query: Document) -> Document:
    """CloudWatch wants a period with each metric; Application Auto Scaling leaves it out."""
    if "MetricStat" not in query:
        return query
    return {**query, "MetricStat": {"Period": 60, **query["MetricStat"]}}
