"""Looking at one object again and again: how often, how long, and what a wait survives when there is no answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from llm_deploy.deploy.inventory import Found, Managers, Watching
from llm_deploy.deploy.plan import Change, short_kind
from llm_deploy.deploy.steps import Clock, Stage, Step
from llm_deploy.errors import CloudError, ThrottledError, UnavailableError, UnreachableError, WaitTimeoutError

POLL_EVERY_S = 0.25
POLL_AT_MOST_EVERY_S = 10.0
"""Polling starts fast, for a local cloud, and slows down to what AWS's control plane likes."""

NO_ANSWER_S = 300.0
"""How long a wait goes on without one good answer. The cloud works on meanwhile, and an outage of minutes is no reason
to lose half an hour of start-up; one that lasts is a reason to stop. Each look has been tried again by botocore."""
PAUSE_S = 5.0
LONGEST_PAUSE_S = 30.0

NO_ANSWER = "no answer, looking again"
"""In place of a service's word, while a look fails for reasons that pass."""

PASSING = (ThrottledError, UnavailableError, UnreachableError)
"""What may be over by the next look. Refused or expired credentials, and everything else, end the wait at once."""


@dataclass(frozen=True, slots=True)
class Lookout:
    """How a run looks at objects.

    Attributes:
        deadline_s: When, on the clock, the time allowed is over.
        random: Draws from [0, 1): the part of a pause by which runs that were cut off together come back apart.
    """

    managers: Managers
    clock: Clock
    deadline_s: float
    random: Callable[[], float] = random.random

    def find(self, change: Change, started_s: float) -> Generator[Step, None, Found | None]:
        """The object with all that is known of it."""
        return self._look(self.managers[change.kind].find, change, started_s)

    def watch(self, change: Change, started_s: float) -> Generator[Step, None, Found | None]:
        """How far the object is, with as few calls as possible: without tags and owner where that takes fewer."""
        manager = self.managers[change.kind]
        return self._look(manager.watch if isinstance(manager, Watching) else manager.find, change, started_s)

    def complete(self, change: Change, watched: Found | None, started_s: float) -> Generator[Step, None, Found | None]:
        """What a watched object has beside what was seen; no call where watching shows everything."""
        if watched is None or not isinstance(self.managers[change.kind], Watching):
            return watched
        return (yield from self.find(change, started_s))

    def waiting(self, change: Change, found: Found | None, started_s: float) -> Step:
        """Let time pass before the next look; raises WaitTimeoutError when the deadline has."""
        now_s = self.clock.now_s()
        if now_s >= self.deadline_s:
            raise _too_late(change, found)
        elapsed_s = now_s - started_s
        self.clock.sleep(min(max(POLL_EVERY_S, elapsed_s / 20), POLL_AT_MOST_EVERY_S, self.deadline_s - now_s))
        status, stage = (found.status, found.stage) if found else ("", "")
        return replace(_step(change, status, elapsed_s), detail=stage)

    def _look(
        self, look: Callable[[str], Found | None], change: Change, started_s: float
    ) -> Generator[Step, None, Found | None]:
        """Look, and again where the cloud gives no answer for now."""
        silent_since_s: float | None = None
        pause_s = PAUSE_S
        while True:
            try:
                return look(change.name)
            except CloudError as error:
                now_s = self.clock.now_s()
                silent_since_s = now_s if silent_since_s is None else silent_since_s
                over = now_s >= self.deadline_s or now_s - silent_since_s >= NO_ANSWER_S
                if over or not isinstance(error, PASSING):
                    raise
                yield replace(_step(change, NO_ANSWER, now_s - started_s), detail=error.message)
                self.clock.sleep(min(pause_s * (1 + self.random()) / 2, self.deadline_s - now_s))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _step(change: Change, status: str, elapsed_s: float) -> Step:
    return Step(Stage.WAITING, change.action, change.kind, change.name, status, elapsed_s)


def _too_late(change: Change, found: Found | None) -> WaitTimeoutError:
    status = found.status if found else "not visible yet"
    return WaitTimeoutError(
        f"{short_kind(change.kind)} '{change.name}' is still {status} when the time allowed is over.",
        hint="Nothing was undone and the cloud goes on by itself (and bills). Run the same command again to go on "
        "waiting, with a larger --timeout, or `llmdeploy delete-endpoint` to remove it.",
    )
