"""How AWS carries out a change: its policy, the alarms that undo it, and the room that it needs meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from llm_deploy.resource import ALARM, Resource
from llm_deploy.spec import ResolvedSpec, Update
from llm_deploy.spec.updates import DEFAULT_PERCENT, Strategy, fleet_of, steps_of, strategy_of, wait_s_of

Document = dict[str, Any]

METRICS_NAMESPACE = "AWS/SageMaker"
ERRORS_SUFFIX = "rollback-errors"
LATENCY_SUFFIX = "rollback-latency"
MICROSECONDS_PER_MS = 1000.0
"""SageMaker reports ModelLatency in microseconds."""


def alarm_names(deployment: str) -> tuple[str, str]:
    """The names of the alarms that a deployment may have made."""
    return f"{deployment}-{ERRORS_SUFFIX}", f"{deployment}-{LATENCY_SUFFIX}"


def alarms(resolved: ResolvedSpec, tags: Mapping[str, str]) -> tuple[Resource, ...]:
    """The alarms that are made with the deployment; before anything is invoked they have nothing to say."""
    return tuple(replace(alarm, tags=tags) for alarm in _alarms(resolved))


def endpoint_policy(resolved: ResolvedSpec) -> Document:
    """`DeploymentConfig` of a model-based endpoint; empty where AWS's own way is wanted."""
    spec = resolved.spec
    if resolved.component_name is not None or spec.update == Update():
        return {}
    if strategy_of(spec) == "rolling":
        return _rolling(resolved, "INSTANCE_COUNT") | _auto_rollback(resolved)
    return _blue_green(resolved) | _auto_rollback(resolved)


def component_policy(resolved: ResolvedSpec) -> Document:
    """`DeploymentConfig` of an inference component, which always rolls."""
    return _rolling(resolved, "COPY_COUNT") | _auto_rollback(resolved)


def endpoint_rollout(resolved: ResolvedSpec) -> str:
    """A change of an endpoint in words."""
    if resolved.component_name is not None:
        count, machine = resolved.spec.instance.initial_count, resolved.spec.instance.type
        return f"all at once; needs {count} more {machine} during the update"
    parts = [_way(resolved, "machines"), *_watched(resolved), _room(resolved)]
    return "; ".join(parts)


def component_rollout(resolved: ResolvedSpec) -> str:
    """A change of an inference component in words."""
    return "; ".join([_way(resolved, "copies"), *_watched(resolved), _room_for_copies(resolved)])


def _blue_green(resolved: ResolvedSpec) -> Document:
    spec = resolved.spec
    strategy, update = strategy_of(spec), spec.update
    routing: Document = {
        "Type": strategy.upper().replace("-", "_"),
        "WaitIntervalInSeconds": wait_s_of(spec),
    }
    size = {"canary": "CanarySize", "linear": "LinearStepSize"}.get(strategy)
    if size is not None:
        routing[size] = _size("INSTANCE_COUNT", update.size_count, update.size_percent or DEFAULT_PERCENT[strategy])
    policy: Document = {"TrafficRoutingConfiguration": routing}
    if update.termination_wait_s:
        policy["TerminationWaitInSeconds"] = update.termination_wait_s
    return {"BlueGreenUpdatePolicy": policy | _limit(update)}


def _rolling(resolved: ResolvedSpec, unit: str) -> Document:
    update = resolved.spec.update
    percent = update.size_percent or DEFAULT_PERCENT["rolling"]
    policy: Document = {
        "MaximumBatchSize": _size(unit, update.size_count, percent),
        "WaitIntervalInSeconds": wait_s_of(resolved.spec),
    }
    if update.rollback_count is not None or update.rollback_percent is not None:
        policy["RollbackMaximumBatchSize"] = _size(unit, update.rollback_count, update.rollback_percent or 100)
    return {"RollingUpdatePolicy": policy | _limit(update)}


def _size(unit: str, count: int | None, percent: int) -> Document:
    return {"Type": "CAPACITY_PERCENT", "Value": percent} if count is None else {"Type": unit, "Value": count}


def _limit(update: Update) -> Document:
    return {} if update.max_execution_s is None else {"MaximumExecutionTimeoutInSeconds": update.max_execution_s}


def _auto_rollback(resolved: ResolvedSpec) -> Document:
    names = [*resolved.spec.update.alarms.existing, *(alarm.name for alarm in _alarms(resolved))]
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}} if names else {}


