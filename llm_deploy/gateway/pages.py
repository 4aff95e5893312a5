"""The routes that no request is in a hurry for: models, health, metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from llm_deploy.errors import AccessDeniedError, LlmDeployError, UnknownModelError
from llm_deploy.gateway.access import Access, Caller
from llm_deploy.gateway.asgi import Receive, Scope, Send, api_key, request_id, send_whole
from llm_deploy.gateway.metrics import Metrics
from llm_deploy.gateway.refusals import Refusal, refusal
from llm_deploy.gateway.routing import ServedModel
from llm_deploy.gateway.together import Together

_PROBE_S: Final = 1.0
_PROBE_VALID_S: Final = 5.0
Page = Callable[[Scope, Send], Awaitable[None]]


@dataclass(slots=True)
class Pages:
    """Small documents about the gateway itself.

    Attributes:
        draining: Set when the gateway is about to end.
        together: Where other workers' counters are; `None` without any.
    """

    models: Mapping[str, ServedModel]
    access: Access
    metrics: Metrics
    draining: bool = False
    together: Together | None = None
    _probed: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _probing: dict[str, asyncio.Task[bool]] = field(default_factory=dict)

    def page(self, path: str) -> Page | None:
        """The page at a path."""
        found: dict[str, Page] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/v1/models": self._list,
        }
        return self._one if path.startswith("/v1/models/") else found.get(path)

    async def _healthz(self, _scope: Scope, send: Send) -> None:
        await _json(send, 200, {"status": "ok"})

    async def _readyz(self, _scope: Scope, send: Send) -> None:
        """Ready while some model can be asked: one that is scaled to zero must not take the others away.

        A database that does not answer is told and is no reason: keys and limits go on from memory, and all replicas
        would leave the load balancer at once.
        """
        reached = await asyncio.gather(*map(self._reachable, self.models.values()))
        models = dict(zip(self.models, reached, strict=True))
        ready = not self.draining and any(models.values())
        status = "draining" if self.draining else ("ready" if ready else "not ready")
        state = "ok" if getattr(self.access, "healthy", True) else "behind"
        await _json(send, 200 if ready else 503, {"status": status, "models": models, "state": state})

    async def _metrics(self, _scope: Scope, send: Send) -> None:
        metrics = self.metrics if self.together is None else await self.together.summed()
        await send_whole(send, 200, metrics.text(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _list(self, scope: Scope, send: Send) -> None:
        await self._for_callers(scope, send, self._listed)

    async def _one(self, scope: Scope, send: Send) -> None:
        name = unquote(scope["path"].removeprefix("/v1/models/"))

        def found(caller: Caller) -> dict[str, Any]:
            model = self.models.get(name)
            if model is None or not _may_use(caller, name):
                raise UnknownModelError(f"there is no model {name[:128]!r} here", hint="GET /v1/models lists them.")
            return _document(model)

        await self._for_callers(scope, send, found)

    def _listed(self, caller: Caller) -> dict[str, Any]:
        data = [_document(model) for name, model in self.models.items() if _may_use(caller, name)]
        return {"object": "list", "data": data}

    async def _for_callers(self, scope: Scope, send: Send, document: Callable[[Caller], dict[str, Any]]) -> None:
        headers = [(b"x-request-id", request_id(scope).encode())]
        try:
            caller = self.access.caller(api_key(scope))
            if "models" not in caller.scopes:
                raise AccessDeniedError("this key may not list models")
            found = document(caller)
        except LlmDeployError as error:
            told = refusal(error)
            await send_whole(send, told.status, told.body(), headers=[*headers, *told.headers()])
        else:
            await send_whole(send, 200, json.dumps(found).encode(), headers=headers)

    async def _reachable(self, model: ServedModel) -> bool:
        """Whether some backend can be asked: loaded, not left alone after failures, reached where that is cheap."""
        now_s = model.clock()
        able = [each.place for each in model.backends if each.left_alone_until_s <= now_s and each.ready()]
        return any(await asyncio.gather(*map(self._connected, able)))

    async def _connected(self, place: str) -> bool:
        parts = urlsplit(place)
        if not parts.hostname:
            return True
        now_s = asyncio.get_running_loop().time()
        when_s, known = self._probed.get(place, (-_PROBE_VALID_S, False))
        if now_s - when_s <= _PROBE_VALID_S:
            return known
        probe = self._probing.get(place)
        if probe is None:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            probe = self._probing[place] = asyncio.create_task(self._probe(place, parts.hostname, port))
        return await asyncio.shield(probe)

    async def _probe(self, place: str, host: str, port: int) -> bool:
        """Try once, however many ask."""
        try:
            known = await _connects(host, port)
            self._probed[place] = (asyncio.get_running_loop().time(), known)
        finally:
            del self._probing[place]
        return known


async def not_found(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer that there is nothing here."""
    await _refused(send, Refusal(404, "invalid_request_error", "not_found", "there is nothing at this path"))


async def wrong_method(send: Send, allowed: str) -> None:
    """Answer that the path takes another method."""
    told = Refusal(405, "invalid_request_error", "method_not_allowed", f"this path takes {allowed}")
    await send_whole(send, told.status, told.body(), headers=[(b"allow", allowed.encode())])


async def refused(send: Send, error: LlmDeployError) -> None:
    """Answer with an error."""
    await _refused(send, refusal(error))


async def _refused(send: Send, told: Refusal) -> None:
    await send_whole(send, told.status, told.body(), headers=told.headers())


async def _json(send: Send, status: int, document: Mapping[str, Any]) -> None:
    await send_whole(send, status, json.dumps(document).encode())


async def _connects(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _document(model: ServedModel) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": model.created_s, "owned_by": "llm-deploy"}


def _may_use(caller: Caller, name: str) -> bool:
    return caller.models is None or name in caller.models
