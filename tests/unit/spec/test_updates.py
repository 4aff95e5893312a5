"""`update`: every bound of AWS as a finding, and whatever passes is what AWS documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.spec import DeploymentSpec
from llm_deploy.spec.documents import RULES_LATER
from llm_deploy.spec.rules import check, dotted
from llm_deploy.spec.updates import fleet_of, steps_of, strategy_of, wait_s_of

MODEL = {"endpoint_type": "model", "instance": {"initial_count": 4}}
SCALED = {**MODEL, "autoscaling": {"min_copies": 4, "max_copies": 20}}


def build(document: dict[str, Any]) -> DeploymentSpec:
    """A spec whose rules are not checked yet."""
    return DeploymentSpec.model_validate({"name": "a", "model": "a/b", **document}, context={RULES_LATER: True})


def found(update: dict[str, Any], base: dict[str, Any] | None = None) -> list[str]:
    return [dotted(finding.path) for finding in check(build({**(base or {}), "update": update}))]


@pytest.mark.parametrize("strategy", ["all-at-once", "canary", "linear"])
def test_inference_components_only_roll(strategy: str) -> None:
    """InferenceComponentDeploymentConfig has a RollingUpdatePolicy and nothing else."""
    (finding,) = check(build({"update": {"strategy": strategy}}))
    assert dotted(finding.path) == "update.strategy"
    assert "rolling" in finding.message
    assert found({"strategy": strategy}, MODEL) == []


def test_the_default_is_what_aws_does_for_the_type() -> None:
    """All at once for a fleet of machines, copy by copy for components."""
    assert strategy_of(build({})) == "rolling"
    assert strategy_of(build(MODEL)) == "all-at-once"


@pytest.mark.parametrize(
    ("strategy", "right", "wrong"),
    [("canary", (1, 50), (51,)), ("linear", (10, 50), (9, 51)), ("rolling", (5, 50), (4, 51))],
)
def test_shares_are_within_what_aws_takes(strategy: str, right: tuple[int, ...], wrong: tuple[int, ...]) -> None:
    """Canary at most 50 %, linear 10 to 50 %, rolling 5 to 50 %."""
    for percent in right:
        assert found({"strategy": strategy, "size_percent": percent}, MODEL) == []
    for percent in wrong:
        assert found({"strategy": strategy, "size_percent": percent}, MODEL) == ["update.size_percent"]


@pytest.mark.parametrize(
    ("update", "base", "field"),
    [
        ({"strategy": "canary", "size_count": 2}, MODEL, None),
        ({"strategy": "canary", "size_count": 3}, MODEL, "update.size_count"),
        ({"strategy": "canary", "size_count": 1}, {"endpoint_type": "model"}, "update.size_count"),
        ({"strategy": "linear", "size_count": 2}, SCALED, None),
        ({"strategy": "linear", "size_count": 1}, SCALED, "update.size_count"),
        ({"strategy": "canary", "size_count": 3}, SCALED, "update.size_count"),
        ({"size_count": 1}, {"resources": {"copies": 2}}, None),
        ({"size_count": 1}, {}, "update.size_count"),
        ({"strategy": "all-at-once", "size_percent": 5}, MODEL, "update.size_percent"),
        ({"strategy": "canary", "rollback_percent": 50}, MODEL, "update.rollback_percent"),
        ({"strategy": "rolling", "rollback_percent": 50}, MODEL, None),
        ({"strategy": "rolling", "termination_wait_s": 5}, MODEL, "update.termination_wait_s"),
        ({"strategy": "canary", "termination_wait_s": 5}, MODEL, None),
        ({"strategy": "canary", "size_percent": 50, "size_count": 2}, MODEL, "update.size_count"),
        ({"strategy": "rolling", "rollback_percent": 5, "rollback_count": 2}, MODEL, "update.rollback_count"),
        ({"strategy": "canary", "wait_s": 300, "max_execution_s": 601}, MODEL, None),
        ({"strategy": "canary", "wait_s": 300, "max_execution_s": 600}, MODEL, "update.max_execution_s"),
        ({"strategy": "linear", "wait_s": 3600, "size_percent": 10}, MODEL, "update.wait_s"),
        ({"alarms": {"existing": [f"a{n}" for n in range(10)]}}, {}, None),
        ({"alarms": {"existing": [f"a{n}" for n in range(10)], "errors_above": 0}}, {}, "update.alarms.existing"),
        ({"alarms": {"existing": ["a", "a"]}}, {}, "update.alarms.existing"),
        ({"alarms": {"errors_above": 0, "period_s": 3600, "periods": 24}}, {}, None),
        ({"alarms": {"errors_above": 0, "period_s": 3600, "periods": 25}}, {}, "update.alarms.periods"),
    ],
)
def test_what_aws_would_refuse_is_named(update: dict[str, Any], base: dict[str, Any], field: str | None) -> None:
    """One finding, at the field that is to be changed; counts hold for every size that scaling may choose."""
    assert found(update, base) == ([] if field is None else [field])


@pytest.mark.parametrize(
    ("update", "base", "wait_s"),
    [
        ({}, {}, 0),
        ({}, MODEL, 0),
        ({"alarms": {"errors_above": 1}}, {}, 300),
        ({"alarms": {"errors_above": 1}, "wait_s": 0}, {}, 0),
        ({"strategy": "canary"}, MODEL, 300),
    ],
)
def test_there_is_time_to_watch_where_something_is_watched(
    update: dict[str, Any], base: dict[str, Any], wait_s: int
) -> None:
    """AWS looks at alarms in baking periods only: without a wait an alarm would never undo anything."""
    assert wait_s_of(build({**base, "update": update})) == wait_s


wishes = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(["all-at-once", "canary", "linear", "rolling"]),
        "size_percent": st.integers(1, 100),
        "size_count": st.integers(1, 12),
        "wait_s": st.integers(0, 3600),
        "max_execution_s": st.integers(600, 28_800),
    },
)


@given(
    update=wishes,
    kind=st.sampled_from(["model", "inference-component"]),
    fleet=st.integers(1, 12),
    more=st.integers(0, 12),
)
def test_whatever_passes_is_what_aws_documents(update: dict[str, Any], kind: str, fleet: int, more: int) -> None:
    """Shares of the smallest and of the largest fleet, and waits within the limit."""
    spec = build(
        {
            "endpoint_type": kind,
            "instance": {"initial_count": fleet},
            "resources": {"copies": 1 if kind == "model" else fleet},
            "autoscaling": {"min_copies": fleet, "max_copies": fleet + more} if more else None,
            "update": update,
        }
    )
    if check(spec):
        return
    least, most = {"canary": (0, 50), "linear": (10, 50), "rolling": (5, 50)}.get(strategy_of(spec), (0, 100))
    for total in fleet_of(spec):
        share = update.get("size_percent") if "size_count" not in update else 100 * update["size_count"] / total
        assert share is None or least <= share <= most
    assert kind == "model" or strategy_of(spec) == "rolling"
    assert steps_of(spec) * wait_s_of(spec) < update.get("max_execution_s", 28_800)
