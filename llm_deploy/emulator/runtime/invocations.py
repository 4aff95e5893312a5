"""InvokeEndpoint and InvokeEndpointWithResponseStream: from the client to a copy and back; and who does the rest.

Nothing is kept: a piece of the answer is sent on when it arrives, and a client that hangs up ends the copy's request.
"""

from __future__ import annotations

import asyncio
import random
import re
from urllib.parse import unquote

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.container import HOST
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.native import is_native
from llm_deploy.emulator.runtime.asynchronous import INLINE_BYTES, AsyncInvocations
from llm_deploy.emulator.runtime.checks import check_headers, model_error
from llm_deploy.emulator.runtime.eventstream import CONTENT_TYPE, failure, payload_part
from llm_deploy.emulator.runtime.exchange import Exchange, ExchangeBrokenError, request_head
from llm_deploy.emulator.runtime.openai import OpenAiPath
from llm_deploy.emulator.runtime.relay import measured, ready_copy, rest, unless_gone
from llm_deploy.emulator.runtime.splitter import HOLD_S, Splitter
from llm_deploy.emulator.runtime.target import COMPONENT_HEADER, Target, choose, refuse_invocation
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.sagemaker.standin import note
from llm_deploy.emulator.service import ServiceError, not_implemented

_PATH = re.compile(r"^/endpoints/(?P<endpoint>[^/]+)/(?P<verb>[^/]+)$")
_OPERATIONS = {
    "invocations": "InvokeEndpoint",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
    "async-invocations": "InvokeEndpointAsync",
}
_FORWARDED = (
    "accept",
    "content-type",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
    "x-amzn-sagemaker-prefix-aware-id",
)
_CUSTOM = "x-amzn-sagemaker-custom-attributes"
_SUCCESS = range(200, 300)


