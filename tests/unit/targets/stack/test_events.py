"""A stack's events become steps, each once, and reasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, strategies as st

from llm_deploy.deploy.apply import Stage
from llm_deploy.deploy.plan import Action, Change
from llm_deploy.resource import ENDPOINT, MODEL
from llm_deploy.targets.stack.events import STACK, EventReader

STACK_ID = "arn:aws:cloudformation:eu-central-1:000000000000:stack/llmdeploy-twin/1"
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
Event = dict[str, Any]


def event(number: int, status: str, who: str = "llmdeploy-twin", kind: str = STACK, reason: str = "") -> Event:
    """The `number`-th event, a second after the one before."""
    return {
        "EventId": f"e{number}",
        "StackId": STACK_ID,
        "LogicalResourceId": who,
        "PhysicalResourceId": STACK_ID if kind == STACK else f"arn:x/{who.lower()}-1",
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": MIDNIGHT + timedelta(seconds=number),
    }


def operation() -> list[Event]:
    """An update that fails after an older, successful creation; in order."""
    return [
        event(0, "CREATE_IN_PROGRESS"),
        event(1, "CREATE_COMPLETE", "Endpoint", ENDPOINT),
        event(2, "CREATE_COMPLETE"),
        event(3, "UPDATE_IN_PROGRESS"),
        event(4, "UPDATE_IN_PROGRESS", "Model", MODEL),
        event(6, "UPDATE_FAILED", "Model", MODEL, "no such data"),
        event(7, "UPDATE_FAILED", "Endpoint", ENDPOINT, "Resource update cancelled"),
        event(8, "UPDATE_ROLLBACK_IN_PROGRESS", reason="The following resource(s) failed to update: [Model]."),
        event(9, "UPDATE_COMPLETE", "Model", MODEL),
        event(10, "UPDATE_ROLLBACK_COMPLETE"),
    ]


def test_only_the_last_operation_is_read() -> None:
    """Failures and steps of an earlier operation are no news, and its pages are not fetched."""
    read: list[str] = []

    def newest_first() -> Any:  # noqa: ANN401 - a generator of documents
        for item in reversed(operation()):
            read.append(item["EventId"])
            yield item

    reader = EventReader()
    assert [item["EventId"] for item in reader.new_events(newest_first())] == [f"e{n}" for n in (3, 4, 6, 7, 8, 9, 10)]
    assert read[-1] == "e3"


def test_with_a_mark_nothing_before_it_is_read() -> None:
    """Until the new operation shows, the reader says that it has not begun."""
    before, after = operation()[:3], operation()
    reader = EventReader(after="e2")
    assert reader.new_events(reversed(before)) == []
    assert not reader.has_begun
    reader.new_events(reversed(after))
    assert reader.has_begun


def test_the_first_cause_is_told_and_its_consequences_are_not() -> None:
    """What failed because another resource did would bury the reason."""
    reader = EventReader({"Model": Change(Action.REPLACE, MODEL, "twin-2")})
    reader.new_events(reversed(operation()))
    (failure,) = reader.failures()
    assert (failure.kind, failure.name, failure.reason) == (MODEL, "twin-2", "no such data")
    assert "failed to update" in reader.stack_reason()


def test_steps_have_the_plans_words_until_the_stack_goes_back() -> None:
    """A planned replacement is told as one; what the rollback puts back is not told as replaced."""
    reader = EventReader({"Model": Change(Action.REPLACE, MODEL, "twin-2")})
    steps = list(reader.steps(reader.new_events(reversed(operation()))))
    assert [(step.stage, step.action, step.name) for step in steps if step.kind == MODEL] == [
        (Stage.WAITING, Action.REPLACE, "twin-2"),
        (Stage.WAITING, Action.REPLACE, "twin-2"),
        (Stage.DONE, Action.KEEP, "twin-2"),
    ]
    assert steps[1].elapsed_s == 2


def test_what_the_plan_keeps_is_not_told_as_updated() -> None:
    """An update may have events of resources in which nothing changes."""
    reader = EventReader({"Endpoint": Change(Action.KEEP, ENDPOINT, "twin")})
    assert list(reader.steps([event(1, "UPDATE_COMPLETE", "Endpoint", ENDPOINT)])) == []


def test_a_deletion_names_what_is_deleted() -> None:
    """The predecessor of a replaced model goes under its own name, not under the new one's."""
    reader = EventReader({"Model": Change(Action.REPLACE, MODEL, "twin-2")})
    (step,) = reader.steps([event(1, "DELETE_COMPLETE", "Model", MODEL)])
    assert (step.action, step.name) == (Action.DELETE, "model-1")


@given(cuts=st.lists(st.integers(0, 7), max_size=6))
def test_however_often_one_looks_each_event_is_told_once(cuts: list[int]) -> None:
    """Any sequence of looks tells the same events, in the same order."""
    events = operation()[3:]
    reader = EventReader()
    told = [item for cut in sorted(cuts) for item in reader.new_events(reversed(events[:cut]))]
    told += reader.new_events(reversed(events))
    assert told == events
