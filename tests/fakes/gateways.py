"""A gateway over fake transports, inside the test's process: keys, permits and clients that a test can look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from llm_deploy.errors import AccessDeniedError, RateLimitedError, UnauthenticatedError
from llm_deploy.gateway.access import SCOPES, Caller
from llm_deploy.gateway.app import Gateway, build
from llm_deploy.gateway.asgi import Message
from llm_deploy.gateway.backends import Backend, single_lane
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.gateway.opening import Opening
from llm_deploy.gateway.routing import ServedModel
from tests.fakes.transports import FakeTransport

KEY = "secret-key-of-a-test"


@dataclass
class FakePermit:
    """Remembers how often it was settled, and with what."""

    settled: list[tuple[int, int]] = field(default_factory=list)

    def settle(self, *, prompt_tokens: int, generated_tokens: int) -> None:
        """See `Permit.settle`."""
        self.settled.append((prompt_tokens, generated_tokens))


@dataclass
class FakeAccess:
    """One key; refuses what a test says it refuses."""

    scopes: frozenset[str] = frozenset(SCOPES)
    models: frozenset[str] | None = None
    full: bool = False
    permits: list[FakePermit] = field(default_factory=list)
    admitted: list[tuple[str, str, int]] = field(default_factory=list)

    def caller(self, secret: str | None) -> Caller:
        """See `Access.caller`."""
        if secret != KEY:
            raise UnauthenticatedError("this API key is not known")
        return Caller("k1", "tester", self.scopes, self.models)

    def admit(self, caller: Caller, *, scope: str, model: str, tokens: int) -> FakePermit:
        """See `Access.admit`."""
        if scope not in caller.scopes or (caller.models is not None and model not in caller.models):
            raise AccessDeniedError("this key is not good for that")
        if self.full:
            raise RateLimitedError("too many tokens", retry_after_s=2.5)
        self.admitted.append((scope, model, tokens))
        self.permits.append(FakePermit())
        return self.permits[-1]

    async def start(self) -> None:
        """See `Access.start`."""

    async def aclose(self) -> None:
        """See `Access.aclose`."""


class FakeOpening(Opening):
    """Opens fake transports in the place of the configured ones, in their order."""

    transports: Mapping[str, list[FakeTransport]]

    async def models(self) -> dict[str, ServedModel]:
        """See `Opening.models`."""
        return {
            name: ServedModel(
                name,
                settings,
                [
                    Backend(f"{name}-{number}", single_lane(transport, "openai"), weight=float(number == 0))
                    for number, transport in enumerate(self.transports[name])
                ],
            )
            for name, settings in self.config.models.items()
        }


def gateway(
    transports: Mapping[str, list[FakeTransport]],
    access: FakeAccess | None = None,
    **fields: Any,  # noqa: ANN401 - of the configuration
) -> tuple[Gateway, FakeAccess]:
    """A gateway whose models are these transports; `fields` are of its configuration."""
    access = access or FakeAccess()
    models = fields.pop("models", {})
    document = {"models": {name: {"backends": [{"url": "http://fake"}], **models.get(name, {})} for name in transports}}
    config = GatewayConfig.model_validate({"logs": {"requests": False}, **document, **fields})
    made = build(config, access=access)
    opening = FakeOpening(config)
    opening.transports = transports
    made._opening = opening
    made.oversee_s = 0.02
    return made, access


@asynccontextmanager
async def client(made: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key, of a gateway that runs."""
    async with (
        made.running(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(made),
            base_url="http://gateway",
            headers={"authorization": f"Bearer {KEY}"},
        ) as it,
    ):
        yield it


@dataclass
class Browser:
    """A client at the level of ASGI: it may go away, send slowly, or stop reading.

    Attributes:
        sent: What the gateway sent.
        stuck: The gateway's `send` waits for ever, as with a full buffer.
    """

    body: bytes
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    stuck: bool = False
    withholds_body: bool = False

    async def ask(self, made: Gateway) -> None:
        """Send the request and see it through."""
        headers = {"authorization": f"Bearer {KEY}", **self.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": self.path, "headers": pairs}
        await made(scope, self._receive, self._send)

    @property
    def status(self) -> int | None:
        """What was answered; `None` while nothing was."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def text(self) -> str:
        """The body so far."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end."""
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")

    async def _receive(self) -> Message:
        if not self.withholds_body and self.body:
            body, self.body = self.body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.sent.append(message)


def chat(model: str = "twin", **more: Any) -> bytes:  # noqa: ANN401 - JSON
    """A chat's body."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def answer(text: str = "hello", prompt: int = 4, generated: int = 3) -> bytes:
    """An OpenAI answer."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "model": "theirs", "choices": [choice], "usage": usage}
    ).encode()


def chunks(*texts: str, finish: str | None = "stop") -> list[bytes]:
    """An OpenAI stream, one chunk a text."""
    found = [_chunk({"content": text}, None) for text in texts]
    if finish:
        usage = {"prompt_tokens": 4, "completion_tokens": len(texts), "total_tokens": 4 + len(texts)}
        last = json.dumps({"id": "x", "model": "theirs", "choices": [], "usage": usage}, separators=(",", ":"))
        found += [_chunk({}, finish), f"data: {last}\n\n".encode(), b"data: [DONE]\n\n"]
    return found


def _chunk(delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    document = {"id": "x", "object": "chat.completion.chunk", "model": "theirs", "choices": [choice]}
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()
