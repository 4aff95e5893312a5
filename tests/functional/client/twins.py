"""One call made by both halves of the client, each to a server of its own that answers alike."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from llm_deploy.client.model import Model
from llm_deploy.client.model_async import AsyncModel
from llm_deploy.client.patience import Patience
from llm_deploy.dialects.types import Chunk, Generation
from llm_deploy.errors import LlmDeployError
from tests.fakes.runtime_server import Reply, RuntimeServer, serving

Call = Callable[[Any], Any]
"""What is done with a model object: `lambda llm: llm.generate(request)`."""


_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


async def _rest(_: float) -> None:
    """No pause."""


PATIENCE = Patience(sleep=lambda _: None, sleep_async=_rest)


@dataclass(frozen=True)
class Happened:
    """What came of a call: what the server saw, and what the caller got."""

    sent: list[tuple[str, Any, dict[str, str]]]
    got: Any
    error: tuple[type, str, str | None, str] | None


def by_thread(make: Callable[[str], Model], call: Call, replies: Sequence[Reply]) -> Happened:
    """The call made from a thread."""
    with serving(*replies) as server, make(server.url) as llm:
        try:
            got = call(llm)
            if inspect.isgenerator(got):
                got = list(got)
        except LlmDeployError as error:
            return Happened(_sent(server), None, _of(error))
        return Happened(_sent(server), untimed(got), None)


def by_loop(make: Callable[[str], AsyncModel], call: Call, replies: Sequence[Reply]) -> Happened:
    """The same call made on an event loop."""

    async def made(server: RuntimeServer) -> Happened:
        async with make(server.url) as llm:
            try:
                got = call(llm)
                got = await _all(got) if hasattr(got, "__aiter__") else await got
            except LlmDeployError as error:
                return Happened(_sent(server), None, _of(error))
            return Happened(_sent(server), untimed(got), None)

    with serving(*replies) as server:
        return asyncio.run(made(server))


def untimed(got: Any) -> Any:  # noqa: ANN401 - whatever a call gives
    """The same without what differs from run to run."""
    if isinstance(got, list):
        return [untimed(each) for each in got]
    if isinstance(got, Generation | Chunk):
        assert got.timings is None or got.timings.total_s > 0
        return replace(got, timings=None)
    if hasattr(got, "answer"):
        error = None if got.error is None else (type(got.error), _ADDRESS.sub("URL", got.error.message))
        return (got.index, untimed(got.answer), error)
    return got


async def _all(chunks: AsyncIterator[Any]) -> list[Any]:
    async with aclosing(chunks) as it:  # type: ignore[type-var]
        return [chunk async for chunk in it]


def _sent(server: RuntimeServer) -> list[tuple[str, Any, dict[str, str]]]:
    return [(seen.path, seen.document, _headers(seen.headers)) for seen in server.seen]


def _headers(headers: Any) -> dict[str, str]:  # noqa: ANN401 - a mapping
    changing = {"host", "authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
    return {name: value for name, value in headers.items() if name not in changing}


def _of(error: LlmDeployError) -> tuple[type, str, str | None, str]:
    partial = str(getattr(error, "partial_text", ""))
    return type(error), _ADDRESS.sub("URL", error.message), error.hint, partial
