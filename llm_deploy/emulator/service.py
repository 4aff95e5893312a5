"""How a service plugs into the local cloud.

A module of the emulator that offers AWS services has one function::

    def install(cloud: Cloud) -> None

and one line in `assembly.INSTALLERS`. In it, the module

* registers what it answers: `cloud.registry.add_json(JsonService(...))` for the JSON protocols (the framework reads
  the operation from `X-Amz-Target`, validates the input against botocore's service model, calls the handler, checks
  the output against the model and writes the answer), `cloud.registry.add_raw("monitoring", handler)` for everything
  with that name in the signature's scope, `cloud.registry.fallback = handler` for whatever nobody else answers;
* sets the hooks that it provides (`cloud.hooks.role_lookup = ...`);
* appends coroutine functions to `cloud.at_start` and `cloud.at_stop`. Start functions run in order before the cloud
  says that it is ready, so they must be quick: what is slow goes into `cloud.spawn(...)`. Stop functions run in
  reverse order.

A handler is `async def create_thing(call: Call) -> Document`. It raises `ServiceError` to refuse. State is kept in
`cloud.store` under kinds that start with the service's name (`"autoscaling:target"`), waiting is done with
`cloud.clock`, and texts and durations come from `ledger`. Handlers run on the event loop: they must not block.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.guard import KEY_HEADER
from llm_deploy.emulator.clock import Clock
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.settings import CloudSettings
from llm_deploy.emulator.store import Document, Store

log = logging.getLogger("llm_deploy.emulator")

NOT_IMPLEMENTED = "LocalCloudNotImplemented"


class ServiceError(Exception):
    """A refusal in AWS's words.

    Attributes:
        code: AWS's error code, for example `ValidationException`.
        fields: Further members of the error shape.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: Document | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields or {}


@dataclass(frozen=True, slots=True)
class Call:
    """One validated call of an operation.

    Attributes:
        params: The input document as botocore's model names it; time stamps are seconds since the epoch.
        by_service: One of the cloud's own services calls, in the name of a client: it may set AWS's own tags.
    """

    operation: str
    params: Document
    by_service: bool = False


Operation = Callable[[Call], Awaitable[Document]]
RawHandler = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JsonService:
    """A service of the JSON 1.0 and 1.1 protocols.

    Attributes:
        model: botocore's name of it (`service-quotas`), whose model checks inputs and outputs.
        target_prefix: What stands before the dot in `X-Amz-Target`.
        operations: Handlers by operation name; every other operation of the model is refused loudly.
    """

    model: str
    target_prefix: str
    operations: Mapping[str, Operation]
    json_version: str = "1.1"


@dataclass(slots=True)
class Registry:
    """Who answers what. Looked up in this order: target prefix, name in the signature's scope, path, fallback."""

    json: dict[str, JsonService] = field(default_factory=dict)
    raw: dict[str, RawHandler] = field(default_factory=dict)
    paths: dict[str, RawHandler] = field(default_factory=dict)
    fallback: RawHandler | None = None

    def add_json(self, service: JsonService) -> None:
        """Answer the operations of a JSON service."""
        self.json[service.target_prefix] = service

    def add_raw(self, signing_name: str, handler: RawHandler) -> None:
        """Answer every request whose signature is for `signing_name` and that no JSON service takes."""
        self.raw[signing_name] = handler

    def add_path(self, prefix: str, handler: RawHandler) -> None:
        """Answer every request whose path starts with `prefix` (`/endpoints/`) and that no JSON service takes."""
        self.paths[prefix] = handler


async def _accept_role(role: str, source: str) -> bool:
    del role, source
    return True


