"""What a run tells while it works, and the clock that it works by."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from llm_deploy.deploy.plan import Action


class Clock(Protocol):
    """Time, so that tests need none."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let this much time pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for that long."""
        time.sleep(seconds)


class Stage(Enum):
    """Where a step is."""

    STARTED = "started"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """Something happened.

    Attributes:
        status: The service's own word.
        elapsed_s: Seconds since the object's start.
        detail: For people while they wait: how far a rollout is, or what a target adds (the container's last line).
    """

    stage: Stage
    action: Action
    kind: str
    name: str
    status: str = ""
    elapsed_s: float = 0.0
    detail: str = ""
