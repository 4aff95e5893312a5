"""SageMaker's own OpenAI path: chat completions as the container gives them, to whoever has a bearer token.

Ledger: `runtime.openai.path`, `runtime.openai.answer`.
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.container import HOST
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.native import NATIVE, error_body
from llm_deploy.emulator.runtime.checks import check_headers, model_error
from llm_deploy.emulator.runtime.exchange import Exchange, ExchangeBrokenError, request_head
from llm_deploy.emulator.runtime.relay import measured, ready_copy, rest, unless_gone
from llm_deploy.emulator.runtime.target import COMPONENT_HEADER, Target, choose, refuse_invocation
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.sagemaker.standin import note
from llm_deploy.emulator.service import ServiceError

_ROUTE = "v1/chat/completions"
_SUCCESS = range(200, 300)


class OpenAiPath:
    """The OpenAI path of one cloud."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._limits = hosting.cloud.settings.limits

    async def answer(self, request: Request) -> None:
        """Answer a request below an endpoint's `/openai/`.

        Raises:
            ServiceError: The refusal that the client gets.
            ClientGoneError: The client hung up before its request was read.
        """
        found = NATIVE.match(request.path)
        assert found is not None  # noqa: S101 - the caller has looked
        if found["rest"] != _ROUTE or request.method != "POST":
            words = ledger.text("runtime.openai.only-chat", method=request.method, path=found["rest"])
            raise ServiceError("UnknownOperationException", words, status=404)
        endpoint, component = unquote(found["endpoint"]), unquote(found["component"] or "")
        body = await self._body(request)
        self._authorise(request, endpoint, component)
        if COMPONENT_HEADER in request.headers:
            raise refuse_invocation("runtime.openai.component-header")
        headers = {COMPONENT_HEADER: component} if component else {}
        check_headers(headers, endpoint, "InvokeEndpoint")
        await unless_gone(request, self._pass_on(request, choose(self._hosting, endpoint, headers), body))

    def _authorise(self, request: Request, endpoint: str, component: str) -> None:
        """Ledger: `access.bearer.two-actions`."""
        gate = self._hosting.cloud.gate
        gate.authorise(request, "sagemaker-runtime", "CallWithBearerToken", {})
        named = {"EndpointName": endpoint, "InferenceComponentName": component}
        params = {key: value for key, value in named.items() if value}
        gate.authorise(request, "sagemaker-runtime", "InvokeEndpoint", params)

    async def _body(self, request: Request) -> bytes:
        try:
            return await request.body(self._limits.body_bytes)
        except BodyTooLargeError as error:
            raise refuse_invocation("runtime.body-limit", limit=self._limits.body_bytes) from error

    async def _pass_on(self, request: Request, target: Target, body: bytes) -> None:
        copy = await ready_copy(self._hosting, target)
        head = request_head(HOST, f"/{_ROUTE}", _forwarded(request), len(body))
        with measured(self._hosting, target, copy):
            await self._exchange(request, target, Exchange(HOST, copy.port, head, body), copy)

    async def _exchange(self, request: Request, target: Target, exchange: Exchange, copy: Copy) -> None:
        begun = False
        try:
            async with asyncio.timeout(self._limits.stream_s), exchange:
                async with asyncio.timeout(self._limits.invoke_s):
                    status = await exchange.head()
                    if status not in _SUCCESS:
                        message = (await rest(exchange)).decode("utf-8", "replace")
                        raise model_error(self._hosting, target, copy, status, message)
                await request.begin(200, _headers(target, exchange))
                begun = True
                while piece := await exchange.chunk():
                    await _send(request, piece)
        except (TimeoutError, ExchangeBrokenError) as error:
            words = str(error) if isinstance(error, ExchangeBrokenError) else ledger.text("runtime.timeout")
            failure = model_error(self._hosting, target, copy, 0, words)
            if not begun:
                raise failure from error
            await _send(request, b"data: %s\n\n" % error_body(failure))
        await request.send({"type": "http.response.body", "body": b""})


def _forwarded(request: Request) -> dict[str, str]:
    names = ("accept", "content-type")
    return {name: request.headers[name] for name in names if name in request.headers}


def _headers(target: Target, exchange: Exchange) -> list[tuple[str, str]]:
    headers = [("content-type", exchange.headers.get("content-type", "application/octet-stream"))]
    if target.fleet.spec.stands_in_for:
        headers.append(("x-local-stand-in", note(target.fleet.spec.local_model, target.fleet.spec.stands_in_for)))
    return headers


async def _send(request: Request, piece: bytes) -> None:
    await request.send({"type": "http.response.body", "body": piece, "more_body": True})
