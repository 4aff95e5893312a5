"""Two runs at once on one deployment, in any order of their steps: one has it, the other is told, nothing is torn.

Between two steps of a run anything may happen; within one, a look and the call that rests on it follow each other. That
is where the real thing has a gap of one round trip, which AWS gives no means to close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, note, settings, strategies as st

from llm_deploy.deploy import generations
from llm_deploy.deploy.generations import Generation
from llm_deploy.deploy.plan import Action
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.deploy.steps import Step
from llm_deploy.errors import (
    AccessDeniedError,
    BusyError,
    ConflictError,
    DeployError,
    LeftoverError,
    LlmDeployError,
    NotFoundError,
    ThrottledError,
)
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MARKS,
    MODEL,
    SCALABLE_TARGET,
    TAG_BY,
    TAG_PREVIOUS,
    TAG_PREVIOUS_COMPONENT,
)
from tests.fakes.cloud import FakeClock, FakeCloud
from tests.unit.deploy.flows import NAME, Resources, delete, deploy, service, with_component, with_model

Run = Iterator[object]
SCHEDULES = st.lists(st.integers(0, 2), max_size=80)
IMAGES = st.sampled_from(["a", "b", "c"])
MACHINES = st.sampled_from(["ml.g5.2xlarge", "ml.g6.xlarge"])
MEMORIES = st.sampled_from([1024, 2048, 4096])


@st.composite
def specs(draw: st.DrawFn, made: Callable[..., Resources]) -> Resources:
    """A deployment of one kind."""
    room = {"memory": draw(MEMORIES)} if made is with_component else {}
    return made(draw(IMAGES), draw(MACHINES), scaled=draw(st.booleans()), **room)


def deploying(cloud: FakeCloud, goal: Resources, by: str = "") -> Run:
    """A deploy that others may come in between: after its plan, and after each of its steps."""
    engine = DeploymentService(cloud, FakeClock(), by)
    plan = engine.plan(NAME, goal)
    yield plan
    yield from engine.apply(plan)


def deleting(cloud: FakeCloud) -> Run:
    """A deletion, likewise."""
    engine = service(cloud)
    plan = engine.plan_deletion(NAME)
    yield plan
    yield from engine.delete(plan)


@dataclass
class Race:
    """Runs that go on step by step as a schedule says, and in turns after its end."""

    runs: list[Run]
    errors: dict[int, LlmDeployError] = field(default_factory=dict)
    ended: Callable[[int], object] = lambda _: None

    def finish(self, schedule: list[int]) -> Race:
        """Run them all to their ends."""
        alive = list(range(len(self.runs)))
        turns = iter(schedule)
        position = 0
        while alive:
            position += 1
            number = alive[next(turns, position) % len(alive)]
            if not self._step(number):
                alive.remove(number)
        return self

    def _step(self, number: int) -> bool:
        try:
            note(f"{number}: {_shown(next(self.runs[number]))}")
        except StopIteration:
            note(f"{number}: ended")
            self.ended(number)
            return False
        except LlmDeployError as error:
            note(f"{number}: {error}")
            self.errors[number] = error
            return False
        return True


def _shown(step: object) -> str:
    if isinstance(step, Step):
        return f"{step.stage.value} {step.action.value} {step.kind} {step.name} {step.status}"
    return "planned"


def serves(cloud: FakeCloud, goal: Resources) -> bool:
    """Whether what stands is this deployment, whole; what it does not want may be left for its next run to remove."""
    changes = service(cloud).plan(NAME, goal).changes
    return all(change.action in {Action.KEEP, Action.DELETE} for change in changes)


def check_deploys(cloud: FakeCloud, race: Race, goals: list[Resources]) -> None:
    won = [goal for number, goal in enumerate(goals) if number not in race.errors]
    assert {type(error) for error in race.errors.values()} <= {ConflictError}
    assert won, "somebody has to win"
    assert any(serves(cloud, goal) for goal in won), "what stands is not what a winner made"
    assert cloud.torn == []


@pytest.mark.row("T3")
@pytest.mark.parametrize("made", [with_model, with_component])
@settings(max_examples=400, deadline=None)
@given(data=st.data(), schedule=SCHEDULES)
def test_deploys_at_once_leave_a_winners_deployment(
    made: Callable[..., Resources], data: st.DataObject, schedule: list[int]
) -> None:
    """Two or three of them, first deploys or updates, same spec or not: losers get a ConflictError and tear nothing."""
    cloud = FakeCloud()
    if data.draw(st.booleans(), "an update"):
        deploy(cloud, data.draw(specs(made), "before"))
    goals = data.draw(st.lists(specs(made), min_size=2, max_size=3), "goals")
    race = Race([deploying(cloud, goal, f"user/{at}") for at, goal in enumerate(goals)]).finish(schedule)
    check_deploys(cloud, race, goals)
    delete(cloud)
    assert cloud.objects == {}


@dataclass
class History:
    """The generations that served whole, one after the other, as the runs that made them reported."""

    cloud: FakeCloud
    reached: list[Generation] = field(default_factory=list)

    def note(self, goal: Resources) -> None:
        """A run to this goal has ended well. What it found done is no move, nor is what others have moved on since."""
        now, wanted = serving(self.cloud), generations.wanted(goal)
        assert now is not None
        assert wanted is not None
        if now.serves_like(wanted) and not (self.reached and self.reached[-1].serves_like(now)):
            self.reached.append(now)

    def check(self) -> None:
        """A rollback leads to the one before the last."""
        back = generations.to_return_to(service(self.cloud).inventory(NAME))
        if len(self.reached) == 1:
            assert back is None or back.serves_like(self.reached[0])
        else:
            assert back is not None
            assert back.serves_like(self.reached[-2])


def serving(cloud: FakeCloud) -> Generation | None:
    return generations.in_use(service(cloud).inventory(NAME))


@pytest.mark.parametrize("made", [with_model, with_component])
@settings(max_examples=400, deadline=None)
@given(data=st.data(), schedule=SCHEDULES)
def test_after_deploys_at_once_a_rollback_leads_to_what_served_before(
    made: Callable[..., Resources], data: st.DataObject, schedule: list[int]
) -> None:
    """Never two generations away, whatever a loser marked before it noticed; also after the losers ran again.

    All of them have made their plans before any of them moves.
    """
    cloud = FakeCloud()
    history = History(cloud)
    for before in data.draw(st.lists(specs(made), min_size=1, max_size=2), "before"):
        deploy(cloud, before)
        history.note(before)
    goals = data.draw(st.lists(specs(made), min_size=2, max_size=3), "goals")
    runs = [deploying(cloud, goal, f"user/{at}") for at, goal in enumerate(goals)]
    for run in runs:
        next(run)
    race = Race(runs, ended=lambda number: history.note(goals[number])).finish(schedule)
    history.check()
    for number in race.errors:
        deploy(cloud, goals[number])
        history.note(goals[number])
        history.check()


@pytest.mark.parametrize("made", [with_model, with_component])
@settings(max_examples=200, deadline=None)
@given(data=st.data(), schedule=SCHEDULES)
def test_the_same_spec_at_once_is_no_conflict(
    made: Callable[..., Resources], data: st.DataObject, schedule: list[int]
) -> None:
    """Both runs end well, with one deployment."""
    calm, cloud = FakeCloud(), FakeCloud()
    goal = data.draw(specs(made))
    if data.draw(st.booleans(), "an update"):
        before = data.draw(specs(made), "before")
        deploy(calm, before)
        deploy(cloud, before)
    race = Race([deploying(cloud, goal), deploying(cloud, goal)]).finish(schedule)
    assert race.errors == {}
    deploy(calm, goal)
    assert cloud.settled() == calm.settled()


@pytest.mark.row("T12")
@pytest.mark.parametrize("made", [with_model, with_component])
@settings(max_examples=400, deadline=None)
@given(data=st.data(), schedule=SCHEDULES)
def test_a_deploy_and_a_deletion_at_once_tear_nothing(
    made: Callable[..., Resources], data: st.DataObject, schedule: list[int]
) -> None:
    """Whoever cannot do what he was asked for says so; what stands then is whole or goes with the next deletion."""
    cloud = FakeCloud()
    if data.draw(st.booleans(), "something is there"):
        deploy(cloud, data.draw(specs(made), "before"))
    goal = data.draw(specs(made), "goal")
    race = Race([deploying(cloud, goal), deleting(cloud)]).finish(schedule)
    assert {type(error) for error in race.errors.values()} <= {ConflictError, DeployError, LeftoverError}
    if not race.errors:
        assert cloud.objects == {} or serves(cloud, goal)
    assert cloud.torn == []
    delete(cloud)
    assert cloud.objects == {}


def until(run: Run, kind: str, status: str) -> None:
    """Go on with a run up to the first step that shows a kind in a status."""
    for step in run:
        if isinstance(step, Step) and (step.kind, step.status) == (kind, status):
            return
    raise AssertionError("it ended before that")


def test_who_was_quicker_is_told() -> None:
    """The loser's error names the winner as the tag does, what he is about, and what to do."""
    cloud = FakeCloud()
    deploy(cloud, with_model("a"))
    winner = deploying(cloud, with_model("b"), by="assumed-role/deployer/alice 2026-11-25T16:00:00Z")
    loser = deploying(cloud, with_model("c"), by="user/bob 2026-11-25T16:00:05Z")
    next(loser)
    until(winner, ENDPOINT, "InService")
    with pytest.raises(ConflictError, match="by assumed-role/deployer/alice 2026-11-25T16:00:00Z") as caught:
        list(loser)
    assert f"llmdeploy status {NAME}" in (caught.value.hint or "")
    assert cloud.objects[ENDPOINT, NAME].tags[TAG_BY].startswith("assumed-role/deployer/alice")


