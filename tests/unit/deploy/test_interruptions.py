"""Every flow, cut off at every call in every way, and run again: the same cloud as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.deploy.account import GOES_ON
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import (
    AccessDeniedError,
    ConflictError,
    CredentialsError,
    DeployError,
    LlmDeployError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
)
from llm_deploy.resource import ENDPOINT
from tests.fakes.cloud import FakeCloud, Killed
from tests.unit.deploy.flows import NAME, Resources, delete, deploy, service, with_component, with_model

Act = Callable[[FakeCloud], object]


@dataclass(frozen=True)
class Flow:
    """What is there before, and the act that is cut off."""

    before: Resources
    act: Act
    goal: Resources

    def start(self) -> FakeCloud:
        """A cloud at the flow's beginning."""
        cloud = FakeCloud()
        if self.before:
            deploy(cloud, self.before)
        return cloud


def to(before: Resources, goal: Resources) -> Flow:
    return Flow(before, lambda cloud: deploy(cloud, goal), goal)


FLOWS = {
    "create model": to((), with_model()),
    "create component": to((), with_component()),
    "another model": to(with_model(), with_model("tgi:2")),
    "another model of a component": to(with_component(), with_component("tgi:2")),
    "another machine of a variant that scales": to(with_model(), with_model(machine="ml.g6.xlarge")),
    "another machine under a component": to(with_component(), with_component(machine="ml.g6.xlarge")),
    "everything else": to(with_component(), with_component("tgi:2", "ml.g6.xlarge")),
    "no scaling any more": to(with_component(), with_component(scaled=False)),
    "scaling from now on": to(with_model(scaled=False), with_model()),
    "delete model": Flow(with_model(), delete, ()),
    "delete component": Flow(with_component(), delete, ()),
}


@dataclass(frozen=True)
class Cut:
    """How a run ends: killed or with an error, the call's effect done or not."""

    fault: Callable[[], BaseException]
    effect_first: bool


CUTS = {
    "killed before": Cut(Killed, effect_first=False),
    "killed after": Cut(Killed, effect_first=True),
    "answer lost": Cut(lambda: UnavailableError("the connection broke"), effect_first=True),
    "5xx": Cut(lambda: UnavailableError("HTTP 503"), effect_first=False),
    "no network": Cut(lambda: UnreachableError("no route"), effect_first=False),
    "throttled": Cut(lambda: ThrottledError("Rate exceeded"), effect_first=False),
    "expired": Cut(lambda: CredentialsError("ExpiredToken"), effect_first=False),
}


def cut_off(cloud: FakeCloud, act: Act, calls: int, cut: Cut) -> None:
    """Act, with a fault after so many calls."""
    cloud.kill_after, cloud.fault, cloud.effect_first = cloud.total_calls + calls, cut.fault, cut.effect_first
    try:
        act(cloud)
    except (Killed, UnavailableError, UnreachableError, ThrottledError, CredentialsError):
        pass
    finally:
        cloud.kill_after, cloud.fault = None, Killed


@pytest.mark.row("T3")
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_cut_off_at_any_call_and_run_again(flow: Flow, cut: Cut) -> None:
    """Each call of each flow in each way: in the end stands what stands without a cut, and nothing beside it."""
    calm = flow.start()
    before = calm.total_calls
    flow.act(calm)
    for calls in range(calm.total_calls - before):
        cloud = flow.start()
        cut_off(cloud, flow.act, calls, cut)
        flow.act(cloud)
        assert cloud.settled() == calm.settled(), f"cut off after {calls} calls"
        assert service(cloud).plan(NAME, flow.goal).empty


@pytest.mark.row("T3")
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_a_call_that_was_carried_out_and_is_sent_again(flow: Flow) -> None:
    """A call whose answer was lost is repeated by botocore; what is refused the second time is known for our own."""
    calm = flow.start()
    before = calm.total_calls
    flow.act(calm)
    for calls in range(calm.total_calls - before):
        cloud = flow.start()
        cloud.resent_at = cloud.total_calls + calls
        flow.act(cloud)
        assert cloud.settled() == calm.settled(), f"call {calls} sent twice"


@settings(max_examples=200, deadline=None)
@given(
    flow=st.sampled_from(sorted(FLOWS)),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(sorted(CUTS))), max_size=8),
)
def test_cut_off_again_and_again(flow: str, cuts: list[tuple[int, str]]) -> None:
    """Any number of cuts of any kinds, one after the other."""
    calm, stormy = FLOWS[flow].start(), FLOWS[flow].start()
    for calls, name in cuts:
        cut_off(stormy, FLOWS[flow].act, calls, CUTS[name])
    FLOWS[flow].act(calm)
    FLOWS[flow].act(stormy)
    assert stormy.settled() == calm.settled()


