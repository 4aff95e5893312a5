"""Stacks as CloudFormation keeps them, and the calls that read and change them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.aws import Session, aws_errors
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import SCALABLE_TARGET, SCALING_POLICY, tag_list, tag_map

CHANGE_SET = "llmdeploy"
"""One name for all, so that what a killed run left is found and taken away by the next."""

IN_REVIEW = "REVIEW_IN_PROGRESS"
GONE = "DELETE_COMPLETE"
UNFINISHED = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"})
"""Nothing but deletion is left for these. Source: CloudFormation user guide, stack status codes."""
STUCK = frozenset({"UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"})

Document = Mapping[str, Any]


def object_name(kind: str, physical_id: str) -> str:
    """Our name of an object, from what a stack calls it."""
    if kind == SCALABLE_TARGET:
        return physical_id.split("|", maxsplit=1)[0]
    if kind == SCALING_POLICY:
        _, _, tail = physical_id.split("|", maxsplit=1)[0].partition(":resource/sagemaker/")
        resource_id, _, name = tail.partition(":policyName/")
        return f"{resource_id}|{name}"
    return physical_id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack as it is now.

    Attributes:
        id: Its ARN, by which it is found after its deletion too.
        status: CloudFormation's own word.
    """

    name: str
    id: str
    status: str
    reason: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_review(self) -> bool:
        """Whether it has nothing but change sets."""
        return self.status == IN_REVIEW

    @property
    def busy(self) -> bool:
        """Whether CloudFormation is working on it."""
        return self.status.endswith("_IN_PROGRESS") and not self.in_review


@dataclass(frozen=True, slots=True)
class Member:
    """One resource of a stack."""

    logical_id: str
    kind: str
    physical_id: str
    status: str

    @property
    def name(self) -> str:
        """Our name of it."""
        return object_name(self.kind, self.physical_id)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a change set is to bring about.

    Attributes:
        kind: `CREATE`, `UPDATE` or `IMPORT`.
        template: The template's text.
        imports: For an import, what to take in: type, logical id and identifier of each.
    """

    stack: str
    kind: str
    template: str
    tags: Mapping[str, str] = field(default_factory=dict)
    imports: Sequence[Document] = ()


@dataclass(frozen=True)
class Stacks:
    """The stacks of one account and region."""

    session: Session

    def find(self, name_or_id: str) -> Stack | None:
        """A stack by its name, or also a deleted one by its id."""
        try:
            described = self._call("describe_stacks", name_or_id, StackName=name_or_id)["Stacks"][0]
        except NotFoundError:
            return None
        reason, tags = described.get("StackStatusReason", ""), tag_map(described.get("Tags", ()))
        return Stack(described["StackName"], described["StackId"], described["StackStatus"], reason, tags)

    def exists(self, name: str) -> bool:
        """Whether there is a stack of this name; where that may not be asked, it is taken to be there."""
        try:
            return self.find(name) is not None
        except AccessDeniedError:
            return True

    def members(self, name: str) -> tuple[Member, ...]:
        """The resources that a stack holds now."""
        with aws_errors(f"list the resources of stack '{name}'"):
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=name)
            rows = [row for page in pages for row in page["StackResourceSummaries"]]
        return tuple(
            Member(row["LogicalResourceId"], row["ResourceType"], row["PhysicalResourceId"], row["ResourceStatus"])
            for row in rows
            if row["ResourceStatus"] != GONE and row.get("PhysicalResourceId")
        )

    def begin_change_set(self, wish: Wish) -> str:
        """Have a change set worked out, in place of whatever an earlier run left; returns its id."""
        with suppress(NotFoundError):
            self._call("delete_change_set", wish.stack, StackName=wish.stack, ChangeSetName=CHANGE_SET)
        request: dict[str, Any] = {
            "StackName": wish.stack,
            "ChangeSetName": CHANGE_SET,
            "ChangeSetType": wish.kind,
            "TemplateBody": wish.template,
            "ClientToken": secrets.token_hex(16),
        }
        if wish.tags:
            request["Tags"] = tag_list(wish.tags)
        if wish.imports:
            request["ResourcesToImport"] = list(wish.imports)
        answer = self._call("create_change_set", wish.stack, **request)
        return str(answer["Id"])

    def change_set(self, stack: str, identity: str) -> dict[str, Any]:
        """A change set with all its changes. The stack is named beside the id: permissions are for stacks."""
        found: dict[str, Any] = {}
        token: dict[str, str] = {}
        while True:
            page = self._call(
                "describe_change_set",
                identity,
                StackName=stack,
                ChangeSetName=identity,
                IncludePropertyValues=True,
                **token,
            )
            found = {**page, "Changes": [*found.get("Changes", ()), *page.get("Changes", ())]}
            if "NextToken" not in page:
                return found
            token = {"NextToken": page["NextToken"]}

    def problems(self, stack: str, change_set: str) -> tuple[str, ...]:
        """What early validation says about a change set that it refused."""
        with aws_errors(f"read why change set '{change_set}' was refused"):
            answer = self._client.describe_events(
                StackName=stack, ChangeSetName=change_set, Filters={"FailedEvents": True}
            )
        reasons = (event.get("ValidationStatusReason") for event in answer.get("OperationEvents", ()))
        return tuple(reason for reason in reasons if reason)

    def discard_change_set(self, stack: str, identity: str) -> None:
        """Remove one change set; the absent is no error."""
        with suppress(NotFoundError):
            self._call("delete_change_set", identity, StackName=stack, ChangeSetName=identity)

    def discard_review(self, name: str) -> None:
        """Remove a stack that has never been more than change sets, once it has none."""
        stack = self.find(name)
        if stack is None or not stack.in_review:
            return
        with aws_errors(f"list the change sets of stack '{name}'"):
            others = self._client.list_change_sets(StackName=stack.id)["Summaries"]
        if not others:
            self.delete(stack.id)

    def execute(self, stack: str, change_set: str) -> None:
        """Begin what a change set says."""
        self._call("execute_change_set", change_set, StackName=stack, ChangeSetName=change_set)

    def delete(self, name: str) -> None:
        """Begin to delete a stack and all that it holds."""
        self._call("delete_stack", name, StackName=name)

    def events(self, identity: str) -> Iterator[Document]:
        """A stack's events, the newest first; pages are fetched as they are read."""
        with aws_errors(f"read the events of stack '{identity}'"):
            for page in self._client.get_paginator("describe_stack_events").paginate(StackName=identity):
                yield from page["StackEvents"]

    def last_event(self, identity: str) -> str | None:
        """The id of a stack's newest event."""
        newest = next(iter(self.events(identity)), None)
        return None if newest is None else str(newest["EventId"])

    @property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        return self.session.client("cloudformation")

    def _call(self, operation: str, name: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - requests are documents
        with aws_errors(f"{operation.replace('_', ' ')} '{name}'"):
            answer: dict[str, Any] = getattr(self._client, operation)(**request)
        return answer
