"""The ASGI application over an embedding model: OpenAI's `/v1/embeddings`, TEI's routes, SageMaker's contract."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from llm_deploy.errors import InferenceError, InferenceRequestError, OverloadedError
from llm_deploy.serving.admission import Admission
from llm_deploy.serving.embedding import EmbeddingEngine
from llm_deploy.serving.engine import Json
from llm_deploy.serving.handling import handle
from llm_deploy.serving.journal import Journal, Record
from llm_deploy.serving.shapes.asked import ShapeError
from llm_deploy.serving.shapes.embeddings import (
    EmbeddingDialect,
    OpenAiEmbeddings,
    TeiEmbed,
    TeiRerank,
    no_generation,
)
from llm_deploy.serving.wire import Receive, Scope, Send, parse_json, send_bytes, send_json

_OPENAI_PREFIX = "/v1/"
_GENERATION = {"/v1/chat/completions", "/v1/completions", "/generate", "/generate_stream"}
_PAGES = {"/ping", "/health", "/", "/info", "/v1/models", "/metrics"}


@dataclass(frozen=True, slots=True)
class EmbeddingLimits:
    """What the server accepts.

    Attributes:
        max_concurrent_requests: Running and waiting together; more are answered 429.
        max_batch: Most texts in a request of TEI's.
        truncate: What `truncate` is when a request does not say.
        payload_bytes: Largest body.
    """

    max_concurrent_requests: int = 512
    max_batch: int = 32
    truncate: bool = False
    payload_bytes: int = 2_000_000


class EmbeddingServer:
    """An ASGI application over one embedding engine.

    Args:
        engine: Loaded elsewhere; until then, requests are answered 503.
        model: What answers call the model.
    """

    def __init__(self, engine: EmbeddingEngine, limits: EmbeddingLimits, journal: Journal, *, model: str) -> None:
        self._engine, self._limits, self._journal, self._model = engine, limits, journal, model
        self._admission = Admission(parallel=engine.parallel, capacity=limits.max_concurrent_requests)
        openai = OpenAiEmbeddings(model)
        self._embed = TeiEmbed(limits.max_batch, limits.truncate)
        self._rerank = TeiRerank(limits.max_batch, limits.truncate)
        self._named: dict[str, EmbeddingDialect] = {
            "/v1/embeddings": openai,
            "/embeddings": openai,
            "/embed": self._embed,
            "/rerank": self._rerank,
        }
        self._openai = openai

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in self._named or path == "/invocations" or path in _GENERATION:
            await self._posted(scope, receive, send)
        elif path not in _PAGES:
            await send_json(send, 404, {"error": f"there is no {path} here", "error_type": "not_found"})
        elif method not in {"GET", "HEAD"}:
            await send_json(send, 405, {"error": f"{method} is not for {path}", "error_type": "method_not_allowed"})
        else:
            await self._page(path, send)

    async def _posted(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if method != "POST":
            await send_json(send, 405, {"error": f"{method} is not for {path}", "error_type": "method_not_allowed"})
        elif path in _GENERATION:
            dialect = self._fallback(path)
            status = dialect.wrong_model_status
            await send_json(send, status, dialect.error(no_generation(self._model), status))
        else:
            answer = partial(self._answer, path, send)
            payload_bytes = self._limits.payload_bytes
            await handle(scope, receive, send, answer, journal=self._journal, payload_bytes=payload_bytes)

    async def _answer(self, path: str, send: Send, body: bytes, record: Record) -> None:
        record.status, document = await self._outcome(path, body, record)
        await send_json(send, record.status, document)

    async def _outcome(self, path: str, body: bytes, record: Record) -> tuple[int, Json]:
        """Status and document of one request; refusals are in the words of the route."""
        dialect = self._fallback(path)
        try:
            document = parse_json(body)
            dialect = self._named.get(path) or self._by_shape(document)
            return 200, await self._computed(dialect, document, record)
        except ShapeError as error:
            return error.status, dialect.error(error.message, error.status)
        except InferenceError as error:
            status = _status(error, dialect)
            return status, dialect.error(error.message, status)
        except ValueError as error:
            status = 400 if dialect is self._openai else 422
            return status, dialect.error(f"Failed to parse the request body as JSON: {error}", status)

    async def _computed(self, dialect: EmbeddingDialect, document: Json, record: Record) -> Json:
        if not self._engine.ready:
            raise ShapeError("the model is still loading", 503)
        with self._admission.admitted():
            async with self._admission.slot():
                record.slot_s = self._journal.clock()
                answer, record.prompt_tokens = await dialect.answer(document, self._engine)
                return answer

    def _by_shape(self, body: Json) -> EmbeddingDialect:
        """What `/invocations` is asked for: TEI serves one thing there; we have a server for all three."""
        fields = body if isinstance(body, dict) else {}
        if "query" in fields or "texts" in fields:
            return self._rerank
        return self._openai if {"input", "messages", "prompt"} & set(fields) else self._embed

    def _fallback(self, path: str) -> EmbeddingDialect:
        """The dialect whose error document is used while the body is not understood."""
        return self._named.get(path) or (self._openai if path.startswith(_OPENAI_PREFIX) else self._embed)

    async def _page(self, path: str, send: Send) -> None:
        if path == "/metrics":
            text = self._journal.prometheus(running=self._admission.running, waiting=self._admission.waiting)
            await send_bytes(send, 200, text.encode(), "text/plain; version=0.0.4")
        elif path == "/info":
            await send_json(send, 200, self._info())
        elif path == "/v1/models":
            model = {"id": self._model, "object": "model", "created": 0, "owned_by": "llm-deploy"}
            await send_json(send, 200, {"object": "list", "data": [model | {"max_model_len": self._engine.max_tokens}]})
        elif self._engine.ready:
            await send_bytes(send, 200, b"", "text/plain")
        else:
            await send_json(send, 503, {"error": "loading", "error_type": "Unhealthy"})

    def _info(self) -> Json:
        engine, limits = self._engine, self._limits
        return {
            "model_id": self._model,
            "model_sha": None,
            "model_dtype": "float32",
            "model_type": {"embedding": {"pooling": "mean"}},
            "engine_model": engine.model,
            "dimensions": engine.dimensions,
            "max_input_length": engine.max_tokens,
            "max_concurrent_requests": limits.max_concurrent_requests,
            "max_client_batch_size": limits.max_batch,
            "auto_truncate": limits.truncate,
            "reranker": "sentence-level late interaction of embeddings",
            "router": "llm-deploy",
        }


def _status(error: InferenceError, dialect: EmbeddingDialect) -> int:
    if isinstance(error, OverloadedError):
        return error.http_status
    return dialect.invalid_status if isinstance(error, InferenceRequestError) else dialect.failed_status
