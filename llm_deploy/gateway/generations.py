"""The hot routes: one request from its first byte to its last.

Raw ASGI: no framework, no models of pydantic, no task for a chunk. A request is one task; what else it needs is a
timer, or a task that notices that its client has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llm_deploy.client.transport import AsyncOpenStream
from llm_deploy.errors import InferenceError, InferenceRequestError, LlmDeployError, RateLimitedError
from llm_deploy.gateway import asked as bodies
from llm_deploy.gateway.access import Access, Caller, Permit
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.sniffed import SniffedWriter
from llm_deploy.gateway.answers.whole import embeddings_answer, openai_answer, tgi_answer
from llm_deploy.gateway.answers.writer import Tally
from llm_deploy.gateway.asgi import (
    SAFETY,
    ClientGoneError,
    Held,
    Receive,
    Scope,
    Send,
    abort,
    api_key,
    read_body,
    request_id,
    send_whole,
)
from llm_deploy.gateway.asked import Asked, Kind
from llm_deploy.gateway.config import Limits
from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.metrics import Metrics, Record
from llm_deploy.gateway.refusals import Refusal, Style, UnknownModelError, backend_error, refusal
from llm_deploy.gateway.routing import ServedModel

GONE: Final = 499
"""The status that logs and metrics show for a client that left. Source: nginx."""

_EVENT_STREAM: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    *SAFETY,
)
_DEFAULT_TOKENS: Final = 256
"""What an answer is taken to cost where neither the request nor the configuration says how long it may be."""


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route whose requests go to a model.

    Attributes:
        stream: What the route decides; `None` leaves it to the body.
    """

    path: str
    kind: Kind
    scope: str = "chat"
    style: Style = "openai"
    stream: bool | None = None


HOT_ROUTES: Final[Mapping[str, HotRoute]] = {
    route.path: route
    for route in (
        HotRoute("/v1/chat/completions", "chat"),
        HotRoute("/v1/completions", "completion"),
        HotRoute("/v1/embeddings", "embeddings", scope="embeddings", stream=False),
        HotRoute("/generate", "generate", style="tgi"),
        HotRoute("/generate_stream", "generate", style="tgi", stream=True),
    )
}


@dataclass(slots=True)
class Request:
    """One request at work.

    Attributes:
        tally: What is known of its answer, for metering.
    """

    route: HotRoute
    record: Record
    held: Held
    send: Send
    model: ServedModel | None = None
    permit: Permit | None = None
    asked: Asked | None = None
    tally: Tally = field(default_factory=Tally)
    begun: bool = False


