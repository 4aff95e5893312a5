"""What may be asked again, and when. A generation that may have started is never asked again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from llm_deploy.errors import LlmDeployError, NoCapacityError, ThrottledError, UnreachableError

T = TypeVar("T")

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_CAPACITY_PAUSE_S = 5.0


def _random() -> float:
    import random  # noqa: PLC0415 - 3 ms that only a second attempt needs

    return random.random()  # noqa: S311 - how long to wait is no secret


async def _sleep_async(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - 30 ms that callers without a loop need not pay

    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to ask again.

    Attributes:
        attempts: Most attempts in all where the request was surely not started: no connection, or throttled.
        wait_for_capacity_s: How long to go on asking an endpoint that has no copy up (scaled to zero; waking one takes
            SageMaker minutes). 0: not at all.
        clock, sleep, jitter: Seconds, a pause in seconds, a number in [0, 1).
        sleep_async: A pause on an event loop.
    """

    attempts: int = 4
    wait_for_capacity_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = _random
    sleep_async: Callable[[float], Awaitable[None]] = _sleep_async

    def repeat(self, ask: Callable[[], T], *, within_s: float | None = None) -> T:
        """Ask until it is answered, or refused in a way that asking again does not help or may not be repeated.

        Args:
            ask: Called until then.
            within_s: Later than this nothing but capacity is waited for, which has a time of its own.
        """
        begun_s = self.clock()
        trying: _Trying | None = None
        while True:
            try:
                return ask()
            except LlmDeployError as error:
                trying = trying or _Trying(self, within_s, begun_s)
                pause_s = trying.pause_s(error)
                if pause_s is None:
                    raise
                self.sleep(pause_s)

    async def repeat_async(self, ask: Callable[[], Awaitable[T]], *, within_s: float | None = None) -> T:
        """As `repeat`, on an event loop."""
        begun_s = self.clock()
        trying: _Trying | None = None
        while True:
            try:
                return await ask()
            except LlmDeployError as error:
                trying = trying or _Trying(self, within_s, begun_s)
                pause_s = trying.pause_s(error)
                if pause_s is None:
                    raise
                await self.sleep_async(pause_s)


class _Trying:
    """One question that is asked again and again. After a wait for capacity, failures and time count anew."""

    __slots__ = ("_asked_s", "_begun_s", "_failures", "_patience", "_within_s")

    def __init__(self, patience: Patience, within_s: float | None, begun_s: float) -> None:
        self._patience = patience
        self._within_s = within_s
        self._failures = 0
        self._begun_s = begun_s
        self._asked_s = begun_s

    def pause_s(self, error: LlmDeployError) -> float | None:
        """How long to wait before asking again; `None`: not again."""
        patience, now_s = self._patience, self._patience.clock()
        if isinstance(error, NoCapacityError):
            left_s = patience.wait_for_capacity_s - (now_s - self._begun_s)
            pause_s: float = min(left_s, _CAPACITY_PAUSE_S * (0.75 + patience.jitter() / 2))
            self._failures, self._asked_s = 0, now_s + pause_s
            return pause_s if left_s > 0 else None
        self._failures += 1
        if isinstance(error, UnreachableError | ThrottledError) and self._failures < patience.attempts:
            # Full jitter. Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
            pause_s = patience.jitter() * min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._failures)
            over = self._within_s is not None and now_s + pause_s - self._asked_s >= self._within_s
            return None if over else pause_s
        return None
