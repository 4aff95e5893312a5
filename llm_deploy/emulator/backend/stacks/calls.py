"""Calls from a stack to the local cloud's own port, in the name of whoever asked for the stack."""

from __future__ import annotations

import http.client
import json
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.guard import KEY_HEADER
from llm_deploy.emulator.backend.stacks.documents import PropertyError, shaped

CALLER: ContextVar[str] = ContextVar("stack_caller", default="LOCALCLOUD")
"""Access key of the request that a stack operation began with; its tasks and threads inherit it."""

TIMEOUT_S = 60.0
POLL_EVERY_S = 0.1
NOT_YET_S = 30.0
"""Real seconds for which a role that cannot be assumed yet is tried again. Ledger: `cfn.new-role`."""
_OK = 200
_NOT_YET = ("Could not assume role", "unable to assume the role")

Document = dict[str, Any]


class ResourceError(Exception):
    """A resource could not be made, changed or removed; the text is the reason of its event."""


@dataclass(frozen=True, slots=True)
class _Service:
    """How a service is spoken to.

    Attributes:
        model: botocore's name of it.
        shown: Its name in the reasons that CloudFormation gives.
    """

    model: str
    signing_name: str
    target_prefix: str
    json_version: str
    shown: str


SERVICES = {
    "sagemaker": _Service("sagemaker", "sagemaker", "SageMaker", "1.1", "AmazonSageMaker"),
    "scaling": _Service(
        "application-autoscaling", "application-autoscaling", "AnyScaleFrontendService", "1.1", "ApplicationAutoScaling"
    ),
    "metrics": _Service("cloudwatch", "monitoring", "GraniteServiceVersion20100801", "1.0", "CloudWatch"),
}


class RefusedError(ResourceError):
    """A service refused a call. The text is how CloudFormation passes it on. Ledger: `cfn.reason`."""

    def __init__(self, service: str, status: int, code: str, message: str, request: str) -> None:
        super().__init__(
            ledger.text(
                "cfn.reason",
                message=message,
                service=SERVICES[service].shown,
                status=status,
                code=code,
                request=request,
            )
        )
        self.code = code
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether there is no such object."""
        return self.message.startswith("Could not find ") or self.code in {
            "ObjectNotFoundException",
            "ResourceNotFound",
        }

    @property
    def busy(self) -> bool:
        """Whether the object is being changed, so that the call will be taken later."""
        return self.message.startswith("Cannot update in-progress ") or "while it is in state " in self.message


@dataclass(frozen=True, slots=True)
class CloudCalls:
    """The local cloud as a stack calls it. Blocks: for threads, never for the event loop.

    Attributes:
        port: The cloud's port on the loopback address.
        key: Proves to the cloud that this is one of its own services, which may set tags that are AWS's own.
    """

    port: int
    key: str
    region: str

    def call(self, service: str, operation: str, properties: Document) -> Document:
        """Call an operation with properties in a template's types (numbers may be texts).

        Raises:
            RefusedError: The service refused.
            ResourceError: A property is none of the operation's.
        """
        try:
            request = shaped(SERVICES[service].model, operation, properties)
        except PropertyError as error:
            raise ResourceError(str(error)) from error
        deadline_s = time.monotonic() + NOT_YET_S
        while True:
            try:
                return self._send(SERVICES[service], service, operation, request)
            except RefusedError as error:
                if not any(words in error.message for words in _NOT_YET) or time.monotonic() > deadline_s:
                    raise
                time.sleep(1.0)

    def _send(self, spoken: _Service, service: str, operation: str, request: Document) -> Document:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", "/", json.dumps(request), self._headers(spoken, operation))
            answer = connection.getresponse()
            document: Document = json.loads(answer.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ResourceError(f"local cloud: {operation} got no answer: {error!r}") from error
        finally:
            connection.close()
        if answer.status != _OK:
            code, words = str(document.get("__type", "")), str(document.get("message", ""))
            raise RefusedError(service, answer.status, code, words, answer.headers.get("x-amzn-requestid", ""))
        return document

    def _headers(self, spoken: _Service, operation: str) -> dict[str, str]:
        now = datetime.now(UTC)
        scope = f"{CALLER.get()}/{now:%Y%m%d}/{self.region}/{spoken.signing_name}/aws4_request"
        return {
            "host": "127.0.0.1",
            "content-type": f"application/x-amz-json-{spoken.json_version}",
            "x-amz-target": f"{spoken.target_prefix}.{operation}",
            "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
            KEY_HEADER.decode(): self.key,
        }