def _may(role: str, source: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
    del role, source, action, resource, keys
    return True


async def _assume_objects(bucket: str, prefix: str) -> bool:
    del bucket, prefix
    return True


async def _no_object(bucket: str, key: str, limit_bytes: int) -> bytes | None:
    del bucket, key, limit_bytes
    return None


async def _cannot_write(bucket: str, key: str, body: bytes, content_type: str) -> bool:
    del bucket, key, body, content_type
    return False


async def _cannot_publish(topic: str, message: str) -> bool:
    del topic, message
    return False


def _unheard(principal: str, decisions: list[list[str]]) -> None:
    del principal, decisions


async def _no_role(service: str, name: str) -> None:
    del service, name


def _forget(text: str) -> None:
    del text


def _drop_line(group: str, stream: str, line: str) -> None:
    log.debug("%s %s %s", group, stream, line)


def _drop_metric(name: str, dimensions: Mapping[str, str], value: float, unit: str) -> None:
    del name, dimensions, value, unit


def _no_alarms(names: Sequence[str]) -> list[str]:
    del names
    return []


def _no_quota(name: str) -> float | None:
    del name
    return None


@dataclass(slots=True)
class Hooks:
    """What services offer each other. Each has a stand-in that accepts or forgets, until its provider sets it.

    Attributes:
        role_lookup: `(role, source)`: whether the role exists and lets sagemaker.amazonaws.com assume it, for the
            resource whose ARN is `source`.
        role_may: `(role, source, action, resource, keys)`: whether SageMaker may do something with a role.
        iam_records: What IAM and STS keep, see `iam.directory`; `None` when there is no IAM.
        iam_changed: Told a text that names IAM's state, whenever somebody has heard of it.
        authorised: `(principal, decisions)`: told what the backend decided; each decision is an action, a resource, and
            why it was denied, empty when it was allowed.
        make_service_role: `(service, name)`: makes the service-linked role of a service, in IAM.
        needs_service_role: Told the service whose service-linked role a call has needed. Must not block.
        s3_has_objects: Whether anything lies at `(bucket, key prefix)`.
        s3_read: The object at `(bucket, key)` of at most so many bytes; `None` when it is not there or larger.
        s3_write: `(bucket, key, body, content type)`: writes an object; says whether it could.
        sns_publish: `(topic's ARN, message)`: says whether the topic took it.
        write_log: `(group, stream, line)`, a line of a container's output. Must not block.
        metric: `(name, dimensions, value, unit)`, one datapoint of namespace AWS/SageMaker, now. Must not block.
        alarms_on: Those of these alarms, by name, that are in state ALARM.
        quota: A SageMaker quota by its full name (`ml.g5.xlarge for endpoint usage`); `None` means unlimited.
    """

    role_lookup: Callable[[str, str], Awaitable[bool]] = _accept_role
    role_may: Callable[[str, str, str, str, Mapping[str, str]], bool] = _may
    iam_records: Callable[[], Awaitable[Document]] | None = None
    iam_changed: Callable[[str], None] = _forget
    authorised: Callable[[str, list[list[str]]], None] = _unheard
    make_service_role: Callable[[str, str], Awaitable[None]] = _no_role
    needs_service_role: Callable[[str], None] = _forget
    s3_has_objects: Callable[[str, str], Awaitable[bool]] = _assume_objects
    s3_read: Callable[[str, str, int], Awaitable[bytes | None]] = _no_object
    s3_write: Callable[[str, str, bytes, str], Awaitable[bool]] = _cannot_write
    sns_publish: Callable[[str, str], Awaitable[bool]] = _cannot_publish
    write_log: Callable[[str, str, str], None] = _drop_line
    metric: Callable[[str, Mapping[str, str], float, str], None] = _drop_metric
    alarms_on: Callable[[Sequence[str]], list[str]] = _no_alarms
    quota: Callable[[str], float | None] = _no_quota


class Gate(Protocol):
    """Who may do what."""

    async def admit(self, request: Request) -> None:
        """Find out who asks, and note it in the request.

        Raises:
            ServiceError: The signature is refused.
        """

    def authorise(self, request: Request, service: str, operation: str, params: Document) -> None:
        """Decide whether who asks may have an operation carried out; `service` is botocore's name of it.

        Raises:
            ServiceError: It is denied.
        """

    def hand_over(self, request: Request, service: str, operation: str, params: Document) -> None:
        """As `authorise`, but only about the roles and tags that a request hands to the service.

        Raises:
            ServiceError: It is denied.
        """


class OpenGate:
    """Lets everybody do everything."""

    def hand_over(self, request: Request, service: str, operation: str, params: Document) -> None:
        """See `Gate`."""

    async def admit(self, request: Request) -> None:
        """See `Gate`."""

    def authorise(self, request: Request, service: str, operation: str, params: Document) -> None:
        """See `Gate`."""


@dataclass(slots=True)
class Cloud:
    """One running local cloud: what every service is given.

    Attributes:
        gate: Asked before every answer.
        implied: By botocore's name of a service, `(operation, params)`: members that a request means without having
            them, for `data/authorization.yaml`.
        tags: By the service in an ARN: the tags of the resource.
        local: Answers below /_local/, by method and path: functions that give a document.
        counters: Numbers for `GET /_local/health`: functions by name, asked at each request.
        unknown: How often each unimplemented operation was asked for.
        own_key: What a call of the cloud's own services carries in `guard.KEY_HEADER`; empty without a backend.
    """

    settings: CloudSettings
    clock: Clock
    store: Store
    random: random.Random
    registry: Registry = field(default_factory=Registry)
    hooks: Hooks = field(default_factory=Hooks)
    gate: Gate = field(default_factory=OpenGate)
    implied: dict[str, Callable[[str, Document], Document]] = field(default_factory=dict)
    tags: dict[str, Callable[[str], Mapping[str, str]]] = field(default_factory=dict)
    local: dict[tuple[str, str], Callable[[], Document]] = field(default_factory=dict)
    at_start: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    at_stop: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    counters: dict[str, Callable[[], int]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    own_key: str = ""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource: `arn("sagemaker", "endpoint/twin")`."""
        return f"arn:aws:{service}:{self.settings.region}:{self.settings.account}:{resource}"

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run work beside the requests, until it ends or the cloud stops. Its failure is logged, never swallowed."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def start(self) -> None:
        """Run the start functions in order."""
        for begin in self.at_start:
            await begin()

    async def stop(self) -> None:
        """End the work beside the requests, then run the stop functions in reverse order."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in reversed(self.at_stop):
            await end()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)


def is_own(cloud: Cloud, request: Request) -> bool:
    """Whether a request comes from one of the cloud's own services: no client knows the key."""
    given = request.headers.get(KEY_HEADER.decode(), "")
    return bool(cloud.own_key) and hmac.compare_digest(given.encode(), cloud.own_key.encode())


def not_implemented(cloud: Cloud, operation: str) -> ServiceError:
    """The loud refusal of something that AWS has and the local cloud does not; it is counted."""
    cloud.unknown[operation] += 1
    log.warning("not implemented: %s", operation)
    return ServiceError(NOT_IMPLEMENTED, ledger.text("local.not-implemented", operation=operation), status=501)
