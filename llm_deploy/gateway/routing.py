"""Which backend is asked, and which next: weights, memory of failures, and never the same generation twice."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from llm_deploy.client.transport import AsyncOpenStream, AsyncTransport
from llm_deploy.errors import (
    AccessDeniedError,
    CredentialsError,
    InferenceRequestError,
    LlmDeployError,
    NoCapacityError,
    NotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitedError,
    ThrottledError,
    UnreachableError,
)
from llm_deploy.gateway.asked import Asked, Kind
from llm_deploy.gateway.backends import Backend
from llm_deploy.gateway.config import Model

T = TypeVar("T")

NOT_STARTED = (
    UnreachableError,
    ThrottledError,
    NoCapacityError,
    OverloadedError,
    NotFoundError,
    CredentialsError,
    AccessDeniedError,
    QuotaError,
)
"""After these nothing has been generated, for certain: the request may go to another backend."""

_NOT_ITS_FAULT = (InferenceRequestError, OverloadedError)
"""The backend works; it is this request, or this moment."""


@dataclass(slots=True)
class ServedModel:
    """A public name and its backends.

    Attributes:
        in_flight: Requests that hold a place of `settings.concurrency`.
        failed_over: Told of each backend that failed, before the next is asked.
    """

    name: str
    settings: Model
    backends: Sequence[Backend]
    clock: Callable[[], float] = time.monotonic
    pick: Callable[[], float] = random.random
    failed_over: Callable[[Backend, LlmDeployError], None] = lambda _backend, _error: None
    in_flight: int = 0
    created_s: int = field(default_factory=lambda: int(time.time()))

    def enter(self) -> None:
        """Take a place.

        Raises:
            RateLimitedError: All are taken.
        """
        if self.in_flight >= self.settings.concurrency:
            raise RateLimitedError(f"model {self.name} has {self.in_flight} requests at once; no more are taken")
        self.in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    async def call(self, asked: Asked) -> bytes:
        """A whole answer, in the engine's shape.

        Raises:
            LlmDeployError: The last backend's.
        """
        return await self._ask(asked, lambda transport, body: transport.call(body))

    async def stream(self, asked: Asked) -> AsyncOpenStream:
        """An open stream, in the engine's shape. Raises as `call`."""
        return await self._ask(asked, lambda transport, body: transport.stream(body))

    def order(self) -> list[Backend]:
        """The backends as they are to be asked: one by weight among the healthy, then the others."""
        if len(self.backends) == 1:
            return list(self.backends)
        now_s = self.clock()
        healthy = [backend for backend in self.backends if backend.left_alone_until_s <= now_s]
        resting = [backend for backend in self.backends if backend.left_alone_until_s > now_s]
        resting.sort(key=lambda backend: backend.left_alone_until_s)
        return [*self._weighted(healthy), *resting]

    async def _ask(self, asked: Asked, send: Callable[[AsyncTransport, bytes], Awaitable[T]]) -> T:
        for last, backend in _with_last(_able(self.order(), asked.kind)):
            lane = backend.lane(asked.kind)
            body = backend.body(asked, lane.speech)
            asked.backend = backend.place
            try:
                answer = await send(lane.transport, body)
            except LlmDeployError as error:
                if not isinstance(error, _NOT_ITS_FAULT):
                    backend.failed(self.clock())
                if not isinstance(error, InferenceRequestError):
                    self.failed_over(backend, error)
                if last or not isinstance(error, NOT_STARTED):
                    raise
            else:
                backend.answered()
                return answer
        raise AssertionError("a model has at least one backend")

    def _weighted(self, healthy: Sequence[Backend]) -> Iterator[Backend]:
        rest = list(healthy)
        while rest:
            total = sum(backend.weight for backend in rest)
            point = self.pick() * total
            chosen = rest[0]
            for backend in rest:
                chosen = backend
                point -= backend.weight
                if backend.weight and point < 0:
                    break
            rest.remove(chosen)
            yield chosen


def _able(backends: list[Backend], kind: Kind) -> list[Backend]:
    """Those that answer such requests; all of them, to refuse it in their words, where none does."""
    return [backend for backend in backends if kind in backend.lanes] or backends


def _with_last(backends: Sequence[Backend]) -> Iterator[tuple[bool, Backend]]:
    for place, backend in enumerate(backends, start=1):
        yield place == len(backends), backend
