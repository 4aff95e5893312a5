"""The ASGI application: one port, and the request's signature, target and path decide who answers."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from llm_deploy.emulator import ledger
from llm_deploy.emulator.http import BodyTooLargeError, ClientGoneError, Receive, Request, Send
from llm_deploy.emulator.native import is_native, refuse_native
from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.protocol.validate import WrongTypeError, check_input, check_output
from llm_deploy.emulator.service import Call, Cloud, JsonService, RawHandler, ServiceError, is_own, log, not_implemented
from llm_deploy.emulator.store import Document

__all__ = ["App", "answer_json", "not_implemented", "refuse", "request_id"]

MAX_JSON_BYTES = 4 * 1024 * 1024
WRONG_REGION = "LocalCloudWrongRegion"
_TARGET = "x-amz-target"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class App:
    """The local cloud on the wire."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            refuse_foreign_page(request)
            await self._answer(request)
        except ServiceError as error:
            await write_refusal(request, error)
        except ClientGoneError:
            log.debug("the client of %s %s hung up", request.method, request.path)

    async def _answer(self, request: Request) -> None:
        if request.path.startswith("/_local/"):
            await self._local(request)
            return
        await self.cloud.gate.admit(request)
        if (service := self._json_service(request)) is not None:
            self._check_region(request)
            await answer_json(self.cloud, service, request)
        elif (handler := self._raw_handler(request)) is not None:
            await handler(request)
        else:
            raise not_implemented(self.cloud, _described(request))

    def _json_service(self, request: Request) -> JsonService | None:
        prefix, dot, _ = request.headers.get(_TARGET, "").partition(".")
        return self.cloud.registry.json.get(prefix) if dot else None

    def _raw_handler(self, request: Request) -> RawHandler | None:
        registry = self.cloud.registry
        for prefix, handler in registry.paths.items():
            # S3 is the one service whose paths are the user's: a bucket may be called "endpoints".
            if request.path.startswith(prefix) and (request.signature is None or request.signature.service != "s3"):
                self._check_region(request)
                return handler
        if request.signature and request.signature.service in registry.raw:
            return registry.raw[request.signature.service]
        return registry.fallback

    def _check_region(self, request: Request) -> None:
        """Refuse what is meant for another region. Ledger: `local.wrong-region`."""
        here = self.cloud.settings.region
        if request.signature and request.signature.region != here:
            message = ledger.text("local.wrong-region", here=here, asked=request.signature.region)
            raise ServiceError(WRONG_REGION, message)

    async def _local(self, request: Request) -> None:
        if request.path == "/_local/health" and request.method == "GET":
            await _respond_json(request, 200, self._health())
        elif request.path == "/_local/stop" and request.method == "POST":
            await _respond_json(request, 202, {"status": "stopping"})
            self.cloud.stopping.set()
        elif answer := self.cloud.local.get((request.method, request.path)):
            await _respond_json(request, 200, answer())
        else:
            await _respond_json(request, 404, {"error": f"nothing at {request.method} {request.path}"})

    def _health(self) -> Document:
        settings = self.cloud.settings
        return {
            "status": "ok",
            "pid": os.getpid(),
            "speed": settings.speed,
            "account": settings.account,
            "region": settings.region,
            "iam": settings.iam,
            "endpoints": 0,
            "processes": 0,
            **{name: count() for name, count in self.cloud.counters.items()},
            "not_implemented": dict(self.cloud.unknown),
        }


def refuse_foreign_page(request: Request) -> None:
    """Keep web pages out: a browser on this machine reaches the port, and a page's own name may point here.

    Raises:
        ServiceError: The request was meant for another host, or comes from a page of one. Ledger: `local.foreign-page`.
    """
    host = _host_name(f"//{request.headers.get('host', '')}")
    origin = request.headers.get("origin")
    for name in (host, _host_name(origin) if origin else ""):
        if name and name not in _LOOPBACK and not name.endswith(".localhost"):
            raise ServiceError("AccessDeniedException", ledger.text("local.foreign-page", name=name), status=403)


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return url


async def answer_json(cloud: Cloud, service: JsonService, request: Request) -> None:
    """Answer one request of a JSON service: read, validate, call, check, write.

    Raises:
        ServiceError: The refusal that the client gets.
    """
    operation = request.headers.get(_TARGET, "").partition(".")[2]
    handler = service.operations.get(operation)
    model = load(service.model)
    if operation not in model.operations:
        raise ServiceError("UnknownOperationException", ledger.text("protocol.unknown-operation", operation=operation))
    if handler is None:
        raise not_implemented(cloud, f"{service.model}:{operation}")
    params = await _read_json(request)
    shape = model.input_shape(operation)
    try:
        problem = check_input(model, shape, params) if shape else None
    except WrongTypeError as error:
        raise ServiceError("SerializationException", str(error)) from error
    if problem:
        raise ServiceError("ValidationException", problem)
    cloud.gate.authorise(request, service.model, operation, params)
    answer = await handler(Call(operation, params, by_service=is_own(cloud, request)))
    try:
        check_output(model, model.output_shape(operation), answer)
    except AssertionError as error:
        log.exception("%s answered what the model does not allow", operation)
        raise ServiceError("InternalFailure", f"local cloud: {operation}: {error}", status=500) from error
    await _respond_json(request, 200, answer, version=service.json_version)


async def write_refusal(request: Request, error: ServiceError) -> None:
    """Write an error in the protocol of the request."""
    protocol = getattr(error, "protocol", "json")
    if is_native(request.path):
        await refuse_native(request, error)
    elif protocol == "json":
        await refuse(request, error)
    else:
        await refuse_xml(request, error, wrapped=protocol == "query")


async def refuse_xml(request: Request, error: ServiceError, *, wrapped: bool) -> None:
    """Write an error as the query protocol does, or as S3 does, which has no wrapper."""
    kind = "Sender" if error.status < 500 else "Receiver"  # noqa: PLR2004 - HTTP's border between the two
    words = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    identity = f"<RequestId>{request_id()}</RequestId>"
    if wrapped:
        body = f"<ErrorResponse><Error><Type>{kind}</Type>{words}</Error>{identity}</ErrorResponse>"
    else:
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error>{words}{identity}</Error>'
    await request.respond(error.status, body.encode(), [("content-type", "text/xml")])


async def refuse(request: Request, error: ServiceError) -> None:
    """Write an error as the JSON protocols do; the header serves REST clients and the rest can read the text."""
    body = {"__type": error.code, "message": error.message, **error.fields}
    await _respond_json(request, error.status, body, errortype=error.code)


async def _read_json(request: Request) -> Document:
    try:
        raw = await request.body(MAX_JSON_BYTES)
        document = json.loads(raw or b"{}")
    except BodyTooLargeError as error:
        raise ServiceError("RequestEntityTooLargeException", "The request is too large.", status=413) from error
    except (ValueError, RecursionError) as error:
        raise ServiceError("SerializationException", "The request is no JSON document.") from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The request is no JSON object.")
    return document


async def _respond_json(
    request: Request, status: int, document: Document, *, version: str = "1.1", errortype: str | None = None
) -> None:
    headers = [
        ("content-type", f"application/x-amz-json-{version}"),
        ("x-amzn-requestid", request_id()),
    ]
    if errortype:
        headers.append(("x-amzn-errortype", errortype))
    await request.respond(status, json.dumps(document).encode(), headers)


def request_id() -> str:
    """A new request id, a UUID as AWS's are."""
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def _described(request: Request) -> str:
    service = request.signature.service if request.signature else "unsigned"
    return f"{service}:{request.headers.get(_TARGET) or f'{request.method} {request.path}'}"
