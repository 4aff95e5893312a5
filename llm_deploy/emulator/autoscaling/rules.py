"""What a policy's configuration must fulfil beyond its shape."""

from __future__ import annotations

import math
from itertools import pairwise

from llm_deploy.emulator import ledger
from llm_deploy.emulator.autoscaling.scalables import ScalableId
from llm_deploy.emulator.service import ServiceError
from llm_deploy.emulator.store import Document

MAX_STEPS = 20
"""Source: Application Auto Scaling quotas, step adjustments per policy."""


def check_target_tracking(configuration: Document, scalable: ScalableId) -> None:
    """One metric, of this dimension, with a target above zero and cooldowns that are not negative.

    Raises:
        ServiceError: It is not so.
    """
    predefined = configuration.get("PredefinedMetricSpecification")
    customised = configuration.get("CustomizedMetricSpecification")
    if (predefined is None) == (customised is None):
        raise _refused("autoscaling.one-metric")
    if not (math.isfinite(configuration["TargetValue"]) and configuration["TargetValue"] > 0):
        raise _refused("autoscaling.target-value")
    for name in ("ScaleInCooldown", "ScaleOutCooldown"):
        if configuration.get(name, 0) < 0:
            raise _refused("autoscaling.cooldown", name=name)
    if predefined is not None and predefined["PredefinedMetricType"] not in scalable.dimension.metrics:
        raise _refused(
            "autoscaling.metric-mismatch",
            metric=predefined["PredefinedMetricType"],
            dimension=scalable.dimension.name,
        )
    if customised is not None:
        _check_customised(customised)


def _check_customised(metric: Document) -> None:
    single = {"MetricName", "Namespace", "Statistic"}
    if ("Metrics" in metric) == bool(single & metric.keys()):
        raise _refused("autoscaling.customised-metric")
    if "Metrics" not in metric and not single <= metric.keys():
        raise _refused("autoscaling.customised-metric")
    if "Metrics" in metric and sum(bool(query.get("ReturnData", True)) for query in metric["Metrics"]) != 1:
        raise _refused("autoscaling.one-returned")


def check_step_scaling(configuration: Document) -> None:
    """An adjustment type, and steps whose intervals neither overlap nor leave a gap.

    Raises:
        ServiceError: It is not so.
    """
    if "AdjustmentType" not in configuration:
        raise _refused("autoscaling.adjustment-type")
    steps = configuration.get("StepAdjustments", [])
    if not steps:
        raise _refused("autoscaling.steps-needed")
    if len(steps) > MAX_STEPS:
        raise ServiceError("LimitExceededException", ledger.text("autoscaling.step-limit", limit=MAX_STEPS))
    if configuration.get("Cooldown", 0) < 0:
        raise _refused("autoscaling.cooldown", name="Cooldown")
    _check_intervals(sorted(_interval(step) for step in steps))


def _interval(step: Document) -> tuple[float, float]:
    return (
        step.get("MetricIntervalLowerBound", -math.inf),
        step.get("MetricIntervalUpperBound", math.inf),
    )


def _check_intervals(intervals: list[tuple[float, float]]) -> None:
    if any(low >= high for low, high in intervals):
        raise _refused("autoscaling.step-bounds")
    if any(before[1] > after[0] for before, after in pairwise(intervals)):
        raise _refused("autoscaling.steps-overlap")
    if any(before[1] < after[0] for before, after in pairwise(intervals)):
        raise _refused("autoscaling.steps-gap")


def _refused(entry: str, **values: object) -> ServiceError:
    return ServiceError("ValidationException", ledger.text(entry, **values))
