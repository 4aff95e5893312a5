"""InvokeEndpoint and InvokeEndpointWithResponseStream: from the client to a copy and back.

Nothing is kept: a piece of the answer is sent on when it arrives, and a client that hangs up ends the copy's request.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.container import HOST
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.http import BodyTooLargeError, Request
from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.protocol.validate import check_input
from llm_deploy.emulator.runtime.eventstream import CONTENT_TYPE, failure, payload_part
from llm_deploy.emulator.runtime.exchange import Exchange, ExchangeBrokenError, request_head
from llm_deploy.emulator.runtime.splitter import HOLD_S, Splitter
from llm_deploy.emulator.runtime.target import COMPONENT_HEADER, Target, choose, refuse_invocation
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.sagemaker.standin import note
from llm_deploy.emulator.service import ServiceError, not_implemented

_PATH = re.compile(r"^/endpoints/(?P<endpoint>[^/]+)/(?P<verb>[^/]+)$")
_FORWARDED = (
    "accept",
    "content-type",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
    "x-amzn-sagemaker-prefix-aware-id",
)
_CUSTOM = "x-amzn-sagemaker-custom-attributes"
_MAX_MESSAGE = 1024
"""Characters of a container's error that are passed on."""
_SUCCESS = range(200, 300)
_SERVER_ERRORS = range(500, 600)


