"""How a change of a running deployment is rolled out, and what AWS rolls it back for.

Source of every bound: the API documentation (botocore 1.44.5) of SageMaker's DeploymentConfig and
InferenceComponentDeploymentConfig, and of CloudWatch's PutMetricAlarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from llm_deploy.spec.document import Document

if TYPE_CHECKING:
    from llm_deploy.spec.documents import DeploymentSpec

Strategy = Literal["all-at-once", "canary", "linear", "rolling"]
Problem = tuple[tuple[str, ...], str, tuple[tuple[str, ...], ...]]
"""Field, what is wrong with it, and the other fields that the rule read."""

AlarmName = Annotated[str, StringConstraints(pattern=r"\S", min_length=1, max_length=255)]
Percent = Annotated[int, Field(ge=1, le=100)]
Size = Annotated[int, Field(ge=1, le=10_000)]
Seconds = Annotated[int, Field(ge=0, le=3600)]

MOST_ALARMS = 10
LONGEST_EXECUTION_S = 28_800
LONGEST_WATCH_S = 86_400
"""CloudWatch looks back a day at most: period times number of periods."""
WATCHED_WAIT_S = 300
"""The wait where none is given and there is something to wait for: two datapoints of a metric that comes every minute,
with the minutes that CloudWatch is late."""

SHARES: dict[Strategy, tuple[int, int]] = {"canary": (1, 50), "linear": (10, 50), "rolling": (5, 50)}
"""Least and most of a fleet that one step may take, in per cent."""
DEFAULT_PERCENT: dict[Strategy, int] = {"canary": 25, "linear": 25, "rolling": 50}


class RollbackAlarms(Document):
    """CloudWatch alarms that make AWS go back by itself when one of them goes off while a change is rolled out."""

    existing: tuple[AlarmName, ...] = ()
    """Names of alarms that are there already."""
    errors_above: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Make an alarm: more answers with a 5XX status than this in one period. 0: a single one is too many."""
    latency_p99_above_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """Make an alarm: the slowest hundredth of a period's answers took the container longer than this, as a whole."""
    period_s: Annotated[int, Field(ge=60, le=86_400, multiple_of=60)] = 60
    """Length of a period of the alarms that are made. SageMaker reports every minute."""
    periods: Annotated[int, Field(ge=1, le=1440)] = 1
    """How many periods in a row have to be bad."""

    @property
    def count(self) -> int:
        """How many alarms these are."""
        made = (self.errors_above, self.latency_p99_above_ms)
        return len(self.existing) + sum(threshold is not None for threshold in made)


class Update(Document):
    """How a change is rolled out. `size_percent`, or `size_count`, is what one step moves."""

    strategy: Strategy | None = None
    """`all-at-once` (a new fleet beside the old one, then all traffic; the default of model-based endpoints), `canary`
    (a part first, then the rest), `linear` (part by part) or `rolling` (machines, or copies, are replaced part by part;
    needs the least room; the only choice of inference components, and their default)."""
    size_percent: Percent | None = None
    """Part of the fleet that a step moves: canary up to 50 (default 25), linear 10 to 50 (default 25), rolling 5 to 50
    (default 50)."""
    size_count: Size | None = None
    """The same as a number of machines (of copies, for inference components)."""
    wait_s: Seconds | None = None
    """Seconds of watching the alarms after each step. Left out: 300 where there are alarms or the strategy has parts,
    else 0."""
    termination_wait_s: Seconds = 0
    """Seconds that the old fleet is kept after the last step. Not with `rolling`."""
    max_execution_s: Annotated[int, Field(ge=600, le=LONGEST_EXECUTION_S)] | None = None
    """Seconds after which AWS gives up and rolls back; AWS's own limit when left out."""
    rollback_percent: Percent | None = None
    """Part of the fleet that a step of a rollback moves; the whole at once when left out. Only with `rolling`."""
    rollback_count: Size | None = None
    """The same as a number of machines or copies."""
    alarms: RollbackAlarms = RollbackAlarms()


def strategy_of(spec: DeploymentSpec) -> Strategy:
    """The strategy as given, else AWS's own for the endpoint type."""
    return spec.update.strategy or ("rolling" if _component_based(spec) else "all-at-once")


def wait_s_of(spec: DeploymentSpec) -> int:
    """The wait after each step as given, else what makes sense for what is asked."""
    update = spec.update
    if update.wait_s is not None:
        return update.wait_s
    watched = update.alarms.count > 0 or strategy_of(spec) in {"canary", "linear"}
    return WATCHED_WAIT_S if watched else 0


def fleet_of(spec: DeploymentSpec) -> tuple[int, int]:
    """The least and the most machines (copies, for inference components) that an update can meet."""
    tracking = spec.autoscaling
    if tracking is not None:
        return tracking.min_copies, tracking.max_copies
    count = spec.resources.copies if _component_based(spec) else spec.instance.initial_count
    return count, count


def problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """What AWS would refuse, or what would have no effect, between the fields of `update` and the rest of a spec."""
    yield from _strategy(spec)
    yield from _fields_of_the_strategy(spec)
    yield from _sizes(spec)
    yield from _times(spec)
    yield from _alarms(spec)


def _strategy(spec: DeploymentSpec) -> Iterator[Problem]:
    given = spec.update.strategy
    if _component_based(spec) and given not in {None, "rolling"}:
        yield (
            ("update", "strategy"),
            f"{given} exists for model-based endpoints only; AWS updates inference components copy by copy (rolling)",
            (("endpoint_type",),),
        )


def _fields_of_the_strategy(spec: DeploymentSpec) -> Iterator[Problem]:
    strategy, update = strategy_of(spec), spec.update
    involves = (("update", "strategy"), ("endpoint_type",))
    if strategy == "all-at-once":
        for field in ("size_percent", "size_count"):
            if getattr(update, field) is not None:
                yield ("update", field), "all-at-once has no parts; choose canary, linear or rolling", involves
    if strategy != "rolling":
        for field in ("rollback_percent", "rollback_count"):
            if getattr(update, field) is not None:
                yield ("update", field), f"{strategy} goes back at once; only rolling goes back in parts", involves
    elif update.termination_wait_s:
        yield (
            ("update", "termination_wait_s"),
            "rolling removes the old part after every step; use wait_s",
            involves,
        )
    for one, other in (("size_percent", "size_count"), ("rollback_percent", "rollback_count")):
        if getattr(update, one) is not None and getattr(update, other) is not None:
            yield ("update", other), f"says the same as {one}; give one of them", (("update", one),)


def _sizes(spec: DeploymentSpec) -> Iterator[Problem]:
    strategy, update = strategy_of(spec), spec.update
    if strategy not in SHARES:
        return
    least, most = SHARES[strategy]
    if update.size_percent is not None and not least <= update.size_percent <= most:
        message = f"{update.size_percent} % in one step; AWS takes {least} to {most} for {strategy}"
        yield ("update", "size_percent"), message, (("update", "strategy"),)
    if update.size_count is not None:
        yield from _count(spec, update.size_count, least, most)


def _count(spec: DeploymentSpec, count: int, least: int, most: int) -> Iterator[Problem]:
    """A count must be a right share of the smallest and of the largest fleet that it can meet."""
    smallest, largest = fleet_of(spec)
    unit = "copies" if _component_based(spec) else "machines"
    involves = (("update", "strategy"), ("endpoint_type",), ("autoscaling",), ("instance", "initial_count"))
    if count * 100 > smallest * most:
        yield (
            ("update", "size_count"),
            f"{count} is more than {most} % of {smallest} {unit}, the fewest that there can be; use size_percent",
            involves,
        )
    elif count * 100 < largest * least:
        yield (
            ("update", "size_count"),
            f"{count} is less than {least} % of {largest} {unit}, the most that there can be; use size_percent",
            involves,
        )


def _times(spec: DeploymentSpec) -> Iterator[Problem]:
    update = spec.update
    total = steps_of(spec) * wait_s_of(spec) + update.termination_wait_s
    limit = update.max_execution_s or LONGEST_EXECUTION_S
    if total >= limit:
        yield (
            ("update", "max_execution_s") if update.max_execution_s else ("update", "wait_s"),
            f"the waits alone take {total} s, and the whole may take {limit} s; AWS wants the limit to be larger",
            (("update", "wait_s"), ("update", "strategy"), ("update", "size_percent"), ("update", "size_count")),
        )


def steps_of(spec: DeploymentSpec) -> int:
    """How many times an update waits for its alarms; counted for the largest fleet."""
    strategy = strategy_of(spec)
    if strategy not in {"linear", "rolling"}:
        return 2 if strategy == "canary" else 1
    if spec.update.size_count is not None:
        return ceil(fleet_of(spec)[1] / spec.update.size_count)
    return ceil(100 / (spec.update.size_percent or DEFAULT_PERCENT[strategy]))


def _alarms(spec: DeploymentSpec) -> Iterator[Problem]:
    alarms = spec.update.alarms
    if alarms.count > MOST_ALARMS:
        message = f"{alarms.count} alarms with those that are made; AWS takes {MOST_ALARMS}"
        yield ("update", "alarms", "existing"), message, ()
    if len(set(alarms.existing)) < len(alarms.existing):
        yield ("update", "alarms", "existing"), "names an alarm twice", ()
    if alarms.period_s * alarms.periods > LONGEST_WATCH_S:
        message = f"{alarms.periods} periods of {alarms.period_s} s; CloudWatch looks back {LONGEST_WATCH_S} s at most"
        yield ("update", "alarms", "periods"), message, (("update", "alarms", "period_s"),)


def _component_based(spec: DeploymentSpec) -> bool:
    return spec.endpoint_type.value == "InferenceComponentBased"
