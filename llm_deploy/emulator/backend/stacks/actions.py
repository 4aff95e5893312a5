"""CloudFormation's actions where MiniStack's are looser than AWS's: what a stack's state allows, and change sets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.stacks.engine import Engine
from llm_deploy.emulator.backend.stacks.providers import Record
from llm_deploy.emulator.backend.stacks.values import add_values, known_now, with_values

Parameters = Mapping[str, Any]
Answer = tuple[int, Mapping[str, str], bytes]

UPDATABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "UPDATE_FAILED",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
"""Ledger: `cfn.not-updatable`."""
NEW = frozenset({"REVIEW_IN_PROGRESS"})
STOPPABLE = frozenset({"CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"})
_OK = 200


class Actions:
    """Our actions in front of the engine's.

    Args:
        speed: Virtual seconds in a real one, for how long a change set takes.
    """

    def __init__(self, engine: Engine, speed: float) -> None:
        self._engine = engine
        self._change_set_s = ledger.duration_s("cfn.change-set") / speed
        self._originals = dict(engine.actions)

    def plug_in(self) -> None:
        """Put them in place. Once in a process."""
        ours: dict[str, Callable[[Parameters], Answer]] = {
            "CreateStack": self.create_stack,
            "UpdateStack": self.update_stack,
            "DeleteStack": self.delete_stack,
            "CreateChangeSet": self.create_change_set,
            "DescribeChangeSet": self.describe_change_set,
            "ListChangeSets": self.list_change_sets,
            "ListStackResources": self.list_stack_resources,
            "ExecuteChangeSet": self.execute_change_set,
        }
        self._engine.actions.update(ours)

    def create_stack(self, params: Parameters) -> Answer:
        """CreateStack: a name is taken until its stack is deleted, a failed one's too. Ledger: `cfn.name-taken`."""
        name = _given(params, "StackName")
        if self._engine.stack(name) is not None:
            return self._refuse("AlreadyExistsException", ledger.text("cfn.name-taken", name=name))
        return self._original("CreateStack", params)

    def update_stack(self, params: Parameters) -> Answer:
        """UpdateStack, of a stack in a state that allows it."""
        return self._not_updatable(params) or self._original("UpdateStack", params)

    def delete_stack(self, params: Parameters) -> Answer:
        """DeleteStack: one that is being made is stopped first. Ledger: `cfn.delete-while-creating`."""
        stack = self._engine.stack(_given(params, "StackName"))
        status = "" if stack is None else stack["StackStatus"]
        if stack is None or status == "DELETE_IN_PROGRESS":
            return self._deletion_taken()
        if status in STOPPABLE:
            stack["_delete_requested"] = True
            return self._deletion_taken()
        if status.endswith("_IN_PROGRESS") and status not in NEW:
            words = ledger.text("cfn.delete-while-updating", stack=stack["StackId"], status=status)
            return self._refuse("ValidationError", words)
        answer = self._original("DeleteStack", params)
        if answer[0] == _OK and stack["StackStatus"] != "DELETE_COMPLETE":
            stack["StackStatus"] = "DELETE_IN_PROGRESS"
        return answer

    def create_change_set(self, params: Parameters) -> Answer:
        """CreateChangeSet. Runs on a thread: an import looks for what it names."""
        refused = self._refused_change_set(params)
        if refused is not None:
            return refused
        name = _given(params, "StackName")
        before = self._engine.stack(name)
        template, values = ({}, {}) if before is None else (before["_template"], before["_resolved_params"])
        known = set(self._engine.change_sets)
        events = [] if before is None else self._engine.events.get(before["StackId"], [])
        answer = self._original("CreateChangeSet", params)
        if before is not None and before["StackStatus"] in NEW:
            answer = self._same_stack(before, events, answer)
        for identity in set(self._engine.change_sets) - known:
            self._finish_later(self._engine.change_sets[identity], template, values)
        return answer

    def describe_change_set(self, params: Parameters) -> Answer:
        """DescribeChangeSet, with properties' values where they are asked for."""
        found = self._change_set(params)
        answer = self._original("DescribeChangeSet", params)
        if found is None or answer[0] != _OK or _given(params, "IncludePropertyValues") != "true":
            return answer
        return answer[0], answer[1], with_values(answer[2], found["Changes"])

    def list_change_sets(self, params: Parameters) -> Answer:
        """ListChangeSets."""
        for found in list(self._engine.change_sets.values()):
            _finish(found)
        return self._original("ListChangeSets", params)

    def list_stack_resources(self, params: Parameters) -> Answer:
        """ListStackResources: what is still being made has a time too, which the API's model requires."""
        stack = self._engine.stack(_given(params, "StackName"))
        if stack is not None:
            for resource in list(stack["_resources"].values()):
                resource["Timestamp"] = resource.get("Timestamp") or stack["CreationTime"]
        return self._original("ListStackResources", params)

    def execute_change_set(self, params: Parameters) -> Answer:
        """ExecuteChangeSet, on a stack in a state that allows it."""
        found = self._change_set(params)
        stack = None if found is None else self._engine.stack(found["StackId"])
        if stack is not None and stack["StackStatus"] not in UPDATABLE | NEW:
            return self._refuse("ValidationError", _not_updatable(stack))
        return self._original("ExecuteChangeSet", params)

    def _refused_change_set(self, params: Parameters) -> Answer | None:
        name = _given(params, "StackName")
        stack = self._engine.stack(name)
        kind = _given(params, "ChangeSetType") or "UPDATE"
        if stack is None or (stack["StackStatus"] in NEW and kind != "UPDATE"):
            return None
        if kind == "CREATE":
            words = ledger.text("cfn.exists-for-change-set", name=name, change_set=_given(params, "ChangeSetName"))
            return self._refuse("ValidationError", words)
        return self._not_updatable(params)

    def _not_updatable(self, params: Parameters) -> Answer | None:
        stack = self._engine.stack(_given(params, "StackName"))
        if stack is None or stack["StackStatus"] in UPDATABLE:
            return None
        return self._refuse("ValidationError", _not_updatable(stack))

    def _same_stack(self, stack: Record, events: list[Record], answer: Answer) -> Answer:
        """A stack in review stays the same one, whatever change sets come and go. Ledger: `cfn.review`."""
        another = self._engine.stacks.get(stack["StackName"])
        if another is stack:
            return answer
        self._engine.stacks[stack["StackName"]] = stack
        self._engine.events[stack["StackId"]] = events
        if another is None:
            return answer
        self._engine.events.pop(another["StackId"], None)
        stack["Tags"] = another["Tags"]
        for found in self._engine.change_sets.values():
            if found["StackId"] == another["StackId"]:
                found["StackId"] = stack["StackId"]
        return answer[0], answer[1], answer[2].replace(another["StackId"].encode(), stack["StackId"].encode())

    def _finish_later(self, found: Record, template: Record, values: Record) -> None:
        """A new change set is worked on for a moment. Ledger: `cfn.change-set`."""
        stack = self._engine.stack(found["StackId"])
        if stack is not None:
            moving = {change["ResourceChange"]["LogicalResourceId"] for change in found["Changes"]}
            before = self._engine.resolved(known_now(template, stack["_resources"], set()), values, stack)
            after = known_now(found["_template"], stack["_resources"], moving)
            add_values(found["Changes"], before, self._engine.resolved(after, found["_resolved_params"], stack))
        found["_then"] = {name: found[name] for name in ("Status", "ExecutionStatus", "StatusReason")}
        found["_at"] = time.time() + self._change_set_s
        found.update(Status="CREATE_IN_PROGRESS", ExecutionStatus="UNAVAILABLE", StatusReason="")

    def _change_set(self, params: Parameters) -> Record | None:
        name, stack = _given(params, "ChangeSetName"), _given(params, "StackName")
        for identity, found in self._engine.change_sets.items():
            named = found["ChangeSetName"] == name and stack in {"", found["StackName"], found["StackId"]}
            if identity == name or named:
                _finish(found)
                return dict(found)
        return None

    def _deletion_taken(self) -> Answer:
        return self._original("DeleteStack", {"StackName": ["no-stack-of-this-name"]})

    def _original(self, action: str, params: Parameters) -> Answer:
        answer: Answer = self._originals[action](params)
        return answer

    def _refuse(self, code: str, words: str) -> Answer:
        answer: Answer = self._engine.refusal(code, words)
        return answer


def needs_a_thread(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request is of the one action that asks other services before it answers."""
    return re.search(rb"(^|&)Action=CreateChangeSet(&|$)", body) is not None or headers.get(
        "x-amz-target", ""
    ).endswith(".CreateChangeSet")


def _finish(found: Record) -> None:
    if "_at" in found and time.time() >= found["_at"]:
        del found["_at"]
        found.update(found.pop("_then"))


def _not_updatable(stack: Record) -> str:
    return ledger.text("cfn.not-updatable", stack=stack["StackId"], status=stack["StackStatus"])


def _given(params: Parameters, name: str) -> str:
    """A parameter of the query protocol, or an empty text."""
    value = params.get(name, "")
    return str(value[0]) if isinstance(value, list) and value else str(value or "")
