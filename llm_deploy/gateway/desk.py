"""What happens to every request whatever its route: a place, a clock, an end, and what is written down of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llm_deploy.errors import LlmDeployError, RateLimitedError
from llm_deploy.gateway.access import Access, Permit
from llm_deploy.gateway.answers.heard import Heard
from llm_deploy.gateway.answers.writer import Tally
from llm_deploy.gateway.asgi import ClientGoneError, Header, Held, Receive, Scope, Send, abort, request_id, send_whole
from llm_deploy.gateway.asked import Asked
from llm_deploy.gateway.browsers import BrowserGuard
from llm_deploy.gateway.config import Limits
from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.metrics import Metrics, Record
from llm_deploy.gateway.refusals import Refusal, Style, backend_error, refusal
from llm_deploy.gateway.routing import ServedModel
from llm_deploy.gateway.traced import request_span
from llm_deploy.tracing import spans

GONE: Final = 499
"""The status that logs and metrics show for a client that left. Source: nginx."""

_QUOTED: Final = re.compile(r""": b?['"].*""", re.DOTALL)
"""The beginning of an answer that could not be read, as messages quote it: a model's words, which logs do not hold."""

_CUTS: Final[Mapping[str, Refusal]] = {
    "slow_body": Refusal(408, "invalid_request_error", "slow_body", "the body did not arrive in the time allowed"),
    "timeout": Refusal(504, "server_error", "timeout", "the answer was not whole in the time allowed"),
    "shutdown": Refusal(503, "server_error", "shutting_down", "the gateway is shutting down", 1),
}


@dataclass(slots=True)
class Request:
    """One request at work.

    Attributes:
        tally: What is known of its answer, for metering.
        begun: Its answer has begun: a status has been sent.
        streams: It counts among the open streams.
        heard: What its model says, where traces hold it.
    """

    path: str
    style: Style
    record: Record
    held: Held
    send: Send
    model: ServedModel | None = None
    permit: Permit | None = None
    asked: Asked | None = None
    tally: Tally = field(default_factory=Tally)
    begun: bool = False
    streams: bool = False
    heard: Heard | None = None

    @property
    def id_header(self) -> Header:
        """The header that tells the request's id."""
        return (b"x-request-id", self.record.request_id.encode())


Answer = Callable[[Request, Scope, Receive], Awaitable[None]]


@dataclass(slots=True)
class Desk:
    """Where requests come in and leave.

    Attributes:
        open: Requests at work: what the overseer looks through.
        by_route: How many of them, by path.
        log_prompts: Whether bodies are written into the log.
        guard: Keeps web pages away where no keys do.
    """

    access: Access
    limits: Limits
    metrics: Metrics
    journal: Journal
    log_prompts: bool = False
    guard: BrowserGuard | None = None
    clock: Callable[[], float] = time.monotonic
    open: set[Held] = field(default_factory=set)
    by_route: dict[str, int] = field(default_factory=dict)

    async def handle(
        self, path: str, style: Style, scope: Scope, receive: Receive, send: Send, *, answer: Answer
    ) -> None:
        """See one request through, whatever happens to it."""
        started_s = self.clock()
        held = Held(receive, asyncio.get_running_loop(), started_s + self.limits.body_timeout_s)
        request = Request(path, style, Record(path, request_id(scope), started_s), held, send)
        self._enter(request)
        if spans.enabled():
            with request_span(request, scope):
                await self._see_through(request, scope, receive, answer)
        else:
            await self._see_through(request, scope, receive, answer)

    async def _see_through(self, request: Request, scope: Scope, receive: Receive, answer: Answer) -> None:
        try:
            await self._answered(request, scope, receive, answer)
        except asyncio.CancelledError:
            if not request.held.caught():
                raise
            await self._cut(request)
        finally:
            self._leave(request)

    async def _answered(self, request: Request, scope: Scope, receive: Receive, answer: Answer) -> None:
        try:
            self._check_room(request.path)
            if self.guard is not None:
                self.guard.check(scope)
            await answer(request, scope, receive)
        except LlmDeployError as error:
            await self._refuse(request, error)
        except ClientGoneError:
            request.record.status = GONE

    def note(self, request: Request, error: LlmDeployError) -> Refusal:
        """What a caller is told of an error; the whole of it goes into the log when it is ours or a backend's."""
        told = refusal(error if request.model is None else backend_error(error, model=request.record.model))
        request.record.refused = told.code
        if error.http_status >= 500:  # noqa: PLR2004 - HTTP's border between theirs and ours
            document = {"event": "error", "request_id": request.record.request_id, "model": request.record.model}
            message = error.message if self.log_prompts else _QUOTED.sub(": ...", error.message)
            self.journal.write({**document, "error": type(error).__name__, "message": message})
        return told

    async def send_last(self, request: Request, out: bytes) -> None:
        """Send the end of a stream."""
        self._wait_for_reader(request)
        await request.send({"type": "http.response.body", "body": out})

    async def send_all(self, request: Request, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
        """Send an answer that is whole."""
        self._wait_for_reader(request)
        request.record.status = status
        await send_whole(request.send, status, body, headers=[request.id_header, *headers])

    def _wait_for_reader(self, request: Request) -> None:
        """What comes now is the end: from here on the reader alone has a time."""
        request.held.finish()
        request.held.deadline_s, request.held.late = self.clock() + self.limits.stall_s, "stalled"

    async def _refuse(self, request: Request, error: LlmDeployError) -> None:
        await self._tell(request, self.note(request, error))

    async def _tell(self, request: Request, told: Refusal, *headers: Header) -> None:
        if request.begun:
            await self.send_last(request, told.event(request.style))
            return
        await self.send_all(request, told.status, told.body(request.style), [*told.headers(), *headers])

    async def _cut(self, request: Request) -> None:
        """End a request whose task was cancelled by us. Nobody cancels it again, so that what is told has a time."""
        reason = request.held.reason or "shutdown"
        request.record.refused = reason
        if reason == "gone":
            request.record.status = GONE
        elif reason == "stalled":
            await self._drop(request)
        else:
            try:
                async with asyncio.timeout(self.limits.stall_s):
                    await self._tell(request, _CUTS[reason], (b"connection", b"close"))
            except TimeoutError:
                await self._drop(request)

    @staticmethod
    async def _drop(request: Request) -> None:
        abort(request.send)
        await asyncio.sleep(0)  # the server learns of it with the loop's next turn

    def _check_room(self, path: str) -> None:
        if self.metrics.in_flight > self.limits.concurrency:
            raise RateLimitedError(f"the gateway has {self.limits.concurrency} requests at once; no more are taken")
        most = self.limits.routes.get(path)
        if most is not None and self.by_route[path] > most:
            raise RateLimitedError(f"{path} has {most} requests at once; no more are taken")

    def _enter(self, request: Request) -> None:
        self.open.add(request.held)
        self.metrics.in_flight += 1
        self.by_route[request.path] = self.by_route.get(request.path, 0) + 1

    def _leave(self, request: Request) -> None:
        """Settle and count; runs after failures and cancellations too."""
        request.held.release()
        self.open.discard(request.held)
        self.metrics.in_flight -= 1
        self.metrics.streams_open -= request.streams
        self.by_route[request.path] -= 1
        if request.model is not None:
            request.model.leave()
        record = request.record
        _count(request, record, request.tally)
        if request.permit is not None:
            request.permit.settle(prompt_tokens=record.prompt_tokens, generated_tokens=record.generated_tokens)
        record.total_s = self.clock() - record.started_s
        record.status = record.status or GONE
        self.journal.end(record, self._prompts(request))

    def _prompts(self, request: Request) -> Mapping[str, Any] | None:
        if not self.log_prompts or request.asked is None:
            return None
        return {"body": request.asked.document}


def _count(request: Request, record: Record, tally: Tally) -> None:
    """The engine's counts; where it was cut off before it said them, what is known."""
    record.finish = tally.finish or ""
    record.generated_tokens = tally.events if tally.generated_tokens is None else tally.generated_tokens
    if request.asked is not None:
        record.backend = request.asked.backend
        estimate = request.asked.prompt_estimate if request.begun else 0
        record.prompt_tokens = estimate if tally.prompt_tokens is None else tally.prompt_tokens
    else:
        record.prompt_tokens = tally.prompt_tokens or 0
