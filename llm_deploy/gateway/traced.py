"""Requests as spans: the caller's trace goes on here, and what the route's work is made of hangs below.

A route that calls a model is named after what it does (`chat twin`), `/rag` after its path: its own spans say the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from llm_deploy.gateway.asgi import Scope
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.settings.announcement import state_dir
from llm_deploy.tracing import context, conventions, environment, setup, spans
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.store_place import STATE_FOLDER

if TYPE_CHECKING:
    from llm_deploy.gateway.desk import Request

_PROVIDER: Final = "llmdeploy"
_OPERATIONS: Final[dict[str, conventions.Operation]] = {
    "chat": "chat",
    "completion": "text_completion",
    "generate": "text_completion",
    "embeddings": "embeddings",
}
_FAILED: Final = 500
_GONE: Final = "gone"
"""The caller left: no error of anybody's."""


def listen(config: GatewayConfig) -> setup.Tracing | None:
    """Record spans where somebody has asked for them, in the file or in the environment, and of /rag in any case."""
    asked = config.tracing or TracingConfig()
    if config.tracing is None and config.rag is None and not environment.asked_for(asked, os.environ):
        return None
    return setup.configure(asked, state_dir=state_dir(STATE_FOLDER))


@contextmanager
def request_span(request: Request, scope: Scope) -> Iterator[None]:
    """The span of one request, from what its record says in the end."""
    with context.extract(scope["headers"]), spans.span(f"POST {request.path}", "server") as seen:
        try:
            yield
        finally:
            if seen.recording:
                _describe(seen, request)


def _describe(seen: spans.Span, request: Request) -> None:
    record = request.record
    seen.set(
        **{
            "http.request.method": "POST",
            "http.route": request.path,
            "http.response.status_code": record.status,
            "llmdeploy.request_id": record.request_id,
            "llmdeploy.key": record.key_id or None,
            "llmdeploy.backend": record.backend or None,
        }
    )
    if record.refused and record.refused != _GONE and (record.status >= _FAILED or request.begun):
        seen.fail(record.refused)
    if request.asked is not None:
        _describe_model(seen, request)


def _describe_model(seen: spans.Span, request: Request) -> None:
    record, asked = request.record, request.asked
    if asked is None:
        return
    operation = _OPERATIONS[asked.kind]
    messages = asked.document.get("messages")
    text = asked.document.get("prompt") or asked.document.get("inputs")
    seen.set(
        **conventions.request(
            operation, record.model, provider=_PROVIDER, stream=asked.stream, document=asked.document
        ),
        **conventions.prompt(text=text if isinstance(text, str) else None, messages=messages),
        **_answer(request),
        **{
            conventions.FINISH_REASONS: [record.finish] if record.finish else None,
            conventions.INPUT_TOKENS: record.prompt_tokens,
            conventions.OUTPUT_TOKENS: record.generated_tokens,
            conventions.TIME_TO_FIRST_CHUNK: record.first_s,
            conventions.CANCELLED: True if record.refused == _GONE else None,
        },
    )


def _answer(request: Request) -> conventions.Attributes:
    """What the model said; nothing where content is not captured."""
    heard = request.heard
    if heard is None or not request.begun:
        return {}
    reason = request.record.finish or "unknown"
    said = conventions.answer(text=heard.text, tool_calls=heard.calls, finish_reason=reason)
    return {name: value for name, value in said.items() if name == conventions.OUTPUT_MESSAGES}
