"""`POST /rag` at the desk: key, budget, bounded body, clock; the work itself is FastAPI's and the RAG service's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from llm_deploy.gateway.asgi import SAFETY, App, Message, Receive, Scope, Send, api_key, read_body
from llm_deploy.gateway.desk import Desk, Request
from llm_deploy.gateway.rest import AT_WORK

PATH: Final = "/rag"
_BYTES_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class RagRoute:
    """The route.

    Attributes:
        model: The public name of the model that answers.
        tokens: Of passages and answer, at most: what a request may cost beside its query.
        timeout_s: Longest time for a whole answer.
    """

    desk: Desk
    app: App
    model: str
    tokens: int
    timeout_s: float

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.desk.handle(PATH, "openai", scope, receive, send, answer=self._answer)

    async def _answer(self, request: Request, scope: Scope, receive: Receive) -> None:
        access = self.desk.access
        caller = access.caller(api_key(scope))
        request.record.key_id, request.record.model = caller.key_id, self.model
        body = await read_body(scope, receive, self.desk.limits.body_bytes)
        cost = len(body) // _BYTES_PER_TOKEN + self.tokens
        request.permit = access.admit(caller, scope="rag", model=self.model, tokens=cost)
        request.held.late = "timeout"
        request.held.deadline_s = request.record.started_s + self.timeout_s
        request.held.watch_soon()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        # Every body is taken for JSON here, as on the other routes.
        inner = {**scope, AT_WORK: request, "headers": [*headers, (b"content-type", b"application/json")]}
        await self.app(inner, _replayed(body), _tracked(self.desk, request, request.held.deadline_s))


def _replayed(body: bytes) -> Receive:
    """The body once more, for FastAPI; that the client leaves is noticed by the desk, which cancels the task."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    return receive


def _tracked(desk: Desk, request: Request, whole_s: float) -> Send:
    """The desk's view of what is sent: status, first piece, a reader that stalls."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.record.status, request.begun = message["status"], True
            if request.record.stream:
                request.streams = True
                request.record.first_s = desk.clock() - request.record.started_s
                desk.metrics.streams_open += 1
            message = {**message, "headers": [*message["headers"], *SAFETY, request.id_header]}
        held = request.held
        if message["type"] == "http.response.body" and not message.get("more_body"):
            held.finish()
        held.deadline_s, held.late = desk.clock() + desk.limits.stall_s, "stalled"
        await request.send(message)
        held.deadline_s, held.late = whole_s, "timeout"

    return send