@settings(max_examples=200, deadline=None)
@given(
    made=st.sampled_from([with_model, with_component]),
    calls=st.integers(0, 60),
    cut=st.sampled_from(sorted(CUTS)),
    failing=st.booleans(),
)
def test_a_bad_spec_then_a_good_one(
    made: Callable[..., Resources],
    calls: int,
    cut: str,
    failing: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """A deploy that fails or is cut off, then the mended spec: it serves, and a deletion then leaves nothing."""
    cloud = FakeCloud(failing={NAME} if failing else set())
    try:
        cut_off(cloud, lambda it: deploy(it, made("bad:1")), calls, CUTS[cut])
    except DeployError:
        assert failing
    cloud.failing.clear()
    deploy(cloud, made("good:1"))
    assert service(cloud).plan(NAME, made("good:1")).empty
    delete(cloud)
    assert cloud.objects == {}


def error_of(cut: Cut, calls: int, flow: Flow) -> LlmDeployError:
    cloud = flow.start()
    cloud.kill_after, cloud.fault, cloud.effect_first = cloud.total_calls + calls, cut.fault, cut.effect_first
    with pytest.raises(LlmDeployError) as caught:
        flow.act(cloud)
    return caught.value


@pytest.mark.row("T3")
def test_an_error_in_the_middle_says_what_was_done_and_that_another_run_goes_on() -> None:
    """Expired credentials after the endpoint was begun: the error keeps its kind and its own hint."""
    flow = FLOWS["create component"]
    calm = flow.start()
    flow.act(calm)
    begun = next(at for at, (_, kind, _) in enumerate(calm.calls) if kind == ENDPOINT)
    assert begun == 2
    error = error_of(CUTS["expired"], len(calm.calls) + 20, flow)
    assert isinstance(error, CredentialsError)
    hint = error.hint or ""
    assert all(word in hint for word in ("made so far: Model twin-", "made so far: EndpointConfig twin-", GOES_ON))
    assert "under way when it stopped: Endpoint twin" in hint or "made so far: Endpoint twin" in hint


def test_an_error_before_anything_was_done_promises_nothing() -> None:
    """While planning there is nothing to go on from."""
    error = error_of(CUTS["expired"], 0, FLOWS["create model"])
    assert error.hint is None


@pytest.mark.parametrize("fault", [ThrottledError, UnavailableError, UnreachableError])
def test_a_wait_survives_an_outage_and_says_so(fault: type[LlmDeployError]) -> None:
    """A look that fails for reasons that pass is no end; the steps show that there is no answer just now."""
    cloud = FakeCloud()
    goal = with_component()
    engine = service(cloud)
    said = []
    for step in engine.apply(engine.plan(NAME, goal)):
        said.append(step)
        if step.status == "Creating" and cloud.kill_after is None and len(said) < 20:
            cloud.kill_after, cloud.fault = cloud.total_calls, lambda: fault("for now")
    assert engine.plan(NAME, goal).empty
    silent = [step for step in said if step.status == "no answer, looking again"]
    assert silent
    assert silent[0].detail == "for now"


@dataclass
class DeadCloud(FakeCloud):
    """A cloud that answers with one error, for good, once it is dead."""

    error: LlmDeployError = field(default_factory=lambda: UnavailableError("HTTP 503"))
    dead: bool = False

    def tick(self) -> None:
        """Count the call."""
        super().tick()
        if self.dead:
            raise self.error


def dies_while_creating(cloud: DeadCloud, engine: DeploymentService, timeout_s: float = 3600) -> None:
    for step in engine.apply(engine.plan(NAME, with_component()), timeout_s=timeout_s):
        cloud.dead = cloud.dead or step.status == "Creating"


@pytest.mark.parametrize("fault", [CredentialsError, AccessDeniedError, ConflictError])
def test_a_wait_does_not_hide_what_will_not_pass(fault: type[LlmDeployError]) -> None:
    """Expired credentials end the wait at once."""
    cloud = DeadCloud(error=fault("no"))
    engine = service(cloud)
    with pytest.raises(fault, match="no"):
        dies_while_creating(cloud, engine)
    assert engine.clock.now_s() < 1


def test_a_wait_ends_when_the_outage_lasts() -> None:
    """Five minutes without one good answer, then the cloud's own error, exit code included."""
    cloud = DeadCloud()
    engine = service(cloud)
    with pytest.raises(UnavailableError, match="HTTP 503") as caught:
        dies_while_creating(cloud, engine)
    assert 300 <= engine.clock.now_s() < 360
    assert caught.value.exit_code == 12
    assert "under way when it stopped: Endpoint twin" in (caught.value.hint or "")


def test_a_deadline_ends_an_outage_earlier() -> None:
    """--timeout holds for waits without an answer too."""
    cloud = DeadCloud()
    engine = service(cloud)
    with pytest.raises(UnavailableError):
        dies_while_creating(cloud, engine, timeout_s=30)
    assert engine.clock.now_s() <= 30
