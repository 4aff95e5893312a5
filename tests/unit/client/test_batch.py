"""Batches: so many at once, in order, failures apart."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.client.batch import BatchItem, answered
from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.errors import InferenceError, InferenceRequestError, LlmDeployError, OverloadedError

pytestmark = pytest.mark.row("T5")


def requests(count: int) -> list[GenerationRequest]:
    return [GenerationRequest(prompt=str(index)) for index in range(count)]


async def no_pause(_: float) -> None:
    """Wait for nothing."""


@settings(max_examples=60, deadline=None)
@given(
    outcomes=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=25),
    concurrency=st.integers(1, 8),
)
def test_every_question_has_its_item_in_its_place(outcomes: list[tuple[int, bool]], concurrency: int) -> None:
    """Whatever takes how long and whatever fails: one item each, in order, never more under way than allowed."""
    under_way: list[int] = []
    most = [0]

    async def ask(request: GenerationRequest) -> Generation:
        index = int(request.prompt or 0)
        turns, fails = outcomes[index]
        under_way.append(index)
        most[0] = max(most[0], len(under_way))
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            if fails:
                raise InferenceError(f"no {index}")
            return Generation(f"answer {index}")
        finally:
            under_way.remove(index)

    told: list[int] = []
    items = asyncio.run(
        answered(ask, requests(len(outcomes)), concurrency=concurrency, on_done=lambda item: told.append(item.index))
    )
    assert [item.index for item in items] == list(range(len(outcomes)))
    assert sorted(told) == [item.index for item in items]
    assert most[0] <= concurrency
    for item, (_, fails) in zip(items, outcomes, strict=True):
        assert (item.answer is None, item.error is not None) == (fails, fails)
        assert fails or item.text == f"answer {item.index}"


def test_a_model_without_a_free_place_is_asked_again() -> None:
    """Nothing was generated; after some times it is the item's error."""
    asked: list[str | None] = []

    async def ask(request: GenerationRequest) -> Generation:
        asked.append(request.prompt)
        if request.prompt == "1" or asked.count(request.prompt) < 3:
            raise OverloadedError("full")
        return Generation("answer")

    items = asyncio.run(answered(ask, requests(2), concurrency=1, pause=no_pause))
    assert asked == ["0"] * 3 + ["1"] * 5
    assert isinstance(items[1].error, OverloadedError)
    with pytest.raises(OverloadedError):
        _ = items[1].text


def test_nothing_else_is_asked_again() -> None:
    """A model may have worked on it."""
    asked: list[str | None] = []

    async def ask(request: GenerationRequest) -> Generation:
        asked.append(request.prompt)
        raise InferenceError("broken")

    asyncio.run(answered(ask, requests(1), concurrency=1, pause=no_pause))
    assert asked == ["0"]


@pytest.mark.parametrize("stop", ["cancel", "callback"])
def test_a_batch_that_is_left_leaves_nothing_running(stop: str) -> None:
    """Cancelled, or its callback failed: the calls under way are cancelled, the others never begin."""
    cancelled: list[str | None] = []
    begun = asyncio.Event()

    async def ask(request: GenerationRequest) -> Generation:
        if request.prompt == "0" and stop == "callback":
            await begun.wait()
            return Generation("answer")
        try:
            begun.set()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(request.prompt)
            raise
        return Generation("never")

    def fail(_: BatchItem) -> None:
        raise LookupError("callback")

    async def leave() -> None:
        batch = asyncio.ensure_future(answered(ask, requests(9), concurrency=2, on_done=fail))
        await begun.wait()
        if stop == "cancel":
            batch.cancel()
        with pytest.raises(asyncio.CancelledError if stop == "cancel" else LookupError):
            await batch

    asyncio.run(leave())
    assert cancelled == (["0", "1"] if stop == "cancel" else ["1"])


def test_concurrency_below_one_is_refused() -> None:
    """It would wait for ever."""
    with pytest.raises(InferenceRequestError):
        asyncio.run(answered(_never, requests(1), concurrency=0))


def test_an_item_without_answer_and_error_is_an_error_still() -> None:
    """Never an empty text."""
    with pytest.raises(LlmDeployError):
        _ = BatchItem(0, None, None).text


async def _never(_: GenerationRequest) -> Generation:
    raise AssertionError
