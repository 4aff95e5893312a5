"""Deletion from every state that a cloud can be in: it ends in nothing, or in an error that tells the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.deploy.inventory import Found, Managers, State
from llm_deploy.deploy.plan import short_kind
from llm_deploy.deploy.service import LISTS_LAG_S, DeploymentService
from llm_deploy.errors import BusyError, ConflictError, LeftoverError, WaitTimeoutError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
)
from tests.fakes.cloud import KINDS, FakeClock, FakeCloud, FakeManager

Key = tuple[str, str]

ENDPOINT_STATES = {
    "Creating": State.BUSY,
    "Updating": State.BUSY,
    "RollingBack": State.BUSY,
    "SystemUpdating": State.BUSY,
    "InService": State.READY,
    "UpdateRollbackFailed": State.READY,
    "Failed": State.FAILED,
    "OutOfService": State.FAILED,
    "Deleting": State.DELETING,
}
COMPONENT_STATES = {name: ENDPOINT_STATES[name] for name in ("Creating", "Updating", "InService", "Failed", "Deleting")}
NAMES = {
    SCALING_POLICY: ("inference-component/twin|p", "endpoint/twin/variant/v|p"),
    SCALABLE_TARGET: ("inference-component/twin", "endpoint/twin/variant/v"),
    INFERENCE_COMPONENT: ("twin", "a-adapter", "z-adapter"),
    ENDPOINT: ("twin",),
    ENDPOINT_CONFIG: ("twin-1", "twin-2"),
    MODEL: ("twin-1", "twin-2", "twin-3"),
}
EVERY = [(kind, name) for kind, names in NAMES.items() for name in names]
STRANGER = Found(MODEL, "stranger", owned_by=None)


@dataclass
class OddCloud(FakeCloud):
    """A cloud in which everything that AWS may do to a deletion can be made to happen.

    Attributes:
        stuck: Objects that stay in their transient state for ever.
        failing_deletions: How many deletions of an object end as `Failed`, the object still there.
        refusals_left: How many deletions of an object are refused as busy although it looks as if it rested.
        vanishing: Objects that somebody else removes when that many calls were made.
        lists_lag: How many searches still show what is gone.
    """

    stuck: set[Key] = field(default_factory=set)
    failing_deletions: dict[Key, int] = field(default_factory=dict)
    refusals_left: dict[Key, int] = field(default_factory=dict)
    vanishing: dict[Key, int] = field(default_factory=dict)

    @property
    def managers(self) -> Managers:
        """One manager for each kind."""
        return {kind: OddManager(self, kind) for kind in KINDS}

    def tick(self) -> None:
        """Count a call; let vanish what is to vanish."""
        super().tick()
        for key, after in self.vanishing.items():
            if self.total_calls == after:
                self.objects.pop(key, None)

    def look(self, key: Key) -> Found | None:
        """An object, one look later than before, unless it is stuck."""
        if key in self.stuck:
            return self.objects.get(key)
        found = super().look(key)
        if found is None and self.failing_deletions.get(key, 0) > 0:
            self.failing_deletions[key] -= 1
            self.objects[key] = odd(key, "Failed", State.FAILED)
            return self.objects[key]
        return found


@dataclass
class OddManager(FakeManager):
    """A manager over an `OddCloud`."""

    cloud: OddCloud

    def delete(self, found: Found) -> None:
        """Remove it, unless AWS would refuse for now."""
        key = found.key
        if self.cloud.refusals_left.get(key, 0) > 0:
            self.cloud.refusals_left[key] -= 1
            raise BusyError("Cannot update in-progress")
        if key == (INFERENCE_COMPONENT, "twin") and any(name.endswith("adapter") for _, name in self.cloud.objects):
            raise BusyError("is a base inference component for one or more associated")
        super().delete(found)


def odd(key: Key, status: str = "", state: State = State.READY, owned_by: str = "twin") -> Found:
    kind, name = key
    base = {"Specification": {"BaseInferenceComponentName": "twin"}} if name.endswith("adapter") else {}
    return Found(kind, name, base, state=state, status=status, owned_by=owned_by)


@st.composite
def clouds(draw: st.DrawFn, *, settling: bool) -> OddCloud:
    """Any subset of a deployment's objects, each in any of its states, under any of AWS's moods."""
    keys = draw(st.sets(st.sampled_from(EVERY)))
    cloud = OddCloud(objects={STRANGER.key: STRANGER})
    some = st.sets(st.sampled_from(sorted(keys))) if keys else st.just(set())
    for key in sorted(keys):
        states = {ENDPOINT: ENDPOINT_STATES, INFERENCE_COMPONENT: COMPONENT_STATES}.get(key[0], {"": State.READY})
        status = draw(st.sampled_from(sorted(states)))
        cloud.objects[key] = odd(key, status, states[status])
    cloud.failing = {name for _, name in draw(some)}
    slow = {key for key in keys if key[0] in {ENDPOINT, INFERENCE_COMPONENT}}
    cloud.failing_deletions = {key: draw(st.integers(0, 2)) for key in sorted(slow)}
    cloud.refusals_left = {key: draw(st.integers(0, 3)) for key in draw(some)}
    cloud.vanishing = {key: draw(st.integers(1, 60)) for key in draw(some)}
    if not settling:
        cloud.stuck = {key for key in draw(some) if cloud.objects[key].state in {State.BUSY, State.DELETING}}
    return cloud


def delete(cloud: OddCloud, timeout_s: float = 3600) -> None:
    service = DeploymentService(cloud, FakeClock())
    for _ in service.delete(service.plan_deletion("twin"), timeout_s=timeout_s):
        pass


def told(cloud: OddCloud) -> str:
    """What a deletion that ran out of time said; empty for one that came to its end."""
    try:
        delete(cloud)
    except WaitTimeoutError as error:
        return error.message
    return ""


@settings(max_examples=300, deadline=None)
@given(clouds(settling=True))
def test_from_every_state_a_deletion_ends_in_nothing(cloud: OddCloud) -> None:
    """Half made, failed, rolled back, under way, refused for now, vanishing; and a second run does nothing."""
    delete(cloud)
    assert cloud.objects == {STRANGER.key: STRANGER}
    before = list(cloud.calls)
    delete(cloud)
    assert cloud.calls == before


@settings(max_examples=300, deadline=None)
@given(clouds(settling=False))
def test_what_never_settles_is_told_truthfully_and_the_next_run_goes_on(cloud: OddCloud) -> None:
    """The error names something that is still there; once AWS lets go of it, the same command ends in nothing."""
    said = told(cloud)
    stuck = [f"{short_kind(kind)} '{name}' is still" for kind, name in cloud.stuck & set(cloud.objects)]
    assert any(words in said for words in stuck) if said else cloud.objects == {STRANGER.key: STRANGER}
    assert cloud.objects[STRANGER.key] == STRANGER
    cloud.stuck.clear()
    cloud.vanishing.clear()
    delete(cloud)
    assert cloud.objects == {STRANGER.key: STRANGER}


def test_adapters_go_before_their_base_and_everything_in_awss_order() -> None:
    """Whatever their names; AWS refuses the base while an adapter stands."""
    cloud = OddCloud(objects={key: odd(key, "InService") for key in EVERY})
    delete(cloud)
    order = [(kind, name) for _, kind, name in cloud.calls]
    assert [kind for kind, _ in order] == sorted((kind for kind, _ in order), key=list(NAMES).index), (
        "policies, targets, components, endpoint, configs, models"
    )
    assert [name for kind, name in order if kind == INFERENCE_COMPONENT] == ["a-adapter", "z-adapter", "twin"]


def test_a_deletion_that_fails_is_asked_for_again() -> None:
    """A component may go from Deleting to Failed; waiting for it to go away by itself would take for ever."""
    key = (INFERENCE_COMPONENT, "twin")
    cloud = OddCloud(objects={key: odd(key, "InService")}, failing_deletions={key: 2})
    delete(cloud)
    assert cloud.calls == [("delete", *key)] * 3


def test_an_object_that_somebody_else_made_meanwhile_is_not_deleted() -> None:
    """Ours went, theirs came under the same name: what is deleted is what was planned, not what has its name."""
    key = (MODEL, "twin-1")
    cloud = OddCloud(objects={key: odd(key)})
    service = DeploymentService(cloud, FakeClock())
    plan = service.plan_deletion("twin")
    cloud.objects[key] = replace(odd(key), owned_by=None)
    with pytest.raises(ConflictError, match="not ours"):
        list(service.delete(plan))
    assert key in cloud.objects


@dataclass
class LaggingManager(OddManager):
    """A manager whose lists show for a while what is gone."""

    shown: int = 0

    def owned(self, deployment: str) -> Sequence[Found]:
        """What is there, or what was."""
        if self.shown > 0:
            self.shown -= 1
            return (odd((MODEL, "twin-1")),)
        return super().owned(deployment)


@dataclass
class LaggingCloud(OddCloud):
    """A cloud whose lists lag behind."""

    lag: int = 0

    @property
    def managers(self) -> Managers:
        """As `OddCloud`'s, kept, so that the lag passes."""
        if not self.kept:
            self.kept = {kind: LaggingManager(self, kind) for kind in KINDS}
            self.kept[MODEL].shown = self.lag
        return self.kept

    kept: dict[str, LaggingManager] = field(default_factory=dict)


def test_lists_that_lag_behind_are_asked_again_for_a_while() -> None:
    """AWS's lists are eventually consistent; what they show a moment later counts."""
    cloud = LaggingCloud(lag=4)
    delete(cloud)
    clock = FakeClock()
    with pytest.raises(LeftoverError, match="Model twin-1"):
        list(
            DeploymentService(LaggingCloud(lag=1000), clock).delete(DeploymentService(OddCloud()).plan_deletion("twin"))
        )
    assert clock.time_s >= LISTS_LAG_S
