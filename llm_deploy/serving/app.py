"""The ASGI application: SageMaker's `/ping` and `/invocations`, TGI's and OpenAI's own routes, and what operators ask.

Written against ASGI itself: a framework's request and response objects cost more per token than all the rest here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from llm_deploy.serving.contract import DialectName
from llm_deploy.serving.engine import Json
from llm_deploy.serving.generation import Generator
from llm_deploy.serving.handling import handle
from llm_deploy.serving.journal import Record
from llm_deploy.serving.shapes.asked import Dialect, ShapeError
from llm_deploy.serving.shapes.lmi import LmiDialect
from llm_deploy.serving.shapes.openai import NO_HANDLER, ChatDialect, CompletionDialect
from llm_deploy.serving.shapes.tgi import TgiDialect
from llm_deploy.serving.wire import (
    Receive,
    Scope,
    Send,
    header,
    parse_json,
    send_bytes,
    send_json,
)

_EMBEDDING_ROUTES = {"/v1/embeddings", "/embeddings", "/embed", "/rerank"}
NO_EMBEDDINGS = (
    "The model does not support Embeddings API: it generates text. Serve an embedding model (minilm) for that"
)
_Choice = Callable[[Json, Scope], Dialect]
_Page = Callable[[], tuple[int, Json]]
_ROUTE_ATTRIBUTE = "route="


class ModelServer:
    """An ASGI application over one engine.

    Args:
        generator: Engine, limits, queue and journal.
        dialect: What `/invocations` speaks; the other routes speak what they are named after.
        payload_bytes: Largest body.
        max_concurrent_requests: For `/info`; the queue itself keeps to it.
    """

    def __init__(
        self, generator: Generator, *, dialect: DialectName, payload_bytes: int, max_concurrent_requests: int
    ) -> None:
        self._generator = generator
        self._payload_bytes = payload_bytes
        self._max_concurrent_requests = max_concurrent_requests
        self._dialect = dialect
        # vLLM refuses the name of another model; TGI and LMI do not look at it.
        models = generator.model if dialect == "openai" else None
        chat, completion = ChatDialect(model=models), CompletionDialect(model=models)
        self._named: dict[str, Dialect] = {
            "/v1/chat/completions": chat,
            "/v1/completions": completion,
            "/generate": TgiDialect(stream=False),
            "/generate_stream": TgiDialect(stream=True),
        }
        self._invocations = {"tgi": _tgi, "openai": self._openai, "lmi": _lmi}[dialect]
        self._pages: dict[str, _Page] = {
            "/ping": self._health,
            "/health": self._health,
            "/info": self._info,
            "/v1/models": self._models,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        handler = self._handler(path)
        if handler is None:
            await send_json(send, 404, {"error": f"there is no {path} here", "error_type": "not_found"})
        elif method not in (("GET", "HEAD") if path in self._pages or path == "/metrics" else ("POST",)):
            await send_json(send, 405, {"error": f"{method} is not for {path}", "error_type": "method_not_allowed"})
        else:
            await handler(scope, receive, send)

    def _handler(self, path: str) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        if path == "/invocations" or path in self._named or path in _EMBEDDING_ROUTES:
            return self._generation
        if path == "/metrics":
            return self._metrics
        return self._page if path in self._pages else None

    async def _generation(self, scope: Scope, receive: Receive, send: Send) -> None:
        journal = self._generator.journal
        answer = partial(self._answer, scope, send)
        await handle(scope, receive, send, answer, journal=journal, payload_bytes=self._payload_bytes)

    async def _answer(self, scope: Scope, send: Send, body: bytes, record: Record) -> None:
        dialect = self._fallback(scope["path"])
        if not self._generator.engine.ready:
            record.status = 503
            await send_json(send, 503, dialect.error("the model is still loading", 503))
            return
        try:
            document = parse_json(body)
            dialect = self._named.get(scope["path"]) or self._of_body(document, scope)
        except ValueError as error:
            record.status = 400 if dialect.invalid_status != 424 else 424  # noqa: PLR2004 - LMI's one status
            message = f"Failed to parse the request body as JSON: {error}"
            await send_json(send, record.status, dialect.error(message, record.status))
        except ShapeError as error:
            record.status = error.status
            await send_json(send, error.status, dialect.error(error.message, error.status))
        else:
            await self._generator.respond(dialect, document, record, send)

    def _of_body(self, body: Json, scope: Scope) -> Dialect:
        """What a body on `/invocations` or on a route of embeddings asks for."""
        if scope["path"] in _EMBEDDING_ROUTES or _wants_embeddings(body):
            raise ShapeError(NO_EMBEDDINGS, self._fallback(scope["path"]).invalid_status)
        return self._invocations(body, scope)

    def _fallback(self, path: str) -> Dialect:
        """The dialect whose error document is used while the body is not understood."""
        fallback: dict[str, Dialect] = {"tgi": TgiDialect(), "openai": ChatDialect(), "lmi": LmiDialect()}
        return self._named.get(path) or (ChatDialect() if path.startswith("/v1/") else fallback[self._dialect])

    def _openai(self, body: Json, scope: Scope) -> Dialect:
        attributes = header(scope, b"x-amzn-sagemaker-custom-attributes")
        if attributes.startswith(_ROUTE_ATTRIBUTE):
            route = attributes.removeprefix(_ROUTE_ATTRIBUTE).strip()
            if route in self._named and route.startswith("/v1/"):
                return self._named[route]
        if isinstance(body, dict) and "messages" in body:
            return self._named["/v1/chat/completions"]
        if isinstance(body, dict) and "prompt" in body:
            return self._named["/v1/completions"]
        raise ShapeError(NO_HANDLER, 400)

    async def _page(self, scope: Scope, _receive: Receive, send: Send) -> None:
        status, document = self._pages[scope["path"]]()
        if document is None:
            await send_bytes(send, status, b"", "text/plain")
        else:
            await send_json(send, status, document)

    async def _metrics(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        admission = self._generator.admission
        text = self._generator.journal.prometheus(running=admission.running, waiting=admission.waiting)
        await send_bytes(send, 200, text.encode(), "text/plain; version=0.0.4")

    def _health(self) -> tuple[int, Json]:
        return (200, None) if self._generator.engine.ready else (503, {"error": "loading", "error_type": "unhealthy"})

    def _info(self) -> tuple[int, Json]:
        generator = self._generator
        return 200, {
            "model_id": generator.model,
            "model_dtype": "gguf",
            "model_device_type": "cpu",
            "model_pipeline_tag": "text-generation",
            "engine_model": generator.engine.facts.model,
            "dialect": self._dialect,
            "max_concurrent_requests": self._max_concurrent_requests,
            "max_parallel_requests": generator.engine.facts.parallel,
            "max_best_of": 1,
            "max_stop_sequences": 4,
            "max_input_tokens": generator.limits.max_input_tokens,
            "max_total_tokens": generator.limits.max_total_tokens,
            "router": "llm-deploy",
        }

    def _models(self) -> tuple[int, Json]:
        generator = self._generator
        model = {
            "id": generator.model,
            "object": "model",
            "created": 0,
            "owned_by": "llm-deploy",
            "max_model_len": generator.limits.max_total_tokens,
        }
        return 200, {"object": "list", "data": [model]}


def _wants_embeddings(body: Json) -> bool:
    if not isinstance(body, dict) or {"inputs", "messages", "prompt"} & set(body):
        return False
    return "input" in body or {"query", "texts"} <= set(body)


def _tgi(body: Json, _scope: Scope) -> Dialect:
    """TGI tries `inputs`, then `messages`, then `prompt`."""
    if isinstance(body, dict) and "inputs" not in body:
        if "messages" in body:
            return ChatDialect()
        if "prompt" in body:
            return CompletionDialect()
    return TgiDialect(as_list=True)


def _lmi(body: Json, _scope: Scope) -> Dialect:
    """LMI takes `prompt` or `inputs` its own way and `messages` as chat, streamed as bare lines."""
    if isinstance(body, dict) and "messages" in body and "inputs" not in body and "prompt" not in body:
        return ChatDialect(as_lines=True)
    return LmiDialect()