def test_a_plan_that_somebody_overtook_is_not_carried_out() -> None:
    """A question that was answered an hour later: what the plan showed is no more, so it is planned again."""
    cloud = FakeCloud()
    deploy(cloud, with_component("a"))
    late = deploying(cloud, with_component("b"))
    next(late)
    deploy(cloud, with_component("c"))
    with pytest.raises(ConflictError, match="another run changes InferenceComponent 'twin'"):
        list(late)
    assert serves(cloud, with_component("c"))


def test_what_is_superseded_stays_while_another_run_serves_from_it() -> None:
    """The third run went back to the first one's generation while the second was about to remove it."""
    cloud = FakeCloud()
    for image in ("a", "b", "c"):
        deploy(cloud, with_model(image))
    slow = deploying(cloud, with_model("d"))
    until(slow, ENDPOINT, "InService")
    first = cloud.objects[ENDPOINT, NAME].properties["EndpointConfigName"]
    deploy(cloud, with_model("b"))
    with pytest.raises(ConflictError, match="removes nothing more"):
        list(slow)
    assert serves(cloud, with_model("b"))
    assert (ENDPOINT_CONFIG, first) in cloud.objects


def test_a_name_that_was_taken_since_the_plan_is_not_taken_over() -> None:
    """Both wanted to make the endpoint; the other one has, and is done. Moving it on would undo what it reported."""
    cloud = FakeCloud()
    late = deploying(cloud, with_model("late"))
    next(late)
    deploy(cloud, with_model("first"))
    with pytest.raises(ConflictError, match="another run changes Endpoint 'twin'"):
        list(late)
    assert serves(cloud, with_model("first"))


