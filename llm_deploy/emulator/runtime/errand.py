"""One asynchronous request: read its input, ask a copy, write its answer, tell the topics.

Objects are read and written in the name of the endpoint's execution role (ledger: `runtime.async.role`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.container import HOST
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.runtime.checks import model_error
from llm_deploy.emulator.runtime.exchange import Exchange, ExchangeBrokenError, request_head
from llm_deploy.emulator.runtime.relay import rest
from llm_deploy.emulator.runtime.target import Target, choose_among
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.sagemaker.role_use import ROLE
from llm_deploy.emulator.service import ServiceError, log
from llm_deploy.emulator.store import Document

MAX_INPUT_BYTES = 1 << 30
"""Source: "Asynchronous inference", SageMaker developer guide: payloads of up to 1 GB."""

INCLUDED_BYTES = 128 * 1024
"""Largest answer that a notification may hold. Source: API reference of AsyncInferenceNotificationConfig."""

_SUCCESS = range(200, 300)
_PREFIX = "x-amzn-sagemaker-"
_FORWARDED = {"CustomAttributes": f"{_PREFIX}custom-attributes", "InferenceId": f"{_PREFIX}inference-id"}


class FailedError(Exception):
    """A request came to nothing.

    Attributes:
        reason: For the notification.
        body: For the failure object: what the container answered, or the reason.
    """

    def __init__(self, reason: str, body: bytes | None = None, content_type: str = "text/plain") -> None:
        super().__init__(reason)
        self.reason = reason
        self.body = reason.encode() if body is None else body
        self.content_type = content_type


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the container answered."""

    body: bytes
    content_type: str