class Invocations:
    """The runtime of one cloud."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._limits = hosting.cloud.settings.limits

    async def answer(self, request: Request) -> None:
        """Answer a request below /endpoints/.

        Raises:
            ServiceError: The refusal that the client gets.
            ClientGoneError: The client hung up before its request was read.
        """
        found = _PATH.match(request.path)
        verb = found["verb"] if found else ""
        if found is None or request.method != "POST" or verb not in ("invocations", "invocations-response-stream"):
            raise not_implemented(self._hosting.cloud, f"sagemaker-runtime:{request.method} {verb or request.path}")
        streamed = verb == "invocations-response-stream"
        body = await self._body(request)
        name = unquote(found["endpoint"])
        _check_headers(request, name, streamed=streamed)
        self._authorise(request, name, streamed=streamed)
        target = choose(self._hosting, name, request.headers)
        await _unless_gone(request, self._invoke(request, target, body, streamed=streamed))

    def _authorise(self, request: Request, endpoint: str, *, streamed: bool) -> None:
        operation = "InvokeEndpointWithResponseStream" if streamed else "InvokeEndpoint"
        params = {"EndpointName": endpoint}
        if component := request.headers.get(COMPONENT_HEADER):
            params["InferenceComponentName"] = component
        self._hosting.cloud.gate.authorise(request, "sagemaker-runtime", operation, params)

    async def _body(self, request: Request) -> bytes:
        try:
            return await request.body(self._limits.body_bytes)
        except BodyTooLargeError as error:
            raise refuse_invocation("runtime.body-limit", limit=self._limits.body_bytes) from error

    async def _invoke(self, request: Request, target: Target, body: bytes, *, streamed: bool) -> None:
        copy = await self._copy(target)
        head = request_head(HOST, "/invocations", _forwarded(request, streamed=streamed), len(body))
        with self._measured(target, copy):
            if streamed:
                await self._stream(request, target, Exchange(HOST, copy.port, head, body), copy)
            else:
                await self._whole(request, target, Exchange(HOST, copy.port, head, body), copy)

    async def _copy(self, target: Target) -> Copy:
        """The copy to ask; waits for one that is being restarted."""
        copy = target.fleet.pick()
        if copy is None:
            clock = self._hosting.cloud.clock
            await target.fleet.any_ready(clock.deadline(0, least_real_s=self._limits.invoke_s))
            copy = target.fleet.pick()
        if copy is None:
            raise ServiceError("ServiceUnavailable", ledger.text("runtime.unavailable"), status=503)
        return copy

    async def _whole(self, request: Request, target: Target, exchange: Exchange, copy: Copy) -> None:
        try:
            async with asyncio.timeout(self._limits.invoke_s), exchange:
                status = await exchange.head()
                body = await _rest(exchange)
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
                    message = (await _rest(exchange)).decode("utf-8", "replace")
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
            local = self._hosting.cloud.settings.model_name
            headers.append(("x-local-stand-in", note(local, target.fleet.spec.stands_in_for)))
        return headers

    def _stream_headers(self, target: Target, exchange: Exchange) -> list[tuple[str, str]]:
        content_type = exchange.headers.get("content-type", "application/octet-stream")
        named = [("content-type", CONTENT_TYPE), ("x-amzn-sagemaker-content-type", content_type)]
        return [*named, *self._headers(target, exchange)]

    def _model_error(self, target: Target, copy: Copy, status: int, original: str) -> ServiceError:
        """What the container said, as AWS passes it on. Ledger: `runtime.model-error`."""
        settings = self._hosting.cloud.settings
        group = target.fleet.spec.log_group
        side = "server" if status in _SERVER_ERRORS or status == 0 else "client"
        message = ledger.text(
            "runtime.model-error",
            side=side,
            status=status,
            message=original[:_MAX_MESSAGE],
            region=settings.region,
            group=group,
            account=settings.account,
        )
        fields = {
            "Message": message,
            "OriginalStatusCode": status,
            "OriginalMessage": original[:_MAX_MESSAGE],
            "LogStreamArn": self._hosting.cloud.arn("logs", f"log-group:{group}:log-stream:{copy.stream}"),
        }
        return ServiceError("ModelError", message, status=424, fields=fields)

    @contextmanager
    def _measured(self, target: Target, copy: Copy) -> Iterator[None]:
        """Count the request, on the copy and in the metrics. Source of the names: AWS/SageMaker, CloudWatch."""
        metric, dimensions = self._hosting.cloud.hooks.metric, target.dimensions()
        copy.outstanding += 1
        started = time.monotonic()
        errors = {"Invocation4XXErrors": 0, "Invocation5XXErrors": 0}
        try:
            yield
        except ServiceError as error:
            status = error.fields.get("OriginalStatusCode", error.status)
            errors["Invocation4XXErrors" if status in range(400, 500) else "Invocation5XXErrors"] = 1
            raise
        finally:
            copy.outstanding -= 1
            metric("Invocations", dimensions, 1, "Count")
            metric("ModelLatency", dimensions, (time.monotonic() - started) * 1e6, "Microseconds")
            for name, value in errors.items():
                metric(name, dimensions, value, "Count")


def _check_headers(request: Request, endpoint: str, *, streamed: bool) -> None:
    """Check names and headers against the model.

    Raises:
        ServiceError: One breaks its pattern or is too long.
    """
    model = load("sagemaker-runtime")
    shape = model.input_shape("InvokeEndpointWithResponseStream" if streamed else "InvokeEndpoint") or ""
    members = model.shapes[shape]["members"]
    params = {
        name: request.headers[member["locationName"].lower()]
        for name, member in members.items()
        if member.get("location") == "header" and member["locationName"].lower() in request.headers
    }
    # The body is a payload, and its length was checked while it was read.
    problem = check_input(model, shape, {**params, "EndpointName": endpoint, "Body": ""})
    if problem:
        raise ServiceError("ValidationError", problem)


def _forwarded(request: Request, *, streamed: bool) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
    # A stream's Accept header travels under another name, because the client's own is for the event stream.
    if streamed and "x-amzn-sagemaker-accept" in request.headers:
        headers["accept"] = request.headers["x-amzn-sagemaker-accept"]
    return headers


async def _unless_gone(request: Request, work: object) -> None:
    """Do the work, unless the client hangs up; then end it at once."""
    working = asyncio.ensure_future(work)  # type: ignore[call-overload]
    watching = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _next(exchange: Exchange, splitter: Splitter, request: Request) -> bytes:
    """The next piece; what is held meanwhile goes out when the piece keeps us waiting."""
    if splitter.held:
        try:
            async with asyncio.timeout(HOLD_S):
                return await exchange.chunk()
        except TimeoutError:
            await _send_parts(request, splitter.flush())
    return await exchange.chunk()


async def _rest(exchange: Exchange) -> bytes:
    pieces = []
    while piece := await exchange.chunk():
        pieces.append(piece)
    return b"".join(pieces)


async def _send_parts(request: Request, parts: list[bytes]) -> None:
    if parts:
        frames = b"".join(payload_part(part) for part in parts)
        await request.send({"type": "http.response.body", "body": frames, "more_body": True})


async def _end(request: Request, last: bytes) -> None:
    await request.send({"type": "http.response.body", "body": last})


def _stream_failure(code: str, message: str) -> bytes:
    return failure("ModelStreamError", {"Message": message, "ErrorCode": code})
