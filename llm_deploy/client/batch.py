"""Many questions to one model: so many at once, answers in their order, failures one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.errors import InferenceRequestError, LlmDeployError, OverloadedError

Ask = Callable[[GenerationRequest], Awaitable[Generation]]

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one question: an answer, or why there is none.

    Attributes:
        index: Its place among the questions.
    """

    index: int
    answer: Generation | None
    error: LlmDeployError | None

    @property
    def text(self) -> str:
        """The answer's text.

        Raises:
            LlmDeployError: Why there is no answer.
        """
        if self.answer is None:
            raise self.error or LlmDeployError("no answer")
        return self.answer.text


async def answered(
    ask: Ask,
    requests: Sequence[GenerationRequest],
    *,
    concurrency: int,
    on_done: Callable[[BatchItem], None] | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[BatchItem]:
    """Ask everything; a model without a free place is asked again, a few times, after a growing pause.

    When this is cancelled, or `on_done` raises, the calls under way are cancelled.

    Raises:
        InferenceRequestError: `concurrency` is below 1.
    """
    if concurrency < 1:
        raise InferenceRequestError("concurrency must be at least 1")
    found: list[BatchItem] = []
    places = iter(enumerate(requests))

    def done(item: BatchItem) -> None:
        found.append(item)
        if on_done is not None:
            on_done(item)

    workers = [asyncio.ensure_future(_work(ask, places, done, pause)) for _ in range(min(concurrency, len(requests)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return sorted(found, key=lambda item: item.index)


async def _work(
    ask: Ask,
    places: Iterator[tuple[int, GenerationRequest]],
    done: Callable[[BatchItem], None],
    pause: Callable[[float], Awaitable[None]],
) -> None:
    for index, request in places:  # shared by all workers: each takes the next one
        try:
            item = BatchItem(index, await _patiently(ask, request, pause), None)
        except LlmDeployError as error:
            item = BatchItem(index, None, error)
        done(item)


async def _patiently(ask: Ask, request: GenerationRequest, pause: Callable[[float], Awaitable[None]]) -> Generation:
    for attempt in range(_ATTEMPTS - 1):
        try:
            return await ask(request)
        except OverloadedError:  # nothing was generated
            await pause(_FIRST_PAUSE_S * 2**attempt * (0.5 + random.random()))  # noqa: S311 - to part those that wait
    return await ask(request)
