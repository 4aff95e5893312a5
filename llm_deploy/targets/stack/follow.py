"""Waiting for CloudFormation: change sets until they are worked out, stacks until they are done, as steps."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.aws import kind_of_error
from llm_deploy.deploy.apply import Clock, Stage, Step
from llm_deploy.deploy.plan import Action, Change, short_kind
from llm_deploy.errors import (
    AccessDeniedError,
    CloudError,
    ConflictError,
    DeployError,
    LeftoverError,
    LlmDeployError,
    NotFoundError,
    WaitTimeoutError,
)
from llm_deploy.resource import Resource
from llm_deploy.targets.stack.events import STACK, EventReader
from llm_deploy.targets.stack.stacks import GONE, Stack, Stacks, Wish

POLL_EVERY_S = 0.25
POLL_AT_MOST_EVERY_S = 5.0
"""Polling starts fast, for a local cloud, and slows down to what CloudFormation's API likes."""
NOT_VISIBLE_S = 60.0
"""How long what was asked for may stay invisible in a stack's events."""
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
"""How CloudFormation says that a stack is as wanted already. Source: aws-cli's `deploy` looks for the same words."""
EARLY_VALIDATION = "EarlyValidation"
GOOD_ENDS = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


@dataclass(frozen=True)
class Follower:
    """Waits, with a clock that it was given."""

    stacks: Stacks
    clock: Clock
    deadline_s: float

    @property
    def left_s(self) -> float:
        """The time until the deadline, for whatever comes after it."""
        return self.deadline_s - self.clock.now_s()

    def worked_out(self, wish: Wish) -> Mapping[str, Any] | None:
        """A change set that can be executed; `None` when the stack is as wanted. A useless one is removed again.

        Raises:
            DeployError: CloudFormation refuses the template.
            WaitTimeoutError: It was not done in time.
        """
        identity = self.stacks.begin_change_set(wish)
        began_s = self.clock.now_s()
        while True:
            found = self.stacks.change_set(wish.stack, identity)
            if found["Status"] == "CREATE_COMPLETE":
                return found
            if found["Status"] == "FAILED":
                reason = found.get("StatusReason", "")
                problems = self._problems(wish.stack, identity) if EARLY_VALIDATION in reason else ()
                self.stacks.discard_change_set(wish.stack, identity)
                self.stacks.discard_review(wish.stack)
                if any(words in reason for words in NO_CHANGES):
                    return None
                raise _refused(wish.stack, reason, problems)
            self._pause(began_s, f"change set of stack '{wish.stack}'", found["Status"])

    def executed(self, stack: Stack, change_set: str, planned: Mapping[str, Change]) -> Iterator[Step]:
        """Execute a change set; the steps to its good end.

        Args:
            stack: The stack as it was before.
            change_set: Its id.
            planned: What was planned, by logical id.

        Raises:
            ConflictError: Another run has put a change set of its own in its place.
            DeployError: It ended in another way; the message has the first failed resource's own reason.
            WaitTimeoutError: It was not done in time.
        """
        reader = EventReader(planned, after=self.stacks.last_event(stack.id))
        self.begin(stack, change_set)
        ended = yield from self.until_settled(stack, reader)
        if ended.status not in GOOD_ENDS:
            raise failed(ended, reader)

    def begin(self, stack: Stack, change_set: str) -> None:
        """Execute a change set and do not wait. Raises ConflictError when another run has put its own in its place."""
        try:
            self.stacks.execute(stack.name, change_set)
        except NotFoundError as error:
            raise ConflictError(
                f"the change set of stack '{stack.name}' is gone: another run has planned since.",
                hint="Look what it did with `llmdeploy status`, then run the same command again.",
            ) from error

    def followed(self, stack: Stack, wanted: Iterable[Resource] = ()) -> Generator[Step, None, Stack]:
        """The steps of an operation that somebody else began, however it ends.

        Args:
            stack: The stack as it is now.
            wanted: What is to be in it, whose names stand for what has none yet.
        """
        # A model's name follows from its content, which may be another one in that operation.
        known = {each.id: each.name for each in wanted if not each.immutable}
        return (yield from self.until_settled(stack, EventReader(names={**known, **self._names(stack)})))

    def until_settled(self, stack: Stack, reader: EventReader) -> Generator[Step, None, Stack]:
        """The steps until nothing is in progress any more, however it ends."""
        began_s = self.clock.now_s()
        last: Step | None = None
        while True:
            # The status first: what happened before it was read is then among the events.
            now = self.stacks.find(stack.id)
            for step in reader.steps(reader.new_events(self.stacks.events(stack.id))):
                last = step
                yield step
            visible = reader.has_begun or self.clock.now_s() - began_s > NOT_VISIBLE_S
            if visible and (now is None or not now.busy):
                return now or Stack(stack.name, stack.id, GONE)
            status = now.status if now is not None else GONE
            self._pause(began_s, f"stack '{stack.name}'", status)
            yield self._waiting(last, stack.name, status, self.clock.now_s() - began_s)

    def deleted(self, stack: Stack) -> Iterator[Step]:
        """The steps of a deletion; what fails is tried once more.

        Raises:
            LeftoverError: Something cannot be deleted; the message names it and the cloud's reason.
        """
        began_s = self.clock.now_s()
        names = self._names(stack)
        for attempt in range(2):
            going = stack.status == "DELETE_IN_PROGRESS" and not attempt
            reader = EventReader(names=names, after=None if going else self.stacks.last_event(stack.id))
            self.stacks.delete(stack.id)
            ended = yield from self._until_gone(stack, reader)
            if ended.status == GONE:
                yield Step(Stage.DONE, Action.DELETE, STACK, stack.name, GONE, self.clock.now_s() - began_s)
                return
            if attempt:
                raise _blocked(ended, reader)

    def _until_gone(self, stack: Stack, reader: EventReader) -> Generator[Step, None, Stack]:
        """A stack that is stopped while it is made may seem to have ended before its deletion begins."""
        began_s = self.clock.now_s()
        while True:
            ended = yield from self.until_settled(stack, reader)
            if ended.status in {GONE, "DELETE_FAILED"}:
                return ended
            self._pause(began_s, f"stack '{stack.name}'", ended.status)

    def _names(self, stack: Stack) -> dict[str, str]:
        """By logical id, what a stack holds now."""
        try:
            return {member.logical_id: member.name for member in self.stacks.members(stack.name)}
        except NotFoundError:
            return {}

    def _problems(self, stack: str, change_set: str) -> tuple[str, ...]:
        try:
            return self.stacks.problems(stack, change_set)
        except (AccessDeniedError, CloudError):
            return ()  # a help that must not hide what is known without it

    def _waiting(self, last: Step | None, name: str, status: str, elapsed_s: float) -> Step:
        if last is not None and last.stage is Stage.WAITING:
            return Step(Stage.WAITING, last.action, last.kind, last.name, last.status, elapsed_s)
        return Step(Stage.WAITING, Action.KEEP, STACK, name, status, elapsed_s)

    def _pause(self, began_s: float, what: str, status: str) -> None:
        """Let time pass before the next look; raises when the deadline has."""
        now_s = self.clock.now_s()
        if now_s >= self.deadline_s:
            raise WaitTimeoutError(
                f"{what} is still {status} when the time allowed is over.",
                hint="CloudFormation goes on by itself, and what it makes bills. Run the same command again to go on "
                "waiting, with a larger --timeout.",
            )
        wait_s = max(POLL_EVERY_S, (now_s - began_s) / 20)
        self.clock.sleep(min(wait_s, POLL_AT_MOST_EVERY_S, self.deadline_s - now_s))


