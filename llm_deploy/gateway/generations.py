"""The hot routes: what is asked of a model, from its bytes to the bytes of its answer.

Raw ASGI: no framework, no models of pydantic, no task for a chunk. A request is one task; what else it needs is a
timer, or a task that notices that its client has left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llm_deploy.client.transport import AsyncOpenStream
from llm_deploy.errors import InferenceError, InferenceRequestError, LlmDeployError, UnknownModelError
from llm_deploy.gateway import asked as bodies
from llm_deploy.gateway.access import Caller, Permit
from llm_deploy.gateway.answers.frame import Frame, OpenAiKind
from llm_deploy.gateway.answers.heard import Heard
from llm_deploy.gateway.answers.sniffed import SniffedWriter
from llm_deploy.gateway.answers.whole import embeddings_answer, openai_answer, tgi_answer
from llm_deploy.gateway.answers.writer import Tally
from llm_deploy.gateway.asgi import SAFETY, Receive, Scope, Send, api_key, read_body
from llm_deploy.gateway.asked import Asked, Kind
from llm_deploy.gateway.desk import Desk, Request
from llm_deploy.gateway.refusals import Style
from llm_deploy.gateway.routing import ServedModel
from llm_deploy.tracing import captures_content

_EVENT_STREAM: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    *SAFETY,
)
_OK: Final = 200
_DEFAULT_TOKENS: Final = 256
"""What an answer is taken to cost where neither the request nor the configuration says how long it may be."""


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route whose requests go to a model.

    Attributes:
        scope: What a key must be good for.
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
class Generations:
    """The models, and how one of them answers.

    Attributes:
        default_model: For requests that name none.
    """

    desk: Desk
    models: Mapping[str, ServedModel]
    default_model: str = ""

    async def handle(self, route: HotRoute, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def answer(request: Request, scope: Scope, receive: Receive) -> None:
            await self._answer(route, request, scope, receive)

        await self.desk.handle(route.path, route.style, scope, receive, send, answer=answer)

    async def _answer(self, route: HotRoute, request: Request, scope: Scope, receive: Receive) -> None:
        caller = self.desk.access.caller(api_key(scope))
        request.record.key_id = caller.key_id
        body = await read_body(scope, receive, self.desk.limits.body_bytes)
        asked = request.asked = bodies.read(route.kind, body, stream=route.stream)
        model = self._model(asked, request)
        request.permit = self._admitted(route, caller, asked, model)
        model.enter()
        request.model = model
        request.record.stream = asked.stream
        request.held.late = "timeout"
        request.held.deadline_s = request.record.started_s + model.settings.timeout_s
        request.held.watch_soon()
        if captures_content() and asked.kind != "embeddings":
            request.heard = Heard()
        if asked.stream:
            await self._stream(request, asked, model)
        else:
            await self._whole(request, asked, model)

    async def _whole(self, request: Request, asked: Asked, model: ServedModel) -> None:
        answer = await model.call(asked)
        if request.heard is not None:
            request.heard.whole(answer)
        body, request.tally = _written(request, asked, model, answer)
        request.begun = True
        await self.desk.send_all(request, _OK, body)

    async def _stream(self, request: Request, asked: Asked, model: ServedModel) -> None:
        opened = await model.stream(asked)
        if request.heard is not None:
            opened = _Overheard(opened, request.heard)
        writer = SniffedWriter(None if asked.kind == "generate" else _frame(request, asked, model))
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
                await self.desk.send_last(request, out)
                return
            out = writer.feed(data)
        await self._begin(request)
        try:
            await self._pump(request, opened, writer, out)
        except InferenceError as error:
            await self.desk.send_last(request, self._end(request, writer, error))

    async def _pump(self, request: Request, opened: AsyncOpenStream, writer: SniffedWriter, out: bytes) -> None:
        held, send, clock = request.held, request.send, self.desk.clock
        stall_s, whole_s = self.desk.limits.stall_s, held.deadline_s
        while True:
            if out:
                held.deadline_s, held.late = clock() + stall_s, "stalled"
                await send({"type": "http.response.body", "body": out, "more_body": True})
                held.deadline_s, held.late = whole_s, "timeout"
            data = await opened.read()
            if not data:
                break
            out = writer.feed(data)
        await self.desk.send_last(request, writer.close())

    def _end(self, request: Request, writer: SniffedWriter, error: InferenceError) -> bytes:
        """The end of a stream that failed: what was understood and, if that is not the whole, the error as an event."""
        kept = writer.take_kept()
        try:
            return kept + writer.close(error)
        except LlmDeployError as found:
            told = self.desk.note(request, found)
            return kept + writer.take_kept() + told.event(request.style)

    async def _begin(self, request: Request) -> None:
        record = request.record
        record.status, request.begun, request.streams = _OK, True, True
        record.first_s = self.desk.clock() - record.started_s
        self.desk.metrics.streams_open += 1
        request.held.watch_now()
        headers = [*_EVENT_STREAM, request.id_header]
        held, whole_s = request.held, request.held.deadline_s
        held.deadline_s, held.late = self.desk.clock() + self.desk.limits.stall_s, "stalled"
        await request.send({"type": "http.response.start", "status": _OK, "headers": headers})
        held.deadline_s, held.late = whole_s, "timeout"

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

    def _admitted(self, route: HotRoute, caller: Caller, asked: Asked, model: ServedModel) -> Permit:
        new = 0 if asked.kind == "embeddings" else asked.max_tokens or _DEFAULT_TOKENS
        tokens = asked.prompt_estimate + new
        return self.desk.access.admit(caller, scope=route.scope, model=model.name, tokens=tokens)


class _Overheard:
    """A stream whose parts are heard on the way."""

    def __init__(self, opened: AsyncOpenStream, heard: Heard) -> None:
        self._opened = opened
        self._heard = heard

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`."""
        data = await self._opened.read()
        self._heard.feed(data)
        return data

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        self._heard.close()
        await self._opened.aclose()


def _written(request: Request, asked: Asked, model: ServedModel, answer: bytes) -> tuple[bytes, Tally]:
    if asked.kind == "embeddings":
        return embeddings_answer(answer, model.name, as_base64=asked.document.get("encoding_format") == "base64")
    if asked.kind == "generate":
        return tgi_answer(answer, keeps_details=asked.wants_usage)
    return openai_answer(answer, _frame(request, asked, model))


def _frame(request: Request, asked: Asked, model: ServedModel) -> Frame:
    kind: OpenAiKind = "chat" if asked.kind == "chat" else "completion"
    return Frame(
        kind,
        request_id=request.record.request_id,
        model=model.name,
        created_s=int(time.time()),
        wants_usage=asked.wants_usage,
    )
