"""What callers add to a request: it can neither change where the request ends, nor stand twice, nor be shown."""

from __future__ import annotations

import asyncio

import pytest

from llm_deploy.client.endpoint import LLMInferenceHttpEndpoint
from llm_deploy.client.http import HttpTransport
from llm_deploy.client.http_async import AsyncHttpTransport
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import InferenceError, LlmDeployError, SpecError
from tests.fakes.raw_server import raw_serving

pytestmark = pytest.mark.row("T5")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Expect", "UPGRADE", "Trailer", "TE"])
def test_what_frames_a_request_is_not_for_callers_to_say(name: str) -> None:
    """A second length, or chunks that are none, would let two readers disagree about where the request ends."""
    with pytest.raises(SpecError, match="(?i)" + name):
        HttpTransport("http://127.0.0.1:9", headers={name: "1"})
    with pytest.raises(SpecError, match="(?i)" + name):
        AsyncHttpTransport("http://127.0.0.1:9", headers={name: "1"})


def test_no_header_stands_twice() -> None:
    """A caller's goes before ours whatever its case, and a header before a key."""
    with raw_serving() as server:
        server.answer = OK
        given = {"host": "models.example", "USER-AGENT": "mine", "content-type": "text/plain"}
        assert HttpTransport(server.url, headers=given).call(b"{}") == b"ok"
        llm = LLMInferenceHttpEndpoint(server.url, api_key="one", headers={"authorization": "Bearer two"})
        with pytest.raises(LlmDeployError):
            llm.generate(GenerationRequest(prompt="Hi"))
    for head in server.heads:
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line]
        assert len(names) == len(set(names)), head
    assert b"host: models.example" in server.heads[0]
    assert b"user-agent: mine" in server.heads[0].lower()
    assert b"Bearer two" in server.heads[1]


def test_the_query_of_an_address_is_sent_and_not_shown() -> None:
    """Some servers take their keys there."""
    with raw_serving() as server:
        server.answer = OK
        url = f"{server.url}/invocations?key=made-up-secret"
        assert HttpTransport(url).call(b"{}") == b"ok"
        server.answer = b"HTTP/1.1 500 Broken\r\nContent-Length: 2\r\n\r\nno"
        with pytest.raises(InferenceError) as failed:
            HttpTransport(url).call(b"{}")
    assert b"key=made-up-secret" in server.heads[0]
    assert "made-up-secret" not in f"{failed.value} {failed.value.hint} {failed.value!r}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_said_and_not_followed(status: int) -> None:
    """By threads and loops: where the server sends its callers to, without what may be secret in it."""
    with raw_serving() as server:
        to = b"https://models.example/v1?key=made-up-secret"
        server.answer = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, to)
        with pytest.raises(InferenceError, match=r"models\.example/v1") as failed:
            HttpTransport(server.url).call(b"{}")
        with pytest.raises(InferenceError, match=r"models\.example/v1"):
            asyncio.run(AsyncHttpTransport(server.url).call(b"{}"))
    assert "made-up-secret" not in str(failed.value)
    assert failed.value.hint is not None
