"""The gateway as one ASGI application: hot routes, `/rag`, pages, and FastAPI's documentation behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from llm_deploy.errors import AccessDeniedError, LlmDeployError, SpecError
from llm_deploy.gateway.access import Access
from llm_deploy.gateway.asgi import SAFETY, App, Message, Receive, Scope, Send
from llm_deploy.gateway.backends import Backend
from llm_deploy.gateway.browsers import BrowserGuard
from llm_deploy.gateway.config import Cors, GatewayConfig
from llm_deploy.gateway.desk import Desk
from llm_deploy.gateway.generations import HOT_ROUTES, Generations
from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.metrics import Metrics
from llm_deploy.gateway.opening import Opening
from llm_deploy.gateway.pages import Pages, not_found, refused, wrong_method
from llm_deploy.gateway.together import Together
from llm_deploy.gateway.traced import listen

if TYPE_CHECKING:
    from pathlib import Path

    from llm_deploy.gateway.rag_route import RagRoute
    from llm_deploy.gateway.routing import ServedModel
    from llm_deploy.rag.service import RagService
    from llm_deploy.tracing.setup import Tracing

_RAG: Final = "/rag"


class Gateway:
    """The application. What it holds is opened by ASGI's lifespan, or by `running`.

    Attributes:
        failure: Why it did not start, for who runs the server.
        oversee_s: How often requests are looked through for those whose time is over.
    """

    def __init__(self, config: GatewayConfig, access: Access, *, session: Any = None) -> None:  # noqa: ANN401 - ours or boto3's
        self.config = config
        self.metrics = Metrics()
        self.journal = Journal(self.metrics, requests=config.logs.requests)
        guard = BrowserGuard(config.cors.origins, config.allow_open) if config.keys == "off" else None
        prompts = config.logs.prompts
        self.desk = Desk(access, config.limits, self.metrics, self.journal, log_prompts=prompts, guard=guard)
        self.generations = Generations(self.desk, {})
        self.pages = Pages({}, access, self.metrics)
        self.failure: LlmDeployError | None = None
        self.oversee_s = 1.0
        self._opening = Opening(config, session, self._warn)
        self._access = access
        self._entry: App = _with_cors(self._answer, config.cors)
        self._rest: App = not_found
        self._rag: RagRoute | None = None
        self._rag_service: RagService | None = None
        self._tracing: Tracing | None = None
        self._overseer: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "http":
            await self._entry(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """Open everything, and close it at the end."""
        try:
            await self.start()
            yield self
        finally:
            await self.aclose()

    async def start(self) -> None:
        """Open access, models, engines, documents.

        Raises:
            LlmDeployError: Something that was configured cannot be had.
        """
        self._tracing = listen(self.config)
        self.metrics.spans = None if self._tracing is None else self._tracing.by_exporter
        await self._access.start()
        models = await self._opening.models()
        for model in models.values():
            model.failed_over = self._failed_over(model.name)
        self.generations.models = self.pages.models = models
        self.generations.default_model = self.config.default_model or next(iter(models), "")
        for backend in self._backends():
            if backend.start is not None:
                await backend.start()
        await self._open_rest(models)
        self._overseer = asyncio.create_task(self._oversee())

    async def aclose(self) -> None:
        """Cut what is still running and let go of everything; harmless when called again."""
        overseer, self._overseer = self._overseer, None
        if overseer is not None:
            overseer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await overseer
        self.cut_all()
        if self._rag_service is not None:
            await self._rag_service.aclose()
        for backend in self._backends():
            await backend.aclose()
        await self._access.aclose()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self.pages.together is not None:
            await self.pages.together.share()
        self.journal.close()

    def count_together(self, folder: Path) -> None:
        """Let `/metrics` tell the sums of all workers, which share this folder."""
        self.pages.together = Together(folder, self.metrics)

    def cut_all(self) -> None:
        """End every request at once, with an error that says why."""
        for held in tuple(self.desk.open):
            held.cancel("shutdown")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        route = HOT_ROUTES.get(path)
        if route is not None:
            if method == "POST":
                await self.generations.handle(route, scope, receive, send)
            else:
                await wrong_method(send, "POST")
        elif self._rag is not None and path == _RAG and method == "POST":
            await self._rag.handle(scope, receive, send)
        else:
            await self._answer_slowly(scope, receive, send)

    async def _answer_slowly(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.desk.guard is not None:
            try:
                self.desk.guard.check(scope)
            except AccessDeniedError as error:
                await refused(send, error)
                return
        page = self.pages.page(scope["path"])
        if page is None:
            await self._rest(scope, receive, _with_safety(send))
        elif scope["method"] in {"GET", "HEAD"}:
            await page(scope, send)
        else:
            await wrong_method(send, "GET, HEAD")

    async def _open_rest(self, models: dict[str, ServedModel]) -> None:
        from llm_deploy.gateway import openapi, rest  # noqa: PLC0415 - FastAPI, which the hot routes do without

        if self.config.rag is not None:
            await self._open_rag(models)
        most = {name: model.settings.max_tokens for name, model in models.items()}
        described = openapi.document(keys=self.config.keys == "required", models=most)
        app = rest.build(described, self._rag_service)
        self._rest = app
        if self.config.rag is not None and self._rag_service is not None:
            from llm_deploy.gateway.rag_route import RagRoute  # noqa: PLC0415 - as above

            name = self._rag_service.config.model
            tokens = self.config.rag.context_tokens + self.config.rag.max_new_tokens
            self._rag = RagRoute(self.desk, app, name, tokens, models[name].settings.timeout_s)

    async def _open_rag(self, models: dict[str, ServedModel]) -> None:
        from llm_deploy.gateway.model_inference import ModelInference  # noqa: PLC0415 - only with a section rag:
        from llm_deploy.rag.service import build as build_rag  # noqa: PLC0415 - as above

        config = self.config.rag
        if config is None:
            return
        name = config.model or self.generations.default_model
        if name not in models:
            raise SpecError("rag: needs a model that answers, and none is configured", hint="Name one under models:.")
        self._rag_service = build_rag(config.model_copy(update={"model": name}), ModelInference(models[name]))
        try:
            await self._rag_service.ready()
        except LlmDeployError as error:
            self._warn(f"rag: {error.message}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except LlmDeployError as error:
            self.failure = error
            await self.aclose()
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _oversee(self) -> None:
        """Cancel requests whose time is over: bodies that do not arrive, readers that do not read, endless answers."""
        while True:
            await asyncio.sleep(self.oversee_s)
            now_s = self.desk.clock()
            for held in tuple(self.desk.open):
                if held.deadline_s < now_s:
                    held.cancel(held.late)
            if self.pages.together is not None:
                await self.pages.together.share()

    def _backends(self) -> list[Backend]:
        return [backend for model in self.generations.models.values() for backend in model.backends]

    def _failed_over(self, name: str) -> Callable[[Backend, LlmDeployError], None]:
        def told(backend: Backend, error: LlmDeployError) -> None:
            self.metrics.upstream_failures[name, backend.place, type(error).__name__] += 1

        return told

    def _warn(self, line: str) -> None:
        self.journal.write({"event": "warning", "message": line})


def build(config: GatewayConfig, *, access: Access | None = None, session: Any = None) -> Gateway:  # noqa: ANN401 - ours or boto3's
    """The application of a configuration. Nothing is opened before ASGI's lifespan begins, or `running`.

    Args:
        config: What is served and allowed.
        access: Who may call; from the configuration's `keys` and `state` otherwise.
        session: AWS, for endpoints; from the configuration's target otherwise.

    Raises:
        SpecError: State that cannot be what the configuration says.
        MissingExtraError: Something that is configured is not installed.
    """
    return Gateway(config, access or _access(config), session=session)


def _with_safety(send: Send) -> Send:
    """Answers of FastAPI with the headers that all others have."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *SAFETY]}
        await send(message)

    return sent


def _access(config: GatewayConfig) -> Access:
    if config.keys == "off":
        from llm_deploy.gateway.open_access import OpenAccess  # noqa: PLC0415 - one of the two

        return OpenAccess()
    from llm_deploy.gateway.state import open_access  # noqa: PLC0415 - loads a database's toolkit

    return open_access(config.state)


def _with_cors(app: App, cors: Cors) -> App:
    if not cors.origins:
        return app
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - off by default

    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_methods=("GET", "POST"),
        allow_headers=("authorization", "content-type", "x-api-key", "x-request-id"),
        expose_headers=("x-request-id", "retry-after"),
    )
