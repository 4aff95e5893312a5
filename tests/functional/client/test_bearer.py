"""SageMaker's OpenAI-compatible path: tokens, where they go, and that they are never shown."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from llm_deploy import (
    AsyncLLMInferenceSagemakerEndpoint,
    GenerationRequest,
    LLMInferenceSagemakerEndpoint,
)
from llm_deploy.aws import Session
from llm_deploy.client.bearer import LONGEST_LIFE_S, BearerToken, Renewed, bearer_token, openai_base
from llm_deploy.errors import CredentialsError, InferenceRequestError, SpecError
from llm_deploy.resource import TAG_DIALECT
from tests.fakes.runtime_server import REGION, Reply, invocation, serving

pytestmark = [pytest.mark.row("T5")]

OURS = Session(region=REGION, access_key="made-up-id", secret_key="made-up-key", token="made-up-session")
CHAT = GenerationRequest(messages=({"role": "user", "content": "Hi"},), max_new_tokens=3)
ANSWER = invocation({"choices": [{"message": {"content": " Paris"}, "finish_reason": "length"}]})
STREAM = Reply(parts=(b'data: {"choices": [{"delta": {"content": " Paris"}, "finish_reason": "stop"}]}\n\n',))
LOOKED_UP = (
    invocation({"EndpointArn": f"arn:aws:sagemaker:{REGION}:000000000000:endpoint/twin"}),
    invocation({"Tags": [{"Key": TAG_DIALECT, "Value": "openai"}]}),
    invocation({"InferenceComponents": [{"InferenceComponentName": "twin ic"}]}),
)


def read(token: BearerToken) -> Any:  # noqa: ANN401 - a split URL
    """The address in a token."""
    assert token.value.startswith("sagemaker-api-key-")
    text = base64.b64decode(token.value.removeprefix("sagemaker-api-key-")).decode()
    return urlsplit("https://" + text)


@pytest.mark.parametrize(
    "session",
    [OURS, boto3.Session(aws_access_key_id="made-up-id", aws_secret_access_key="made-up-key",
                         aws_session_token="made-up-session", region_name=REGION)],
)  # fmt: skip
def test_a_token_is_a_presigned_request(session: Any) -> None:  # noqa: ANN401 - ours or boto3's
    """To the address and with the words that SageMaker documents, for so long; anybody's SigV4 makes the same one."""
    url = read(bearer_token(session, lifetime_s=900))
    query = {name: value[0] for name, value in parse_qs(url.query).items()}
    assert (url.hostname, url.path, query["Action"], query["Version"]) == (
        "sagemaker.amazonaws.com",
        "/",
        "CallWithBearerToken",
        "1",
    )
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Security-Token"] == "made-up-session"
    assert query["X-Amz-Credential"].split("/")[2:] == [REGION, "sagemaker", "aws4_request"]
    assert query["X-Amz-Signature"] == _signed_by_hand(query["X-Amz-Date"], 900)


def _signed_by_hand(date: str, seconds: int) -> str:
    class AtThatTime(SigV4QueryAuth):  # type: ignore[misc]  # botocore ships no types
        def _modify_request_before_signing(self, request: Any) -> None:  # noqa: ANN401 - as above
            request.context["timestamp"] = date
            super()._modify_request_before_signing(request)

    request = AWSRequest("POST", "https://sagemaker.amazonaws.com/", params={"Action": "CallWithBearerToken"})
    auth = AtThatTime(Credentials("made-up-id", "made-up-key", "made-up-session"), "sagemaker", REGION, expires=seconds)
    auth.add_auth(request)
    url = urlsplit(request.url)
    signed: str = parse_qs(url.query)["X-Amz-Signature"][0]
    return signed


