"""A stack's events as steps, and as the reason of a failure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.plan import Action, Change
from llm_deploy.targets.stack.stacks import object_name

STACK = "AWS::CloudFormation::Stack"
BEGINNINGS = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "IMPORT_IN_PROGRESS"})
"""What a stack's own event says when an operation begins."""
CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled")
"""Reasons of resources that fail because another one did."""
_VERBS = {"CREATE": Action.CREATE, "UPDATE": Action.UPDATE, "DELETE": Action.DELETE, "IMPORT": Action.KEEP}

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A resource that failed, and why."""

    kind: str
    name: str
    reason: str


@dataclass
class EventReader:
    """Turns events into steps, each once.

    Attributes:
        planned: What was planned, by logical id; steps of what is kept are left out, since an update may tell of them.
        names: Of resources, by logical id, for events that come before the cloud has given a physical one.
        after: The newest event before the operation, where it is known; without it, the last operation is read.
        operation: Every event of the operation, in its order.
    """

    planned: Mapping[str, Change] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None
    operation: list[Event] = field(default_factory=list)
    _began: dict[str, datetime] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _going_back: bool = False

    def new_events(self, newest_first: Iterable[Event]) -> list[Event]:
        """The operation's events that were not there at the last look, in their order. Reads no further than needed."""
        fresh: list[Event] = []
        for event in newest_first:
            if event["EventId"] in self._known or event["EventId"] == self.after:
                break
            fresh.append(event)
            if _is_stack(event) and event["ResourceStatus"] in BEGINNINGS:
                break
        fresh.reverse()
        self._known |= {event["EventId"] for event in fresh}
        self.operation.extend(fresh)
        return fresh

    def steps(self, events: Iterable[Event]) -> Iterator[Step]:
        """What happened to resources."""
        for event in events:
            if _is_stack(event):
                self._going_back = self._going_back or "ROLLBACK" in event["ResourceStatus"]
            else:
                step = self._step(event)
                if step is not None:
                    yield step

    @property
    def has_begun(self) -> bool:
        """Whether the operation is to be seen yet."""
        return any(_is_stack(event) and event["ResourceStatus"] in BEGINNINGS for event in self.operation)

    def failures(self) -> tuple[Failure, ...]:
        """The resources that failed by themselves, the first one first."""
        failed = [event for event in self.operation if event["ResourceStatus"].endswith("_FAILED")]
        return tuple(
            Failure(event["ResourceType"], self._name(event), event["ResourceStatusReason"])
            for event in failed
            if not _is_stack(event)
            and event.get("ResourceStatusReason")
            and event["ResourceStatusReason"] not in CONSEQUENCES
        )

    def stack_reason(self) -> str:
        """What the stack itself says about its failure."""
        reasons = [event.get("ResourceStatusReason", "") for event in self.operation if _is_stack(event)]
        return next((reason for reason in reversed(reasons) if reason), "")

    def _step(self, event: Event) -> Step | None:
        identity, status = event["LogicalResourceId"], event["ResourceStatus"]
        change = self.planned.get(identity)
        verb = status.partition("_")[0]
        if change is not None and change.action is Action.KEEP and verb == "UPDATE":
            return None
        action = change.action if change is not None and verb not in {"DELETE", "IMPORT"} else _VERBS.get(verb)
        if self._going_back and verb == "UPDATE":
            action = Action.KEEP  # it is as it was, whatever was planned
        if action is None:
            return None
        began = self._began.setdefault(f"{identity} {verb}", event["Timestamp"])
        elapsed_s = (event["Timestamp"] - began).total_seconds()
        stage = Stage.DONE if status.endswith("_COMPLETE") else Stage.WAITING
        return Step(stage, action, event["ResourceType"], self._name(event), status, max(elapsed_s, 0.0))

    def _name(self, event: Event) -> str:
        change = self.planned.get(event["LogicalResourceId"])
        deleted = event["ResourceStatus"].startswith("DELETE")
        if change is not None and not deleted:
            return change.name
        physical_id, identity = event.get("PhysicalResourceId"), str(event["LogicalResourceId"])
        return object_name(event["ResourceType"], physical_id) if physical_id else self.names.get(identity, identity)


def _is_stack(event: Event) -> bool:
    return bool(event["ResourceType"] == STACK and event.get("PhysicalResourceId") == event["StackId"])
