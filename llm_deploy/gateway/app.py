"""The gateway as one ASGI application: hot routes, pages, and everything else behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from llm_deploy.errors import LlmDeployError
from llm_deploy.gateway.access import Access
from llm_deploy.gateway.asgi import App, Receive, Scope, Send
from llm_deploy.gateway.backends import Backend
from llm_deploy.gateway.config import GatewayConfig
from llm_deploy.gateway.desk import Desk
from llm_deploy.gateway.generations import HOT_ROUTES, Generations
from llm_deploy.gateway.journal import Journal
from llm_deploy.gateway.metrics import Metrics
from llm_deploy.gateway.opening import Opening
from llm_deploy.gateway.pages import Pages, not_found, wrong_method

_OVERSEE_S: Final = 1.0


class Gateway:
    """The application. What it holds is opened by ASGI's lifespan, or by `running`.

    Args:
        access: Who may call.
        session: AWS, for endpoints; made from the configuration's target otherwise.
        rest: Answers what is neither a hot route nor a page.
    """

    def __init__(self, config: GatewayConfig, access: Access, *, session: Any = None, rest: App = not_found) -> None:  # noqa: ANN401
        self.config = config
        self.metrics = Metrics()
        self.journal = Journal(self.metrics, requests=config.logs.requests)
        self._opening = Opening(config, session, self._warn)
        self._access = access
        self._rest = rest
        self._overseer: asyncio.Task[None] | None = None
        self.failure: LlmDeployError | None = None
        self.desk = Desk(access, config.limits, self.metrics, self.journal, log_prompts=config.logs.prompts)
        self.generations = Generations(self.desk, {})
        self.pages = Pages({}, access, self.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "http":
            route = HOT_ROUTES.get(scope["path"])
            if route is not None and scope["method"] == "POST":
                await self.generations.handle(route, scope, receive, send)
            else:
                await self._other(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """Open everything, and close it at the end."""
        await self.start()
        try:
            yield self
        finally:
            await self.aclose()

    async def start(self) -> None:
        """Open access, models and engines.

        Raises:
            LlmDeployError: Something that was configured cannot be had.
        """
        await self._access.start()
        models = await self._opening.models()
        for model in models.values():
            model.failed_over = self._failed_over(model.name)
        self.generations.models = self.pages.models = models
        self.generations.default_model = self.config.default_model or next(iter(models), "")
        for backend in self._backends():
            if backend.start is not None:
                await backend.start()
        self._overseer = asyncio.create_task(self._oversee())

    async def aclose(self) -> None:
        """Cut what is still running and let go of everything; harmless when called again."""
        if self._overseer is not None:
            self._overseer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._overseer
        self.cut_all()
        for backend in self._backends():
            await backend.aclose()
        await self._access.aclose()
        self.journal.close()

    def cut_all(self) -> None:
        """End every request at once, with an error that says why."""
        for held in tuple(self.desk.open):
            held.cancel("shutdown")

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        page = self.pages.page(path)
        if page is not None and scope["method"] in {"GET", "HEAD"}:
            await page(scope, send)
        elif page is not None:
            await wrong_method(send, "GET, HEAD")
        elif path in HOT_ROUTES:
            await wrong_method(send, "POST")
        else:
            await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except LlmDeployError as error:
            self.failure = error
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _oversee(self) -> None:
        """Cancel requests whose time is over: bodies that do not arrive, readers that do not read, endless answers."""
        while True:
            await asyncio.sleep(_OVERSEE_S)
            now_s = self.desk.clock()
            for held in tuple(self.desk.open):
                if held.deadline_s < now_s:
                    held.cancel(held.late)

    def _backends(self) -> list[Backend]:
        return [backend for model in self.generations.models.values() for backend in model.backends]

    def _failed_over(self, name: str) -> Any:  # noqa: ANN401 - a callable
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


def _access(config: GatewayConfig) -> Access:
    if config.keys == "off":
        from llm_deploy.gateway.open_access import OpenAccess  # noqa: PLC0415 - one of the two

        return OpenAccess()
    from llm_deploy.gateway.state import open_access  # noqa: PLC0415 - loads a database's toolkit

    return open_access(config.state)