def test_rules_that_a_loser_removed_are_made_again_by_the_winner() -> None:
    """AWS wants them gone before a machine changes, so a run removes them before it can know that it came too late."""
    cloud = FakeCloud()
    deploy(cloud, with_model("a"))
    winner, loser = deploying(cloud, with_model("b")), deploying(cloud, with_model("a", "ml.g6.xlarge"))
    next(winner)
    until(loser, SCALABLE_TARGET, "gone")
    list(winner)
    assert serves(cloud, with_model("b"))
    with pytest.raises(ConflictError):
        list(loser)
    assert serves(cloud, with_model("b"))


def test_a_model_that_a_run_under_way_names_is_left_to_it() -> None:
    """Its config is new; its endpoint comes next. The deploy that wanted to tidy up ends well without."""
    cloud = FakeCloud()
    for image in ("a", "b", "c"):
        deploy(cloud, with_model(image))
    tidy = deploying(cloud, with_model("d"))
    next(tidy)
    deployed = with_model("b", "ml.g6.xlarge")
    under_way = deploying(cloud, deployed)
    while (ENDPOINT_CONFIG, deployed[1].name) not in cloud.objects:
        next(under_way)
    said = [str(step) for step in tidy]
    assert any("kept, another run uses it" in step for step in said)
    assert (MODEL, deployed[0].name) in cloud.objects
    assert cloud.torn == []