def failed(stack: Stack, reader: EventReader) -> LlmDeployError:
    """The error for a stack that did not end well, of the kind that its first failure's reason has elsewhere too."""
    failures = reader.failures()
    said = [f"{short_kind(each.kind)} '{each.name}': {each.reason}" for each in failures]
    reasons = "\n  ".join(said) or reader.stack_reason() or stack.reason or "CloudFormation gives no reason"
    kind = kind_of_error(failures[0].reason) if failures else None
    hint = (
        "The stack is back at what it was before, which serves on. Run the same command again when the cause is gone."
        if stack.status == "UPDATE_ROLLBACK_COMPLETE"
        else "Run the same command again when the cause is gone: it removes what is left of this stack first. "
        "`llmdeploy delete-endpoint` removes it for good."
    )
    return (kind or DeployError)(f"stack '{stack.name}' ended as {stack.status}.\n  {reasons}", hint=hint)


def _refused(stack: str, reason: str, problems: tuple[str, ...]) -> DeployError:
    return DeployError(
        f"CloudFormation refuses the changes of stack '{stack}': {'; '.join(problems) or reason or 'no reason given'}",
        hint="Nothing was changed. `llmdeploy template` prints what was sent.",
    )


def _blocked(stack: Stack, reader: EventReader) -> LeftoverError:
    said = [f"{short_kind(each.kind)} '{each.name}': {each.reason}" for each in reader.failures()]
    return LeftoverError(
        f"stack '{stack.name}' cannot be deleted: {'; '.join(said) or stack.reason or stack.status}",
        hint="Remove what blocks it, then run the same command again; or leave that resource alone with "
        f"`aws cloudformation delete-stack --stack-name {stack.name} --retain-resources LOGICAL_ID`.",
    )
