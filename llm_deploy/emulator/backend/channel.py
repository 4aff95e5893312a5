"""What the cloud and its child tell each other beside the requests: who asks, what was decided, how IAM stands."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.emulator.backend.durable import App, Message, Receive, Scope, Send, StateSaver

CALLER_HEADER = b"x-local-cloud-caller"
"""Access key of who asks, its signature checked; empty: nobody signed. Without it the cloud itself asks."""

DECISIONS_HEADER = b"x-local-cloud-decisions"
VERSION_HEADER = b"x-local-cloud-iam"
QUESTION_HEADER = b"x-local-cloud-question"
"""The cloud asks for what IAM and STS keep, secrets included. A header and no path: paths are the clients'."""

INTERNAL = frozenset({CALLER_HEADER, DECISIONS_HEADER, VERSION_HEADER, QUESTION_HEADER})
"""Never passed on from a client or to one."""

Decision = tuple[str, str, str]
"""Action, resource, and why it was denied; empty when it was allowed."""


@dataclass(slots=True)
class Exchange:
    """One request on its way through the child.

    Attributes:
        caller: See `CALLER_HEADER`; `None`: the cloud itself.
        denial: The text of the last denial.
    """

    caller: str | None = None
    decisions: list[Decision] = field(default_factory=list)
    denial: str = ""


current: ContextVar[Exchange] = ContextVar("local_cloud_exchange")
"""The request that is being answered; work that it started and that goes on after the answer still has it."""


class Channel:
    """ASGI application in front of the backend's: reads who asks, and reports in headers of the answer."""

    def __init__(self, app: App, saver: StateSaver, records: Any) -> None:  # noqa: ANN401 - a function without arguments
        self._app = app
        self._saver = saver
        self._records = records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if any(name == QUESTION_HEADER for name, _ in scope["headers"]):
            await _respond(send, json.dumps(self._records()).encode())
            return
        exchange = Exchange(_caller(scope))
        current.set(exchange)
        begun: list[Message] = []

        async def send_with_report(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            if begun:
                start = begun.pop()
                await send({**start, "headers": [*start["headers"], *self._report(exchange)]})
            await send(message)

        headers = [(name, value) for name, value in scope["headers"] if name != CALLER_HEADER]
        await self._app({**scope, "headers": headers}, receive, send_with_report)

    def _report(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        report = [(VERSION_HEADER, self._saver.version("iam").encode())]
        if exchange.decisions:
            report.append((DECISIONS_HEADER, json.dumps(exchange.decisions).encode()))
        return report


def _caller(scope: Scope) -> str | None:
    found = [value for name, value in scope["headers"] if name == CALLER_HEADER]
    return found[0].decode("latin-1") if found else None


async def _respond(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