def test_a_plan_is_compared_without_what_scaling_does() -> None:
    """Copies that came and went since the plan are no other run's change."""
    cloud = FakeCloud()
    deploy(cloud, with_component("a"))
    late = deploying(cloud, with_component("b"))
    next(late)
    key = (INFERENCE_COMPONENT, NAME)
    standing = cloud.objects[key]
    cloud.objects[key] = replace(standing, properties={**standing.properties, "RuntimeConfig": {"CopyCount": 7}})
    list(late)
    assert serves(cloud, with_component("b"))


def test_a_run_that_another_document_overtook_removes_no_rules() -> None:
    """The model is the same; only its room is another. The other run's scaling stays."""
    cloud = FakeCloud()
    deploy(cloud, with_component("a"))
    late = deploying(cloud, with_component("a", memory=4096, scaled=False))
    next(late)
    deploy(cloud, with_component("a", memory=2048))
    with pytest.raises(ConflictError, match="another run changes InferenceComponent 'twin'"):
        list(late)
    assert serves(cloud, with_component("a", memory=2048))


def test_marks_of_a_run_that_came_too_late_do_not_outlive_the_move() -> None:
    """AddTags is no lock: the loser's marks came after the winner's update was taken, and before its end."""
    cloud = FakeCloud()
    deploy(cloud, with_component("a"))
    first = serving(cloud)
    deploy(cloud, with_component("b"))
    before = serving(cloud)
    winner = deploying(cloud, with_component("c"))
    until(winner, INFERENCE_COMPONENT, "Creating")
    endpoint = cloud.objects[ENDPOINT, NAME]
    assert first is not None
    marks = {TAG_PREVIOUS: f"config={first.config} to=elsewhere", TAG_PREVIOUS_COMPONENT: "model=gone"}
    cloud.objects[ENDPOINT, NAME] = replace(endpoint, tags={**endpoint.tags, **marks})
    list(winner)
    assert generations.to_return_to(service(cloud).inventory(NAME)) == before


def test_marks_of_a_loser_are_not_taken_for_its_move_when_it_runs_again() -> None:
    """The winner was killed before it wrote its own again. What serves now is what the loser's next run leaves."""
    cloud = FakeCloud()
    deploy(cloud, with_model("a"))
    plan = service(cloud).plan(NAME, with_model("c"))
    marks = {
        tag: value
        for change in plan.changes
        if change.resource is not None and change.kind == ENDPOINT
        for tag, value in change.resource.tags.items()
        if tag in MARKS
    }
    deploy(cloud, with_model("b"))
    served = serving(cloud)
    endpoint = cloud.objects[ENDPOINT, NAME]
    cloud.objects[ENDPOINT, NAME] = replace(endpoint, tags={**endpoint.tags, **marks})
    deploy(cloud, with_model("c"))
    assert generations.to_return_to(service(cloud).inventory(NAME)) == served


@pytest.mark.parametrize(
    "error", [ThrottledError("slow down"), BusyError("at work"), AccessDeniedError("not you"), NotFoundError("where")]
)
@pytest.mark.parametrize("made", [with_model, with_component])
def test_a_signature_that_is_refused_stops_nothing(made: Callable[..., Resources], error: LlmDeployError) -> None:
    """It informs only: the update that was taken is neither sent again nor given up."""
    cloud = FakeCloud()
    deploy(cloud, made("a"))
    cloud.calls.clear()
    cloud.unsigned = error
    list(deploying(cloud, made("b"), by="user/bob"))
    assert serves(cloud, made("b"))
    assert len([call for call in cloud.calls if call[0] == "update"]) == 1


def test_a_signature_of_an_earlier_run_is_no_sign_of_another_run_at_once() -> None:
    """AWS took the update back, and ours was never signed: nobody else did it."""
    cloud = FakeCloud()
    list(deploying(cloud, with_model("a"), by="user/alice"))
    cloud.unsigned = ThrottledError("slow down")
    cloud.rolling_back[ENDPOINT, NAME] = cloud.objects[ENDPOINT, NAME]
    with pytest.raises(DeployError, match="was rolled back"):
        list(deploying(cloud, with_model("b"), by="user/bob"))
