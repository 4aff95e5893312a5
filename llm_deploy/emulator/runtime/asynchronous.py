"""InvokeEndpointAsync: a request is noted, answered with 202, and worked on later.

Ledger: `runtime.async.accepted`.
"""

from __future__ import annotations

import base64
import json
import os

from llm_deploy.emulator import ledger
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.runtime.backlog import Backlog
from llm_deploy.emulator.runtime.target import async_config, endpoint_up, refuse_invocation
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.service import ServiceError
from llm_deploy.emulator.store import Document

INLINE_BYTES = 128_000
"""Ledger: `runtime.async.one-input`."""

_PREFIX = "x-amzn-sagemaker-"
_TTL_S, _TIMEOUT_S = 21_600, 900
"""What holds without RequestTTLSeconds and InvocationTimeoutSeconds. Source: API reference of InvokeEndpointAsync."""

_ACCEPTED = 202


class AsyncInvocations:
    """What asynchronous endpoints are asked."""

    def __init__(self, hosting: Hosting, backlog: Backlog) -> None:
        self._hosting = hosting
        self._backlog = backlog

    async def accept(self, request: Request, name: str, body: bytes) -> None:
        """Note a request whose headers are checked and whose caller is authorised, and answer it.

        Raises:
            ServiceError: The endpoint is none of this kind, or there is not exactly one input.
        """
        endpoint = endpoint_up(self._hosting, name)
        config = async_config(endpoint)
        if config is None:
            raise refuse_invocation("runtime.async.not", endpoint=name)
        noted = self._noted(request, name, config, body)
        if not self._backlog.add(noted):
            raise ServiceError("ServiceUnavailable", ledger.text("runtime.async.full"), status=503)
        named = {"OutputLocation": noted["OutputLocation"], "FailureLocation": noted.get("FailureLocation")}
        headers = [(f"{_PREFIX}{key}".lower(), value) for key, value in named.items() if value is not None]
        answer = json.dumps({"InferenceId": noted["InferenceId"]}).encode()
        await request.respond(_ACCEPTED, answer, [("content-type", "application/json"), *headers])

    def _noted(self, request: Request, endpoint: str, config: Document, body: bytes) -> Document:
        given = {
            name.removeprefix(_PREFIX): _utf8(value)
            for name, value in request.headers.items()
            if name.startswith(_PREFIX)
        }
        if ("inputlocation" in given) == bool(body):
            raise refuse_invocation("runtime.async.one-input")
        now, own_id = self._hosting.cloud.clock.now(), _new_id()
        noted = {
            "EndpointName": endpoint,
            "InferenceId": given.get("inference-id", own_id),
            "received": now,
            # Real seconds, as the model's work takes real time. Ledger: `runtime.async.expired`.
            "expires": self._hosting.cloud.clock.deadline(0, least_real_s=int(given.get("requestttlseconds", _TTL_S))),
            "timeout_s": int(given.get("invocationtimeoutseconds", _TIMEOUT_S)),
            "ContentType": given.get("content-type", "application/json"),
            "Accept": given.get("accept"),
            "CustomAttributes": given.get("custom-attributes"),
            "InputLocation": given.get("inputlocation"),
            "body": base64.b64encode(body).decode(),
            "output": config["OutputConfig"],
            **_locations(config["OutputConfig"], given, own_id),
        }
        return {key: value for key, value in noted.items() if value is not None}


def _locations(output: Document, given: dict[str, str], own_id: str) -> Document:
    """Where the answer, or what went wrong, will lie. Ledger: `runtime.async.locations`."""
    extension = given.get("s3outputpathextension", "").strip("/")
    middle = f"/{extension}/" if extension else "/"
    found = {}
    if path := output.get("S3OutputPath"):
        found["OutputLocation"] = f"{path.rstrip('/')}{middle}{given.get('filename', f'{own_id}.out')}"
    if path := output.get("S3FailurePath"):
        found["FailureLocation"] = f"{path.rstrip('/')}{middle}{own_id}-error.out"
    return found


def _utf8(value: str) -> str:
    """A header as clients write it: object keys have letters that ASCII lacks, and botocore sends them as UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value


def _new_id() -> str:
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
