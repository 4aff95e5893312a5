"""What is asked again, and what never."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llm_deploy import errors
from llm_deploy.client.patience import Patience

MAY_HAVE_STARTED = sorted(
    {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LlmDeployError)}
    - {errors.ThrottledError, errors.NoCapacityError, errors.UnreachableError},
    key=lambda kind: kind.__name__,
)


def asked(error: errors.LlmDeployError, patience: Patience) -> int:
    """How often it is asked when it always fails like this."""
    count = 0

    def ask() -> None:
        nonlocal count
        count += 1
        raise error

    with pytest.raises(type(error)):
        patience.repeat(ask)
    return count


class VirtualClock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Pass it."""
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.mark.parametrize("kind", MAY_HAVE_STARTED)
def test_nothing_that_may_have_started_is_asked_again(kind: type[errors.LlmDeployError]) -> None:
    """Every class of the tree but the three that say nothing was started."""
    assert asked(kind("x"), Patience(wait_for_capacity_s=600, sleep=lambda _: None)) == 1


@pytest.mark.parametrize("kind", [errors.ThrottledError, errors.UnreachableError])
def test_what_was_not_started_is_asked_four_times(kind: type[errors.LlmDeployError]) -> None:
    """With pauses that grow and are drawn at random."""
    pauses: list[float] = []
    assert asked(kind("x"), Patience(sleep=pauses.append, jitter=lambda: 1.0)) == 4
    assert pauses == [0.5, 1.0, 2.0]


def test_capacity_is_waited_for_only_when_asked_to() -> None:
    """And no longer than asked to."""
    clock = iter(range(0, 1000, 5)).__next__
    assert asked(errors.NoCapacityError("x"), Patience(sleep=lambda _: None)) == 1
    patience = Patience(wait_for_capacity_s=22, clock=clock, sleep=lambda _: None)
    assert asked(errors.NoCapacityError("x"), patience) == 5


def test_nothing_is_asked_again_after_the_time_for_an_answer() -> None:
    """Neither is a pause begun that would last until then; the time starts anew where capacity was waited for."""
    clock = VirtualClock()
    patience = Patience(clock=lambda: clock.now_s, sleep=clock.sleep, jitter=lambda: 1.0, wait_for_capacity_s=60)
    kinds: Iterator[errors.LlmDeployError] = iter(
        [errors.NoCapacityError("x"), errors.ThrottledError("x"), errors.UnreachableError("x")]
    )

    def ask() -> None:
        raise next(kinds)

    with pytest.raises(errors.UnreachableError):
        patience.repeat(ask, within_s=1.2)
    assert clock.pauses == [6.25, 0.5]


def test_a_throttled_question_does_not_end_a_long_wait_for_capacity() -> None:
    """However often it was refused for want of a copy before."""
    clock = VirtualClock()
    patience = Patience(clock=lambda: clock.now_s, sleep=clock.sleep, jitter=lambda: 0.5, wait_for_capacity_s=600)
    refusals: list[errors.LlmDeployError] = [errors.NoCapacityError("x")] * 20 + [errors.ThrottledError("x")]

    def ask() -> str:
        if refusals:
            raise refusals.pop(0)
        return "answer"

    assert patience.repeat(ask) == "answer"


def test_the_answer_after_a_refusal_is_given() -> None:
    """Asking again is worth it."""
    answers: Iterator[object] = iter([errors.ThrottledError("x"), "answer"])

    def ask() -> object:
        answer = next(answers)
        if isinstance(answer, errors.LlmDeployError):
            raise answer
        return answer

    assert Patience(sleep=lambda _: None).repeat(ask) == "answer"