class Invocations:
    """The runtime of one cloud."""

    def __init__(self, hosting: Hosting, asynchronous: AsyncInvocations) -> None:
        self._hosting = hosting
        self._asynchronous = asynchronous
        self._openai = OpenAiPath(hosting)
        self._limits = hosting.cloud.settings.limits

    async def answer(self, request: Request) -> None:
        """Answer a request below /endpoints/.

        Raises:
            ServiceError: The refusal that the client gets.
            ClientGoneError: The client hung up before its request was read.
        """
        if is_native(request.path):
            await self._openai.answer(request)
            return
        found = _PATH.match(request.path)
        operation = _OPERATIONS.get(found["verb"] if found else "")
        if found is None or request.method != "POST" or operation is None:
            what = found["verb"] if found else request.path
            raise not_implemented(self._hosting.cloud, f"sagemaker-runtime:{request.method} {what}")
        name, asynchronous = unquote(found["endpoint"]), operation == "InvokeEndpointAsync"
        body = await self._body(request, INLINE_BYTES if asynchronous else self._limits.body_bytes)
        check_headers(request.headers, name, operation)
        self._authorise(request, name, operation)
        if asynchronous:
            await self._asynchronous.accept(request, name, body)
            return
        target = choose(self._hosting, name, request.headers)
        streamed = operation == "InvokeEndpointWithResponseStream"
        await unless_gone(request, self._invoke(request, target, body, streamed=streamed))

    def _authorise(self, request: Request, endpoint: str, operation: str) -> None:
        params = {"EndpointName": endpoint}
        if component := request.headers.get(COMPONENT_HEADER):
            params["InferenceComponentName"] = component
        self._hosting.cloud.gate.authorise(request, "sagemaker-runtime", operation, params)

    async def _body(self, request: Request, limit_bytes: int) -> bytes:
        try:
            return await request.body(limit_bytes)
        except BodyTooLargeError as error:
            raise refuse_invocation("runtime.body-limit", limit=limit_bytes) from error

    async def _invoke(self, request: Request, target: Target, body: bytes, *, streamed: bool) -> None:
        copy = await ready_copy(self._hosting, target)
        head = request_head(HOST, "/invocations", _forwarded(request, streamed=streamed), len(body))
        with measured(self._hosting, target, copy):
            if streamed:
                await self._stream(request, target, Exchange(HOST, copy.port, head, body), copy)
            else:
                await self._whole(request, target, Exchange(HOST, copy.port, head, body), copy)

    async def _whole(self, request: Request, target: Target, exchange: Exchange, copy: Copy) -> None:
        try:
            async with asyncio.timeout(self._limits.invoke_s), exchange:
                status = await exchange.head()
                body = await rest(exchange)
        except TimeoutError as error:
            raise self._model_error(target, copy, 0, ledger.text("runtime.timeout")) from error
        except ExchangeBrokenError as error:
            raise self._model_error(target, copy, 0, str(error)) from error
        if status not in _SUCCESS:
            raise self._model_error(target, copy, status, body.decode("utf-8", "replace"))
        content_type = ("content-type", exchange.headers.get("content-type", "application/octet-stream"))
        await request.respond(200, body, [content_type, *self._headers(target, exchange)])

    async def _stream(self, request: Request, target: Target, exchange: Exchange, copy: Copy) -> None:
        begun = False
        try:
            async with asyncio.timeout(self._limits.stream_s), exchange:
                status = await exchange.head()
                if status not in _SUCCESS:
                    message = (await rest(exchange)).decode("utf-8", "replace")
                    raise self._model_error(target, copy, status, message)
                await request.begin(200, self._stream_headers(target, exchange))
                begun = True
                await self._relay(request, exchange)
            await _end(request, b"")
        except TimeoutError as error:
            if not begun:
                raise self._model_error(target, copy, 0, ledger.text("runtime.timeout")) from error
            await _end(request, _stream_failure("ModelInvocationTimeExceeded", ledger.text("runtime.stream-timeout")))
        except ExchangeBrokenError as error:
            if not begun:
                raise self._model_error(target, copy, 0, str(error)) from error
            await _end(request, _stream_failure("StreamBroken", ledger.text("runtime.stream-broken")))

    async def _relay(self, request: Request, exchange: Exchange) -> None:
        settings, cloud_random = self._hosting.cloud.settings, self._hosting.cloud.random
        rng = random.Random(cloud_random.random()) if settings.split else None  # noqa: S311 - places of cuts
        splitter = Splitter(rng)
        try:
            while chunk := await _next(exchange, splitter, request):
                await _send_parts(request, splitter.feed(chunk))
        finally:
            # Also before a failure: the text so far is the client's.
            await _send_parts(request, splitter.flush())

    def _headers(self, target: Target, exchange: Exchange) -> list[tuple[str, str]]:
        headers = [("x-amzn-invoked-production-variant", target.variant)]
        if _CUSTOM in exchange.headers:
            headers.append((_CUSTOM, exchange.headers[_CUSTOM]))
        if target.fleet.spec.stands_in_for:
            spec = target.fleet.spec
            headers.append(("x-local-stand-in", note(spec.local_model, target.fleet.spec.stands_in_for)))
        return headers

    def _stream_headers(self, target: Target, exchange: Exchange) -> list[tuple[str, str]]:
        content_type = exchange.headers.get("content-type", "application/octet-stream")
        named = [("content-type", CONTENT_TYPE), ("x-amzn-sagemaker-content-type", content_type)]
        return [*named, *self._headers(target, exchange)]

    def _model_error(self, target: Target, copy: Copy, status: int, original: str) -> ServiceError:
        return model_error(self._hosting, target, copy, status, original)


def _forwarded(request: Request, *, streamed: bool) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
    # A stream's Accept header travels under another name, because the client's own is for the event stream.
    if streamed and "x-amzn-sagemaker-accept" in request.headers:
        headers["accept"] = request.headers["x-amzn-sagemaker-accept"]
    return headers


async def _next(exchange: Exchange, splitter: Splitter, request: Request) -> bytes:
    """The next piece; what is held meanwhile goes out when the piece keeps us waiting."""
    if splitter.held:
        try:
            async with asyncio.timeout(HOLD_S):
                return await exchange.chunk()
        except TimeoutError:
            await _send_parts(request, splitter.flush())
    return await exchange.chunk()


async def _send_parts(request: Request, parts: list[bytes]) -> None:
    if parts:
        frames = b"".join(payload_part(part) for part in parts)
        await request.send({"type": "http.response.body", "body": frames, "more_body": True})


async def _end(request: Request, last: bytes) -> None:
    await request.send({"type": "http.response.body", "body": last})


def _stream_failure(code: str, message: str) -> bytes:
    return failure("ModelStreamError", {"Message": message, "ErrorCode": code})