class Errands:
    """Works on requests of one cloud's asynchronous endpoints."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting

    async def run(self, noted: Document) -> None:
        """Answer one request; every way in which it can fail ends in a failure object, a notification, or the log."""
        clock, metric = self._hosting.cloud.clock, self._hosting.cloud.hooks.metric
        named, began = {"EndpointName": noted["EndpointName"]}, clock.now()
        try:
            outcome = await self._outcome(noted)
            await self._notify(noted, "SuccessTopic", _completed(noted, outcome), outcome)
            metric("InvocationsProcessed", named, 1, "Count")
        except (FailedError, ServiceError) as error:  # a ServiceError: the backend does not answer
            await self._fail(noted, error if isinstance(error, FailedError) else FailedError(error.message))
            metric("ExpiredRequests" if noted.get("expired") else "InvocationFailures", named, 1, "Count")
        metric("TimeInBacklog", named, 1000 * (began - noted["received"]), "Milliseconds")
        metric("TotalProcessingTime", named, 1000 * (clock.now() - noted["received"]), "Milliseconds")

    async def _outcome(self, noted: Document) -> Outcome:
        if noted.get("expired"):
            raise FailedError(ledger.text("runtime.async.expired"))
        try:
            async with asyncio.timeout(noted["timeout_s"]):
                body = await self._input(noted)
                outcome = await self._asked(noted, body)
        except TimeoutError as error:
            raise FailedError(ledger.text("runtime.async.timeout", seconds=noted["timeout_s"])) from error
        if location := noted.get("OutputLocation"):
            await self._write(noted, location, outcome.body, outcome.content_type)
        return outcome

    async def _input(self, noted: Document) -> bytes:
        location = noted.get("InputLocation")
        if location is None:
            return base64.b64decode(noted["body"])
        bucket, key = _place(location)
        body = None
        if self._may(noted, "s3:GetObject", bucket, key):
            body = await self._hosting.cloud.hooks.s3_read(bucket, key, MAX_INPUT_BYTES)
        if body is None:
            raise FailedError(ledger.text("runtime.async.no-input", location=location))
        return body

    async def _asked(self, noted: Document, body: bytes) -> Outcome:
        target, copy = await self._copy(noted)
        head = request_head(HOST, "/invocations", _headers(noted), len(body))
        copy.outstanding += 1
        try:
            async with Exchange(HOST, copy.port, head, body) as exchange:
                status = await exchange.head()
                answer = await rest(exchange)
        except ExchangeBrokenError as error:
            failure = model_error(self._hosting, target, copy, 0, str(error))
            raise FailedError(f"ServerError: {failure.message}") from error
        finally:
            copy.outstanding -= 1
        content_type = exchange.headers.get("content-type", "application/octet-stream")
        if status not in _SUCCESS:
            failure = model_error(self._hosting, target, copy, status, answer.decode("utf-8", "replace"))
            raise FailedError(f"ClientError: {failure.message}", answer, content_type)
        return Outcome(answer, content_type)

    async def _copy(self, noted: Document) -> tuple[Target, Copy]:
        """A copy to ask; waits for one that is being restarted."""
        endpoint = self._hosting.find_endpoint(noted["EndpointName"])
        if endpoint is None:
            raise FailedError(ledger.text("runtime.unavailable"))
        try:
            target = choose_among(self._hosting, endpoint, {})
        except ServiceError as error:
            raise FailedError(error.message) from error
        await target.fleet.any_ready(self._hosting.cloud.clock.deadline(0, least_real_s=noted["timeout_s"]))
        copy = target.fleet.pick()
        if copy is None:
            raise FailedError(ledger.text("runtime.unavailable"))
        return target, copy

    async def _write(self, noted: Document, location: str, body: bytes, content_type: str) -> None:
        bucket, key = _place(location)
        written = self._may(noted, "s3:PutObject", bucket, key) and await self._hosting.cloud.hooks.s3_write(
            bucket, key, body, content_type
        )
        if not written:
            raise FailedError(ledger.text("runtime.async.no-output", location=location))

    async def _fail(self, noted: Document, error: FailedError) -> None:
        if location := noted.get("FailureLocation"):
            try:
                await self._write(noted, location, error.body, error.content_type)
            except (FailedError, ServiceError) as further:
                log.warning("async request %s: %s", noted["InferenceId"], further)
        await self._notify(noted, "ErrorTopic", _failed(noted, error.reason), Outcome(error.body, error.content_type))

    async def _notify(self, noted: Document, kind: str, message: Document, outcome: Outcome) -> None:
        """Ledger: `runtime.async.notification`."""
        config = noted["output"].get("NotificationConfig", {})
        topic = config.get(kind)
        if not topic:
            return
        wanted = {"SuccessTopic": "SUCCESS_NOTIFICATION_TOPIC", "ErrorTopic": "ERROR_NOTIFICATION_TOPIC"}[kind]
        if wanted in config.get("IncludeInferenceResponseIn", ()) and len(outcome.body) <= INCLUDED_BYTES:
            message["responseBody"] = {
                "encoding": "BASE64",
                "content": base64.b64encode(outcome.body).decode(),
                "contentType": outcome.content_type,
            }
        whole = {"awsRegion": self._hosting.cloud.settings.region, "eventTime": _time(self._hosting.cloud.clock.now())}
        if not await self._published(noted, topic, json.dumps({**whole, **message})):
            log.warning("async request %s: topic %s took no notification", noted["InferenceId"], topic)

    async def _published(self, noted: Document, topic: str, message: str) -> bool:
        hooks = self._hosting.cloud.hooks
        try:
            allowed = hooks.role_may(*self._who(noted), "sns:Publish", topic, {})
            return allowed and await hooks.sns_publish(topic, message)
        except ServiceError:
            return False  # the backend does not answer

    def _may(self, noted: Document, action: str, bucket: str, key: str) -> bool:
        return self._hosting.cloud.hooks.role_may(*self._who(noted), action, f"arn:aws:s3:::{bucket}/{key}", {})

    def _who(self, noted: Document) -> tuple[str, str]:
        """The execution role, and the endpoint for which it is used."""
        endpoint = self._hosting.find_endpoint(noted["EndpointName"])
        container = endpoint["variants"][0].get("container", {}) if endpoint else {}
        return container.get(ROLE, ""), self._hosting.arn("endpoint", noted["EndpointName"])


def _place(location: str) -> tuple[str, str]:
    """Bucket and key of a location.

    Raises:
        FailedError: It is none of `s3://bucket/key`. Ledger: `local.async-https`.
    """
    parts = urlsplit(location)
    if parts.scheme != "s3" or not parts.path.strip("/"):
        raise FailedError(ledger.text("local.async-https", location=location))
    return parts.netloc, parts.path.lstrip("/")


def _headers(noted: Document) -> dict[str, str]:
    headers = {"content-type": noted["ContentType"], "accept": noted.get("Accept")}
    headers |= {header: noted.get(member) for member, header in _FORWARDED.items()}
    return {name: value for name, value in headers.items() if value is not None}


def _completed(noted: Document, outcome: Outcome) -> Document:
    answer = {"contentType": outcome.content_type, "outputLocation": noted.get("OutputLocation")}
    return {**_event(noted), "invocationStatus": "Completed", "responseParameters": answer}


def _failed(noted: Document, reason: str) -> Document:
    answer = {"outputLocation": noted.get("FailureLocation")}
    return {**_event(noted), "invocationStatus": "Failed", "failureReason": reason, "responseParameters": answer}


def _event(noted: Document) -> Document:
    asked = {"endpointName": noted["EndpointName"], "contentType": noted["ContentType"]}
    if location := noted.get("InputLocation"):
        asked["inputLocation"] = location
    return {
        "receivedTime": _time(noted["received"]),
        "requestParameters": asked,
        "inferenceId": noted["InferenceId"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
