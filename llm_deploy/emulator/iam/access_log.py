"""Every decision of the gate, the last ones in memory: who asked for what, and whether it was allowed.

Like CloudTrail's events, for tests and for people who narrow a policy: `GET /_local/authorizations`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

from llm_deploy.emulator.clock import Clock
from llm_deploy.emulator.iam.evaluation import ALLOWED, Access, Decision, decide
from llm_deploy.emulator.iam.failures import reason_of
from llm_deploy.emulator.iam.identity import Principal
from llm_deploy.emulator.store import Document

MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision.

    Attributes:
        time: Seconds since the epoch.
        principal: ARN of who asked; a service's name when SageMaker acts with a role.
        operation: What was called, `sagemaker:CreateModel`; an action may be another one, `iam:PassRole`.
        reason: The end of AWS's text when it was denied; empty otherwise.
    """

    time: float
    principal: str
    operation: str
    action: str
    resource: str
    allowed: bool
    reason: str = ""


class Recorder:
    """Decides, and logs what was decided."""

    def __init__(self, clock: Clock, log: AccessLog) -> None:
        self._clock = clock
        self._log = log

    def decide(self, principal: Principal, operation: str, access: Access) -> Decision:
        """Decide about a request of a principal; the root's are all allowed."""
        decision = ALLOWED if principal.policies is None else decide(access, principal.policies)
        self.add(principal.arn, operation, access, None if decision.allowed else decision)
        return decision

    def add(self, principal: str, operation: str, access: Access, denial: Decision | None) -> None:
        """Log a decision; `denial` is `None` when it was allowed."""
        reason = "" if denial is None else reason_of(access.action, denial)
        self.note(principal, operation, access.action, access.resource, reason)

    def note(self, principal: str, operation: str, action: str, resource: str, reason: str) -> None:
        """Log what somebody else decided; without a reason it was allowed."""
        now = self._clock.now()
        self._log.add(Entry(now, principal, operation, action, resource, allowed=not reason, reason=reason))


class AccessLog:
    """The last decisions, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._forgotten = 0

    def add(self, entry: Entry) -> None:
        """Note a decision; the oldest one gives way when there are too many."""
        self._forgotten += len(self._entries) == MAX_ENTRIES
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._forgotten = 0

    def document(self) -> Document:
        """For the wire; `forgotten` says how many had to give way."""
        return {"authorizations": [asdict(entry) for entry in self._entries], "forgotten": self._forgotten}
