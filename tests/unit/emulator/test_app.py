"""What the port lets in, and what it never lets out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_deploy.emulator.app import refuse_foreign_page
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.service import ServiceError
from tests.unit.emulator.world import World, in_world


async def nothing() -> dict[str, Any]:
    """No body."""
    return {"type": "http.request"}


async def drop(message: Any) -> None:  # noqa: ANN401 - an ASGI message
    """Nobody listens."""
    del message


def request(**headers: str) -> Request:
    """A request with headers; underscores stand for dashes."""
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": encoded}, nothing, drop)


@pytest.mark.parametrize("host", ["127.0.0.1:4599", "localhost:4599", "bucket.localhost:4599", "[::1]:4599", ""])
def test_this_machine_is_served(host: str) -> None:
    """Under every name that means it."""
    refuse_foreign_page(request(host=host))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:4599"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "127.0.0.1:4599", "origin": "https://evil.example"},
        {"host": "[bad"},
    ],
)
def test_pages_of_others_are_not(headers: dict[str, str]) -> None:
    """Neither by a name that points here nor by a script. Ledger: local.foreign-page."""
    with pytest.raises(ServiceError) as refused:
        refuse_foreign_page(request(**headers))
    assert refused.value.status == 403


def test_a_signature_is_read_from_the_header_or_the_query() -> None:
    """Presigned requests find their service too."""
    signed = request(authorization="AWS4-HMAC-SHA256 Credential=AKIA/20261122/eu-central-1/sagemaker/aws4_request, S=x")
    assert signed.signature is not None
    assert (signed.signature.region, signed.signature.service) == ("eu-central-1", "sagemaker")
    presigned = request()
    presigned.scope["query_string"] = b"X-Amz-Credential=AKIA%2F20261122%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=1"
    assert presigned.signature is not None
    assert (presigned.signature.region, presigned.signature.service) == ("us-east-1", "s3")
    assert request().signature is None


def test_a_line_break_in_a_value_begins_no_header() -> None:
    """Model names are the user's, and become header values."""
    sent: list[Any] = []

    async def send(message: Any) -> None:  # noqa: ANN401 - as above
        sent.append(message)

    one = Request({"type": "http", "method": "GET", "path": "/", "headers": []}, nothing, send)
    asyncio.run(one.begin(200, [("x-name", "a\r\nset-cookie: b")]))
    assert sent[0]["headers"] == [(b"x-name", b"a  set-cookie: b")]


def test_an_environment_that_no_process_can_have_is_a_crash_loop() -> None:
    """A NUL is JSON but no environment; the cloud lives and says so."""

    async def story(here: World) -> None:
        said: list[str] = []
        here.cloud.hooks.write_log = lambda _group, _stream, line: said.append(line)

        async def launch(*_: object) -> Any:  # noqa: ANN401 - it never answers
            raise ValueError("embedded null byte")

        here.launcher.launch = launch  # type: ignore[method-assign, assignment]
        await here.model(HF_TOKEN="a\0b")
        await here.config("e", "m")
        await here.call("CreateEndpoint", EndpointName="e", EndpointConfigName="e")
        await here.advance(400)
        assert said.count("local cloud: the container cannot start: embedded null byte") > 1
        assert await here.endpoint_status() == "Creating"

    in_world(story)
