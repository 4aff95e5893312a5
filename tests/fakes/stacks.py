"""CloudFormation as far as its ends are hard to bring about on the local cloud: what it answers is given in advance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from llm_deploy.aws import Session

NAME = "llmdeploy-twin"
STACK_ID = f"arn:aws:cloudformation:eu-central-1:000000000000:stack/{NAME}/1"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
Document = dict[str, Any]


def stack_event(number: int, status: str, reason: str = "") -> Document:
    """An event of the stack itself."""
    return event(number, status, "AWS::CloudFormation::Stack", STACK_ID, reason)


def event(number: int, status: str, kind: str, physical_id: str, reason: str = "") -> Document:
    """The `number`-th event of the stack."""
    return {
        "EventId": str(number),
        "StackId": STACK_ID,
        "LogicalResourceId": kind.rpartition(":")[2],
        "PhysicalResourceId": physical_id,
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": BEGAN + timedelta(seconds=number),
    }


def member(kind: str, physical_id: str) -> Document:
    """A resource of the stack."""
    return {
        "LogicalResourceId": kind.rpartition(":")[2],
        "PhysicalResourceId": physical_id,
        "ResourceType": kind,
        "ResourceStatus": "CREATE_COMPLETE",
    }


@dataclass
class FakeCloudFormation:
    """One stack whose states are given.

    Attributes:
        statuses: What each look at the stack finds; the last one stays. An empty list: there is no stack.
        reason: The stack's own reason.
        tags: The stack's tags.
        events: In their order.
        members: What ListStackResources gives; `member` makes one.
        then: Events that come when a change set is executed or a deletion asked for.
        change_set: What DescribeChangeSet answers.
        validation: Reasons that early validation gives.
        lost: The change set is gone when it is executed.
        calls: Operations that change something.
    """

    statuses: list[str] = field(default_factory=list)
    reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    events: list[Document] = field(default_factory=list)
    members: list[Document] = field(default_factory=list)
    then: list[Document] = field(default_factory=list)
    change_set: Document = field(default_factory=dict)
    validation: Sequence[str] = ()
    lost: bool = False
    calls: list[str] = field(default_factory=list)

    def session(self) -> Session:
        """A session whose CloudFormation this is, and whose account has nothing else."""
        nothing = dict.fromkeys(("sagemaker", "application-autoscaling", "cloudwatch"), FakeEmptyService())
        return Session(region="eu-central-1", _clients={"cloudformation": self, **nothing})

    def describe_stacks(self, StackName: str) -> Document:  # noqa: N803 - AWS's member
        """The next state."""
        if not self.statuses:
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        described = {"StackName": NAME, "StackId": STACK_ID, "StackStatus": status, "StackStatusReason": self.reason}
        return {"Stacks": [{**described, "Tags": tags}]}

    def get_paginator(self, operation: str) -> FakePages:
        """Events, the newest first, and members."""
        if operation == "list_stack_resources":
            return FakePages("StackResourceSummaries", self.members)
        assert operation == "describe_stack_events"
        return FakePages("StackEvents", list(reversed(self.events)))

    def create_change_set(self, **request: Any) -> Document:  # noqa: ANN401 - a request
        """Take it."""
        self.calls.append(f"create {request['ChangeSetType']}")
        return {"Id": "change-set", "StackId": STACK_ID}

    def describe_change_set(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """What was given."""
        return self.change_set

    def list_change_sets(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """None besides the one that was asked for."""
        return {"Summaries": []}

    def describe_events(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """What early validation found."""
        return {"OperationEvents": [{"ValidationStatusReason": reason} for reason in self.validation]}

    def delete_change_set(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """Forget it."""
        self.calls.append("discard")
        return {}

    def execute_change_set(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """Begin."""
        if self.lost:
            message = "ChangeSet [change-set] does not exist"
            raise ClientError({"Error": {"Code": "ChangeSetNotFound", "Message": message}}, "ExecuteChangeSet")
        self.calls.append("execute")
        self._go_on()
        return {}

    def delete_stack(self, **_: Any) -> Document:  # noqa: ANN401 - a request
        """Begin."""
        self.calls.append("delete")
        self._go_on()
        return {}

    def _go_on(self) -> None:
        number = len(self.events)
        self.events += [{**each, "EventId": f"{each['EventId']} after {number}"} for each in self.then]


@dataclass(frozen=True)
class FakeEmptyService:
    """SageMaker, Application Auto Scaling or CloudWatch of an account that has nothing."""

    def get_paginator(self, operation: str) -> FakeEmptyService:  # noqa: ARG002 - all lists are alike
        """Pages of any list."""
        return self

    def paginate(self, **_: Any) -> Iterator[Document]:  # noqa: ANN401 - a request
        """One page on which every list is empty."""
        yield defaultdict(list)

    def __getattr__(self, operation: str) -> Callable[..., Document]:
        """Any other call: an empty answer about many, a refusal about one."""

        def answer(**_: Any) -> Document:  # noqa: ANN401 - a request
            if operation.endswith("s"):
                return defaultdict(list)
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find it."}}, operation)

        return answer


@dataclass(frozen=True)
class FakePages:
    """Pages of one item each."""

    member: str
    items: Sequence[Document]

    def paginate(self, **_: Any) -> Iterator[Document]:  # noqa: ANN401 - a request
        """The pages."""
        for item in self.items:
            yield {self.member: [item]}