def test_a_token_is_not_shown() -> None:
    """Not where objects are shown; it ends with its own life."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    token = bearer_token(OURS, now=lambda: now)
    assert "sagemaker-api-key" not in repr(token)
    assert token.expires_at == now + timedelta(hours=12)


def test_a_token_ends_with_the_credentials_that_signed_it() -> None:
    """Those of a role mostly hold for an hour."""
    ends = datetime.now(UTC) + timedelta(hours=1)

    class Role:
        """A boto3 session whose credentials end."""

        region_name = REGION

        def get_credentials(self) -> Credentials:
            """Like those of an assumed role."""
            credentials = Credentials("made-up-id", "made-up-key", "made-up-session")
            credentials._expiry_time = ends
            return credentials

    assert bearer_token(Role()).expires_at == ends


@pytest.mark.parametrize("lifetime_s", [0, -1, LONGEST_LIFE_S + 1])
def test_a_life_that_aws_would_refuse_is_refused(lifetime_s: int) -> None:
    """Before anything is signed."""
    with pytest.raises(SpecError, match="lives"):
        bearer_token(OURS, lifetime_s=lifetime_s)


def test_without_credentials_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said as such."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(CredentialsError):
        bearer_token(Session(region=REGION))


def test_a_token_is_renewed_before_it_ends() -> None:
    """And kept until then."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clock = [now]
    made: list[BearerToken] = []

    def make() -> BearerToken:
        made.append(BearerToken(f"secret-{len(made)}", clock[0] + timedelta(hours=1)))
        return made[-1]

    tokens = Renewed(make, lambda: clock[0])
    assert tokens.current() is tokens.current()
    clock[0] += timedelta(minutes=56)
    assert tokens.current() is made[1]
    assert len(made) == 2


def test_the_base_is_aws_own_or_the_sessions() -> None:
    """With the component where there is one; names are quoted."""
    assert openai_base(replace(OURS, _clients={}), "twin", None) == (
        f"https://runtime.sagemaker.{REGION}.amazonaws.com/endpoints/twin/openai/v1"
    )
    local = replace(OURS, endpoint_url="http://127.0.0.1:9", _clients={})
    assert openai_base(local, "twin", "a/b") == "http://127.0.0.1:9/endpoints/twin/inference-components/a%2Fb/openai/v1"


def test_chats_go_there_with_the_token() -> None:
    """Whole, streamed, on an event loop; prompts as chats; the dialect is OpenAI's whatever the engine."""
    with serving(*LOOKED_UP, ANSWER, STREAM, ANSWER) as server:
        session = replace(OURS, endpoint_url=server.url, _clients={})
        llm = LLMInferenceSagemakerEndpoint("twin", session=session, via="openai")
        assert llm.generate(CHAT).text == " Paris"
        assert [chunk.text for chunk in llm.stream(CHAT)] == [" Paris"]
        assert llm.generate(GenerationRequest(prompt="Hi")).text == " Paris"
        seen = server.seen[3:]
    assert {each.path for each in seen} == {"/endpoints/twin/inference-components/twin%20ic/openai/v1/chat/completions"}
    assert len({each.headers["authorization"] for each in seen}) == 1
    assert seen[0].headers["authorization"].startswith("Bearer sagemaker-api-key-")
    assert json.loads(seen[2].body)["messages"] == [{"role": "user", "content": "Hi"}]

    async def on_a_loop(url: str) -> list[str]:
        session = replace(OURS, endpoint_url=url, _clients={})
        async with AsyncLLMInferenceSagemakerEndpoint("twin", session=session, via="openai") as llm:
            return [(await llm.generate(CHAT)).text, *[chunk.text async for chunk in llm.stream(CHAT)]]

    with serving(*LOOKED_UP, ANSWER, STREAM) as server:
        assert asyncio.run(on_a_loop(server.url)) == [" Paris", " Paris"]
        assert server.seen[-1].headers["authorization"].startswith("Bearer sagemaker-api-key-")


def test_errors_do_not_show_the_token() -> None:
    """Neither their words nor what Python prints of them."""
    with serving(*LOOKED_UP, Reply(400, (b'{"error": "no"}',))) as server:
        session = replace(OURS, endpoint_url=server.url, _clients={})
        with pytest.raises(InferenceRequestError) as raised:
            LLMInferenceSagemakerEndpoint("twin", session=session, via="openai").generate(CHAT)
    assert "sagemaker-api-key" not in str(raised.getrepr(showlocals=True, style="long"))
