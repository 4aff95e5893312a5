"""Asynchronous endpoints: what is accepted, what is worked on when, and where answers and failures end up."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from llm_deploy.emulator import ledger
from llm_deploy.emulator.app import App
from llm_deploy.emulator.clock import settle
from llm_deploy.emulator.containers.container import Container, ContainerSpec
from llm_deploy.emulator.store import Store
from tests.unit.emulator.world import ROLE, FakeContainer, FakeLauncher, RefusedError, World, world

ASYNC_INVOCATION = "sagemaker:async-invocation"
BACKLOG = "llm_deploy.emulator.runtime.backlog"
OUTPUT = {"S3OutputPath": "s3://b/out/", "S3FailurePath": "s3://b/bad"}
TOPICS = {"SuccessTopic": "arn:aws:sns:eu-central-1:000000000000:good",
          "ErrorTopic": "arn:aws:sns:eu-central-1:000000000000:bad"}  # fmt: skip


@dataclass
class Model:
    """A container's HTTP server in this process, which answers when it is let.

    Attributes:
        seen: Header lines and body of each request.
        most: Requests at a time, at most so far.
    """

    status: int = 200
    port: int = 0
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    most: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        self.seen.append((head, await reader.readexactly(size)))
        self.busy += 1
        self.most = max(self.most, self.busy)
        await self.go.wait()
        self.busy -= 1
        body = b"answer to " + self.seen[-1][1]
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: text/x\r\ncontent-length: %d\r\n\r\n" % (self.status, len(body)) + body
        )
        await writer.drain()
        writer.close()


@dataclass
class Backend:
    """S3 and SNS in memory, and what the execution role may."""

    objects: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    metrics: list[tuple[str, float]] = field(default_factory=list)

    def connect(self, here: World) -> None:
        """Be this world's."""
        hooks = here.cloud.hooks
        hooks.s3_read, hooks.s3_write, hooks.sns_publish = self.read, self.write, self.publish
        hooks.role_may = self.may
        hooks.metric = lambda name, _dimensions, value, _unit: self.metrics.append((name, value))

    async def read(self, bucket: str, key: str, limit_bytes: int) -> bytes | None:
        """See `Hooks.s3_read`."""
        found = self.objects.get((bucket, key))
        return found[0] if found and len(found[0]) <= limit_bytes else None

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> bool:
        """See `Hooks.s3_write`."""
        self.objects[bucket, key] = (body, content_type)
        return bucket == "b"

    async def publish(self, topic: str, message: str) -> bool:
        """See `Hooks.sns_publish`."""
        self.messages.append((topic, json.loads(message)))
        return True

    def may(self, role: str, source: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
        """See `Hooks.role_may`."""
        del role, source, keys
        self.asked.append((action, resource))
        return action not in self.denied

    def text(self, location: str) -> bytes | None:
        """What lies at a location."""
        bucket, _, key = location.removeprefix("s3://").partition("/")
        found = self.objects.get((bucket, key))
        return found and found[0]


@dataclass
class ServedLauncher(FakeLauncher):
    """Launches containers that are all the same server."""

    model: Model = field(default_factory=Model)

    async def launch(self, spec: ContainerSpec, name: str, on_line: Any) -> Container:  # noqa: ANN401 - a callable
        """See `Launcher`."""
        container = ServedContainer(spec, name, on_line, port=self.model.port)
        container.healthy.set()
        self.launched.append(container)
        return container


@dataclass(eq=False)
class ServedContainer(FakeContainer):
    """A container with a port."""

    port: int = 0

    async def ready(self) -> int:
        """See `Container`."""
        return self.port


@dataclass
class Here:
    """A world with an asynchronous endpoint `e` in service."""

    world: World
    model: Model
    backend: Backend

    async def send(
        self, *, endpoint: str = "e", verb: str = "async-invocations", body: bytes = b"", **headers: str
    ) -> dict[str, str]:
        """InvokeEndpointAsync, or another operation; the answer's headers and its document.

        Raises:
            RefusedError: It was refused.
        """
        sent = [
            (f"x-amzn-sagemaker-{name}".replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        scope = {"type": "http", "method": "POST", "path": f"/endpoints/{endpoint}/{verb}", "headers": sent}
        request = [{"type": "http.request", "body": body, "more_body": False}]
        answer: list[Any] = []

        async def receive() -> dict[str, Any]:
            return request.pop(0)

        async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            answer.append(message)

        await App(self.world.cloud)(scope, receive, send)
        document = json.loads(answer[1]["body"])
        if answer[0]["status"] != 202:
            raise RefusedError(document["__type"], document["message"])
        named = {
            name.decode().removeprefix("x-amzn-sagemaker-"): value.decode() for name, value in answer[0]["headers"]
        }
        return {**named, **document}

    async def until(self, condition: Any) -> None:  # noqa: ANN401 - a callable
        """Wait until something holds; real time, because a real socket is between."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - another task, or a socket, is polled
                await asyncio.sleep(0.005)


@asynccontextmanager
async def asynchronous(
    store: Store | None = None,
    *,
    copies: int = 1,
    limit: int | None = 2,
    backend: Backend | None = None,
    **output: Any,  # noqa: ANN401 - API members
) -> AsyncIterator[Here]:
    """A cloud in memory; the same store given twice is a restart."""
    model, backend = Model(), backend or Backend()
    server = await asyncio.start_server(model.answer, "127.0.0.1", 0)
    model.port = server.sockets[0].getsockname()[1]
    async with world(store, ServedLauncher(model=model)) as here:
        backend.connect(here)
        if here.cloud.store.get("sagemaker:endpoint", "e") is None:
            await _deploy(here, copies, limit, output)
        await settle()
        try:
            yield Here(here, model, backend)
        finally:
            model.go.set()
    server.close()


async def _deploy(here: World, copies: int, limit: int | None, output: Mapping[str, Any]) -> None:
    config: dict[str, Any] = {"OutputConfig": {**OUTPUT, **output}}
    if limit:
        config["ClientConfig"] = {"MaxConcurrentInvocationsPerInstance": limit}
    await here.model()
    await _config(here, "e", config, InitialInstanceCount=copies)
    await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
    await here.advance(300)


async def _config(here: World, name: str, config: Mapping[str, Any], **variant: Any) -> None:  # noqa: ANN401 - as above
    whole = {"VariantName": "v", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1, "ModelName": "m", **variant}
    given = {key: value for key, value in whole.items() if value is not None}
    role = {} if whole["ModelName"] else {"ExecutionRoleArn": ROLE}
    await here.call(
        "CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[given], AsyncInferenceConfig=config, **role
    )


def play(story: Any) -> None:  # noqa: ANN401 - a coroutine function
    asyncio.run(story())


@pytest.mark.row("T10")
def test_an_answer_lies_where_it_was_said() -> None:
    """202 at once; input from S3 to the container, with its headers; answer and content type to S3; the topic is told.

    Ledger: runtime.async.accepted, runtime.async.locations, runtime.async.role, runtime.async.notification.
    """

    async def story() -> None:
        async with asynchronous(NotificationConfig=TOPICS) as here:
            here.backend.objects["b", "in put.json"] = (b"question", "")
            asked: dict[str, Any] = {
                "inputlocation": "s3://b/in put.json",
                "content_type": "text/q",
                "inference_id": "mine",
            }
            told = await here.send(**asked, custom_attributes="c", accept="text/a")
            assert (told["InferenceId"], told["outputlocation"][:11]) == ("mine", "s3://b/out/")
            assert told["failurelocation"].startswith("s3://b/bad/")
            assert here.backend.text(told["outputlocation"]) is None
            here.model.go.set()
            await here.until(lambda: here.backend.messages)
            assert here.backend.text(told["outputlocation"]) == b"answer to question"
            head = here.model.seen[0][0].lower()
            for line in ("post /invocations ", "content-type: text/q", "accept: text/a", "custom-attributes: c"):
                assert line in head
            topic, message = here.backend.messages[0]
            assert topic == TOPICS["SuccessTopic"]
            assert (message["invocationStatus"], message["inferenceId"]) == ("Completed", "mine")
            assert message["responseParameters"] == {"contentType": "text/x", "outputLocation": told["outputlocation"]}
            assert message["requestParameters"]["inputLocation"] == "s3://b/in put.json"
            actions = [action for action, _ in here.backend.asked if not action.startswith(("ecr:", "logs:"))]
            assert actions == ["s3:GetObject", "s3:PutObject", "sns:Publish"]

    play(story)


def test_an_inline_body_with_a_name_of_its_own() -> None:
    """Filename and S3OutputPathExtension are used; the answer comes with the notification where that is asked for.

    Ledger: runtime.async.locations, runtime.async.notification.
    """

    async def story() -> None:
        wanted = {**TOPICS, "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"]}
        async with asynchronous(NotificationConfig=wanted) as here:
            here.model.go.set()
            told = await here.send(body=b"q", filename="a.json", s3outputpathextension="x/y/")
            assert told["outputlocation"] == "s3://b/out/x/y/a.json"
            await here.until(lambda: here.backend.messages)
            body = here.backend.messages[0][1]["responseBody"]
            assert base64.b64decode(body["content"]) == b"answer to q"

    play(story)


def test_only_as_many_at_a_time_as_the_copies_take() -> None:
    """The limit for each instance, times the instances that are up. Ledger: runtime.async.concurrency."""

    async def story() -> None:
        async with asynchronous(copies=2, limit=2) as here:
            told = [await here.send(body=b"%d" % number) for number in range(9)]
            await here.until(lambda: here.model.busy == 4)
            await asyncio.sleep(0.05)
            assert here.model.busy == 4
            here.model.go.set()
            await here.until(lambda: all(here.backend.text(each["outputlocation"]) for each in told))
            assert here.model.most == 4
            await here.until(lambda: here.world.cloud.store.count(ASYNC_INVOCATION) == 0)

    play(story)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, "runtime.async.one-input"),
        ({"inputlocation": "s3://b/k", "body": b"x"}, "runtime.async.one-input"),
        ({"body": b"x" * 128_001}, "128000"),
        ({"inputlocation": "ftp://b/k"}, "inputLocation"),
        ({"body": b"x", "requestttlseconds": "59"}, "requestTTLSeconds"),
        ({"body": b"x", "requestttlseconds": "soon"}, "must be an integer"),
        ({"body": b"x", "invocationtimeoutseconds": "3601"}, "invocationTimeoutSeconds"),
        ({"body": b"x", "filename": "../x"}, "filename"),
        ({"body": b"x", "s3outputpathextension": "s3:x"}, "s3OutputPathExtension"),
        ({"body": b"x", "endpoint": "f"}, "not found"),
    ],
)
def test_what_is_wrong_is_refused_at_once(sent: dict[str, Any], words: str) -> None:
    """As ValidationError. Ledger: runtime.async.one-input, runtime.header-number, runtime.body-limit."""

    async def story() -> None:
        async with asynchronous() as here:
            with pytest.raises(RefusedError) as caught:
                await here.send(**sent)
            assert caught.value.code == "ValidationError"
            expected = ledger.text(words) if words.startswith("runtime.") else words
            assert expected in str(caught.value)
            assert here.world.cloud.store.count(ASYNC_INVOCATION) == 0

    play(story)


def test_the_two_kinds_of_endpoints_are_told_apart() -> None:
    """Each kind refuses the other's calls; components cannot be asynchronous; the endpoint says what it is.

    Ledger: sm.async.only, sm.async.components, runtime.async.only, runtime.async.not.
    """

    async def story() -> None:
        async with asynchronous() as here:
            described = await here.world.call("DescribeEndpoint", EndpointName="e")
            assert described["AsyncInferenceConfig"]["OutputConfig"] == OUTPUT
            await here.world.endpoint("sync", model="n")
            with pytest.raises(RefusedError, match="is not an asynchronous"):
                await here.send(endpoint="sync", body=b"x")
            with pytest.raises(RefusedError, match="not supported for endpoints to which you plan to deploy"):
                await _config(here.world, "c", {"OutputConfig": OUTPUT}, ModelName=None)
            for verb in ("invocations", "invocations-response-stream"):
                with pytest.raises(RefusedError, match="Please use InvokeEndpointAsync"):
                    await here.send(verb=verb, body=b"x")

    play(story)


@pytest.mark.parametrize(
    ("prepare", "words", "reason"),
    [
        ({"status": 500}, b"answer to ", "ClientError: Received server error (500)"),
        ({"denied": "s3:GetObject"}, b"could not read", "could not read s3://b/k"),
        ({"missing": True}, b"could not read", "could not read s3://b/k"),
        ({"denied": "s3:PutObject"}, None, "could not write s3://b/out"),
        ({"location": "https://b.s3.amazonaws.com/k"}, b"local cloud reads", "local cloud reads"),
    ],
    ids=str,
)
def test_a_failure_lies_at_the_failure_path(prepare: dict[str, Any], words: bytes | None, reason: str) -> None:
    """The container's own answer, or the reason; and the error's topic hears of it.

    Ledger: runtime.async.no-input, runtime.async.no-output, local.async-https, runtime.model-error.
    """

    async def story() -> None:
        async with asynchronous(NotificationConfig=TOPICS) as here:
            here.model.go.set()
            here.model.status = prepare.get("status", 200)
            here.backend.denied.add(prepare.get("denied", ""))
            if "missing" not in prepare:
                here.backend.objects["b", "k"] = (b"", "")
            told = await here.send(inputlocation=prepare.get("location", "s3://b/k"))
            await here.until(lambda: here.backend.messages)
            topic, message = here.backend.messages[0]
            assert (topic, message["invocationStatus"]) == (TOPICS["ErrorTopic"], "Failed")
            assert reason in message["failureReason"]
            found = here.backend.text(told["failurelocation"])
            assert found is None if words is None else words in (found or b"")
            assert here.backend.text(told["outputlocation"]) is None
            await here.until(lambda: ("InvocationFailures", 1) in here.backend.metrics)

    play(story)


def test_what_waits_too_long_expires_and_what_works_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledger: runtime.async.expired, runtime.async.timeout, runtime.async.metrics."""
    monkeypatch.setattr(f"{BACKLOG}._LOOK_S", 0.01)

    async def story() -> None:
        async with asynchronous(limit=1) as here:
            slow = await here.send(body=b"slow", invocationtimeoutseconds="1")
            await here.until(lambda: here.model.busy == 1)
            late = await here.send(body=b"late", requestttlseconds="60")
            await here.world.advance(61)
            await here.until(lambda: here.backend.text(late["failurelocation"]))
            assert b"expired before" in (here.backend.text(late["failurelocation"]) or b"")
            await here.until(lambda: here.backend.text(slow["failurelocation"]))
            assert b"did not answer within 1 seconds" in (here.backend.text(slow["failurelocation"]) or b"")
            assert len(here.model.seen) == 1
            await here.until(
                lambda: {"ExpiredRequests", "InvocationFailures"} <= {name for name, _ in here.backend.metrics}
            )
            assert ("ApproximateBacklogSize", 1) in here.backend.metrics
            assert "Invocations" not in {name for name, _ in here.backend.metrics}

    play(story)


def test_a_restart_takes_up_what_was_left() -> None:
    """What waited and what was worked on. Ledger: runtime.async.at-least-once."""
    store, backend = Store(None), Backend()

    async def before() -> list[dict[str, str]]:
        async with asynchronous(store, limit=1, backend=backend) as here:
            told = [await here.send(body=b"%d" % number) for number in range(3)]
            await here.until(lambda: here.model.busy == 1)
            for task in tuple(here.world.cloud._tasks):  # as a crash: nothing ends in peace
                task.cancel()
            await settle()
            return told

    async def after(told: list[dict[str, str]]) -> None:
        async with asynchronous(store, backend=backend) as here:
            here.model.go.set()
            await here.until(lambda: all(backend.text(each["outputlocation"]) for each in told))
            await here.until(lambda: store.count(ASYNC_INVOCATION) == 0)

    told = asyncio.run(before())
    assert store.count(ASYNC_INVOCATION) == 3
    asyncio.run(after(told))


def test_a_deleted_endpoint_takes_its_queue_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in the store, and nothing runs. Ledger: runtime.async.deleted."""
    monkeypatch.setattr(f"{BACKLOG}._LOOK_S", 0.01)

    async def story() -> None:
        async with asynchronous(limit=1) as here:
            for _ in range(3):
                await here.send(body=b"x")
            await here.until(lambda: here.model.busy == 1)
            await here.world.call("DeleteEndpoint", EndpointName="e")
            here.model.go.set()
            await here.world.advance(600)
            await here.until(lambda: here.world.cloud.store.count(ASYNC_INVOCATION) == 0)

    play(story)


def test_a_full_queue_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 instead of memory without bound. Ledger: runtime.async.full."""
    monkeypatch.setattr(f"{BACKLOG}.MOST_WAITING", 2)

    async def story() -> None:
        async with asynchronous(limit=1) as here:
            await here.send(body=b"runs")
            await here.until(lambda: here.model.busy == 1)
            for _ in range(2):
                await here.send(body=b"waits")
            with pytest.raises(RefusedError, match="full") as caught:
                await here.send(body=b"too much")
            assert caught.value.code == "ServiceUnavailable"

    play(story)