@dataclass(slots=True)
class Generations:
    """What every request needs.

    Attributes:
        open: Requests at work: what the overseer looks through and a drain waits for.
        default_model: For requests that name none.
    """

    models: Mapping[str, ServedModel]
    default_model: str
    access: Access
    limits: Limits
    metrics: Metrics
    journal: Journal
    log_prompts: bool = False
    clock: Callable[[], float] = time.monotonic
    open: set[Held] = field(default_factory=set)
    by_route: dict[str, int] = field(default_factory=dict)

    async def handle(self, route: HotRoute, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens to it."""
        loop = asyncio.get_running_loop()
        started_s = self.clock()
        held = Held(receive, loop, started_s + self.limits.body_timeout_s)
        request = Request(route, Record(route.path, request_id(scope), started_s), held, send)
        self._enter(request)
        try:
            await self._answer(request, scope, receive)
        except LlmDeployError as error:
            await self._refuse(request, error)
        except ClientGoneError:
            request.record.status = GONE
        except asyncio.CancelledError:
            if not held.caught():
                raise
            await self._cut(request)
        finally:
            self._leave(request)

    async def _answer(self, request: Request, scope: Scope, receive: Receive) -> None:
        self._check_room(request.route)
        caller = self.access.caller(api_key(scope))
        request.record.key_id = caller.key_id
        body = await read_body(scope, receive, self.limits.body_bytes)
        asked = request.asked = bodies.read(request.route.kind, body, stream=request.route.stream)
        model = self._model(asked, request)
        request.held.late = "timeout"
        request.held.deadline_s = request.record.started_s + model.settings.timeout_s
        request.permit = self._admitted(request, caller, asked, model)
        model.enter()
        request.model = model
        request.record.stream = asked.stream
        if asked.stream:
            await self._stream(request, asked, model)
        else:
            await self._whole(request, asked, model)

    async def _whole(self, request: Request, asked: Asked, model: ServedModel) -> None:
        request.held.watch_soon()
        answer = await model.call(asked)
        body, request.tally = self._written(request, asked, model, answer)
        request.record.status = 200
        request.begun = True
        await send_whole(request.send, 200, body, headers=_id_header(request))

    def _written(self, request: Request, asked: Asked, model: ServedModel, answer: bytes) -> tuple[bytes, Tally]:
        if asked.kind == "embeddings":
            return embeddings_answer(answer, model.name)
        if asked.kind == "generate":
            return tgi_answer(answer, keeps_details=asked.wants_usage)
        return openai_answer(answer, _frame(request, asked, model, asked.kind))

    async def _stream(self, request: Request, asked: Asked, model: ServedModel) -> None:
        request.held.watch_soon()
        opened = await model.stream(asked)
        frame = None if asked.kind == "generate" else _frame(request, asked, model, _openai(asked.kind))
        writer = SniffedWriter(frame)
        try:
            await self._relay(request, opened, writer)
        finally:
            request.tally = writer.tally
            await opened.aclose()

    async def _relay(self, request: Request, opened: AsyncOpenStream, writer: SniffedWriter) -> None:
        """Send what comes. The head waits for the first piece, so that a refusal still has its status."""
        out = b""
        while not out:
            data = await opened.read()
            if not data:
                out = writer.close()
                await self._begin(request)
                await self._send_last(request, out)
                return
            out = writer.feed(data)
        await self._begin(request)
        try:
            await self._pump(request, opened, writer, out)
        except InferenceError as error:
            await self._end(request, writer, error)

    async def _pump(self, request: Request, opened: AsyncOpenStream, writer: SniffedWriter, out: bytes) -> None:
        held, send, clock = request.held, request.send, self.clock
        stall_s, whole_s = self.limits.stall_s, held.deadline_s
        while True:
            if out:
                held.deadline_s, held.late = clock() + stall_s, "stalled"
                await send({"type": "http.response.body", "body": out, "more_body": True})
                held.deadline_s, held.late = whole_s, "timeout"
            data = await opened.read()
            if not data:
                break
            out = writer.feed(data)
        await self._send_last(request, writer.close())

    async def _end(self, request: Request, writer: SniffedWriter, error: InferenceError) -> None:
        """End a stream that failed: what was understood, and if the answer is not whole, the error as an event."""
        kept = writer.take_kept()
        try:
            out = writer.close(error)
        except LlmDeployError as found:
            self._note(request, found)
            told = refusal(backend_error(found, model=request.record.model))
            out = writer.take_kept() + _error_event(told, request.route.style)
        await self._send_last(request, kept + out)

    async def _begin(self, request: Request) -> None:
        record = request.record
        record.status = 200
        record.first_s = self.clock() - record.started_s
        request.begun = True
        self.metrics.streams_open += 1
        request.held.watch_now()
        headers = [*_EVENT_STREAM, *_id_header(request)]
        await request.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_last(self, request: Request, out: bytes) -> None:
        request.held.deadline_s, request.held.late = self.clock() + self.limits.stall_s, "stalled"
        await request.send({"type": "http.response.body", "body": out})

    async def _refuse(self, request: Request, error: LlmDeployError) -> None:
        self._note(request, error)
        told = refusal(error if request.model is None else backend_error(error, model=request.record.model))
        request.record.refused = told.code
        if request.begun:
            await self._send_last(request, _error_event(told, request.route.style))
            return
        request.record.status = told.status
        headers = [*_id_header(request), *told.headers()]
        await send_whole(request.send, told.status, told.body(request.route.style), headers=headers)

    async def _cut(self, request: Request) -> None:
        """End a request whose task was cancelled by us."""
        reason = request.held.reason
        request.record.refused = reason or ""
        if reason == "gone":
            request.record.status = GONE
        elif reason == "stalled":
            abort(request.send)
            await asyncio.sleep(0)  # the server learns of it with the loop's next turn
        else:
            told = _CUTS[reason or "shutdown"]
            if request.begun:
                await request.send({"type": "http.response.body", "body": _error_event(told, request.route.style)})
                return
            request.record.status = told.status
            headers = [*_id_header(request), *told.headers(), (b"connection", b"close")]
            await send_whole(request.send, told.status, told.body(request.route.style), headers=headers)

    def _note(self, request: Request, error: LlmDeployError) -> None:
        """Write the whole of an error into the log, when it is ours or a backend's."""
        request.record.refused = refusal(error).code
        if error.http_status >= 500:  # noqa: PLR2004 - HTTP's border between theirs and ours
            self.journal.write(
                {
                    "event": "error",
                    "request_id": request.record.request_id,
                    "model": request.record.model,
                    "error": type(error).__name__,
                    "message": error.message,
                }
            )

    def _check_room(self, route: HotRoute) -> None:
        if self.metrics.in_flight > self.limits.concurrency:
            raise RateLimitedError(f"the gateway has {self.limits.concurrency} requests at once; no more are taken")
        most = self.limits.routes.get(route.path)
        if most is not None and self.by_route[route.path] > most:
            raise RateLimitedError(f"{route.path} has {most} requests at once; no more are taken")

    def _model(self, asked: Asked, request: Request) -> ServedModel:
        name = asked.model or self.default_model
        model = self.models.get(name)
        if model is None:
            raise UnknownModelError(f"there is no model {name[:128]!r} here", hint="GET /v1/models lists them.")
        request.record.model = name
        most = model.settings.max_tokens
        if asked.max_tokens is not None and asked.max_tokens > most:
            raise InferenceRequestError(f"model {name} generates at most {most} tokens a request")
        if asked.max_tokens is None and model.settings.default_tokens is not None:
            bodies.limit(asked, model.settings.default_tokens)
        return model

    def _admitted(self, request: Request, caller: Caller, asked: Asked, model: ServedModel) -> Permit:
        new = 0 if asked.kind == "embeddings" else asked.max_tokens or _DEFAULT_TOKENS
        return self.access.admit(
            caller, scope=request.route.scope, model=model.name, tokens=asked.prompt_estimate + new
        )

    def _enter(self, request: Request) -> None:
        self.open.add(request.held)
        self.metrics.in_flight += 1
        path = request.route.path
        self.by_route[path] = self.by_route.get(path, 0) + 1

    def _leave(self, request: Request) -> None:
        """Settle and count; runs after failures and cancellations too."""
        request.held.release()
        self.open.discard(request.held)
        self.metrics.in_flight -= 1
        self.by_route[request.route.path] -= 1
        record, tally = request.record, request.tally
        if request.begun and request.record.stream:
            self.metrics.streams_open -= 1
        if request.model is not None:
            request.model.leave()
        self._count_tokens(request, record, tally)
        if request.permit is not None:
            request.permit.settle(prompt_tokens=record.prompt_tokens, generated_tokens=record.generated_tokens)
        record.total_s = self.clock() - record.started_s
        record.status = record.status or GONE
        self.journal.end(record, self._prompts(request))

    def _count_tokens(self, request: Request, record: Record, tally: Tally) -> None:
        """The engine's counts; where it was cut off before it said them, what is known."""
        record.finish = tally.finish or ""
        record.backend = request.asked.backend if request.asked is not None else ""
        record.generated_tokens = tally.events if tally.generated_tokens is None else tally.generated_tokens
        if tally.prompt_tokens is not None:
            record.prompt_tokens = tally.prompt_tokens
        elif request.begun and request.asked is not None:
            record.prompt_tokens = request.asked.prompt_estimate

    def _prompts(self, request: Request) -> Mapping[str, Any] | None:
        if not self.log_prompts or request.asked is None:
            return None
        return {"body": request.asked.document}


def _frame(request: Request, asked: Asked, model: ServedModel, kind: Kind) -> Frame:
    return Frame(
        _openai(kind),
        request_id=request.record.request_id,
        model=model.name,
        created_s=int(time.time()),
        wants_usage=asked.wants_usage,
    )


def _openai(kind: Kind) -> Any:  # noqa: ANN401 - a literal of two
    return "chat" if kind == "chat" else "completion"


def _id_header(request: Request) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", request.record.request_id.encode())]


def _error_event(told: Refusal, style: Style) -> bytes:
    return b"data: %s\n\n" % told.body(style)


_CUTS: Final[Mapping[str, Refusal]] = {
    "slow_body": Refusal(408, "invalid_request_error", "slow_body", "the body did not arrive in the time allowed"),
    "timeout": Refusal(504, "server_error", "timeout", "the answer was not whole in the time allowed"),
    "shutdown": Refusal(503, "server_error", "shutting_down", "the gateway is shutting down", 1),
}