def _alarms(resolved: ResolvedSpec) -> Iterator[Resource]:
    wanted = resolved.spec.update.alarms
    errors, latency = alarm_names(resolved.spec.name)
    if wanted.errors_above is not None:
        metric = {"MetricName": "Invocation5XXErrors", "Statistic": "Sum", "Threshold": float(wanted.errors_above)}
        says = f"more than {wanted.errors_above} answers with a 5XX status in {_window(resolved)}"
        yield _alarm("ErrorAlarm", errors, says, metric, resolved)
    if wanted.latency_p99_above_ms is not None:
        threshold = wanted.latency_p99_above_ms * MICROSECONDS_PER_MS
        metric = {"MetricName": "ModelLatency", "ExtendedStatistic": "p99", "Threshold": threshold}
        most = f"{wanted.latency_p99_above_ms:g} ms"
        says = f"p99 of the answers' time in the container above {most} in {_window(resolved)}"
        yield _alarm("LatencyAlarm", latency, says, metric, resolved)


def _alarm(logical_id: str, name: str, says: str, metric: Document, resolved: ResolvedSpec) -> Resource:
    wanted = resolved.spec.update.alarms
    document = {
        "AlarmName": name,
        "AlarmDescription": f"Rolls an update of {resolved.spec.name} back: {says}.",
        "Namespace": METRICS_NAMESPACE,
        "Dimensions": _dimensions(resolved),
        "Period": wanted.period_s,
        "EvaluationPeriods": wanted.periods,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **metric,
    }
    return Resource(logical_id, ALARM, name, document, purpose=f"rolls updates back: {says}")


def _dimensions(resolved: ResolvedSpec) -> list[Document]:
    """What SageMaker reports invocations under. Source: SageMaker developer guide, endpoint invocation metrics."""
    if resolved.component_name is not None:
        return [{"Name": "InferenceComponentName", "Value": resolved.component_name}]
    return [
        {"Name": "EndpointName", "Value": resolved.spec.name},
        {"Name": "VariantName", "Value": resolved.spec.variant_name},
    ]


def _window(resolved: ResolvedSpec) -> str:
    wanted = resolved.spec.update.alarms
    one = f"{wanted.period_s} s"
    return one if wanted.periods == 1 else f"each of {wanted.periods} times {one}"


def _way(resolved: ResolvedSpec, unit: str) -> str:
    spec = resolved.spec
    strategy, wait_s = strategy_of(spec), wait_s_of(spec)
    waits = f", {wait_s} s after each step" if wait_s else ""
    if strategy == "all-at-once":
        return "all at once" + (f", {wait_s} s of watching" if wait_s else "")
    if strategy == "canary":
        return f"canary: {_step(resolved, unit)} first, the rest after {wait_s} s"
    return f"{strategy}: {_step(resolved, unit)} at a time{waits}"


def _step(resolved: ResolvedSpec, unit: str) -> str:
    update, strategy = resolved.spec.update, strategy_of(resolved.spec)
    if update.size_count is None:
        return f"{_percent(update, strategy)} % of the {unit}"
    one = {"machines": "1 machine", "copies": "1 copy"}[unit]
    return one if update.size_count == 1 else f"{update.size_count} {unit}"


def _percent(update: Update, strategy: Strategy) -> int:
    return update.size_percent or DEFAULT_PERCENT[strategy]


def _watched(resolved: ResolvedSpec) -> list[str]:
    count = resolved.spec.update.alarms.count
    if count:
        return [f"{count} {'alarm rolls' if count == 1 else 'alarms roll'} it back"]
    waits = wait_s_of(resolved.spec) > 0 and steps_of(resolved.spec) > 0
    return ["no alarm watches it (update.alarms)"] if waits else []


def _room(resolved: ResolvedSpec) -> str:
    """Blue/green needs a second fleet, rolling one batch. Source: SageMaker developer guide, deployment guardrails."""
    spec = resolved.spec
    least, most = (_batch(resolved, count) for count in fleet_of(spec))
    more = f"{most}" if least == most else f"{least} to {most}"
    return f"needs {more} more {spec.instance.type} during the update"


def _room_for_copies(resolved: ResolvedSpec) -> str:
    least, most = (_batch(resolved, count) for count in fleet_of(resolved.spec))
    more = f"{most}" if least == most else f"{least} to {most}"
    return f"needs room for {more} more {'copy' if more == '1' else 'copies'} during the update"


def _batch(resolved: ResolvedSpec, fleet: int) -> int:
    spec = resolved.spec
    if strategy_of(spec) != "rolling":
        return fleet
    return spec.update.size_count or ceil(fleet * _percent(spec.update, "rolling") / 100)
