"""What of the backend can be said without running it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.emulator.backend.durable import Durable, Message, Receive, Scope, Send
from llm_deploy.emulator.backend.lookups import _trusted_services
from llm_deploy.emulator.backend.services import SERVICES, BackendSettings, child_environment
from llm_deploy.emulator.settings import ROOT_SECRET_KEY

SETTINGS = BackendSettings(Path("/code"), Path("/state"), "eu-central-1", "000000000000", 4599, 60.0)


def test_the_child_gets_no_settings_and_no_secrets_of_the_user() -> None:
    """A user's AUTH, USE_SSL or SERVICES is meant for another program; a token is for nobody."""
    mine = {"AUTH": "perhaps", "USE_SSL": "1", "SERVICES": "sqs", "DOCKER_HOST": "unix:///run/docker.sock"}
    secret = {"AWS_SECRET_ACCESS_KEY": "of-the-user", "HUGGINGFACE_ACCESS_TOKEN": "hf_x"}
    given = child_environment(SETTINGS, {"PATH": "/bin", "LC_ALL": "C", **mine, **secret})
    assert (given["PATH"], given["LC_ALL"]) == ("/bin", "C")
    assert not {"USE_SSL", "HUGGINGFACE_ACCESS_TOKEN"} & given.keys()
    assert given["AUTH"] == "true"
    assert given["AWS_SECRET_ACCESS_KEY"] == ROOT_SECRET_KEY
    assert child_environment(replace(SETTINGS, iam=False), {})["AUTH"] == "false"
    assert set(given["SERVICES"].split(",")) <= SERVICES
    assert "nonexistent" in given["DOCKER_HOST"]


class FakeSaver:
    """Notes when it was asked to save."""

    def __init__(self, story: list[str]) -> None:
        self._story = story

    def save(self) -> None:
        """See `StateSaver`."""
        self._story.append("save")


def story_of(method: str, *, in_progress: int = 0) -> list[str]:
    """What happens, in order, when a request is answered in two pieces."""
    story: list[str] = []
    left = [True] * in_progress

    async def app(_: Scope, __: Receive, send: Send) -> None:
        story.append("handle")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            story.append("more" if message.get("more_body") else "last")

    async def run() -> None:
        durable: Any = Durable(app, FakeSaver(story), stacks_in_progress=lambda: bool(left and left.pop()))  # type: ignore[arg-type]
        await durable({"type": "http", "method": method}, receive, send)
        if durable._follower:
            await durable._follower

    asyncio.run(run())
    return story


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_change_is_saved_before_its_answer_is_complete(method: str) -> None:
    """Whoever has read the whole answer may kill the process."""
    assert story_of(method) == ["handle", "more", "save", "last"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_saves_nothing(method: str) -> None:
    """Downloads are not slowed down."""
    assert "save" not in story_of(method)


def test_stacks_are_saved_while_they_are_made() -> None:
    """CloudFormation answers first and works afterwards."""
    assert story_of("POST", in_progress=3) == ["handle", "more", "save", "last", "save", "save"]


@pytest.mark.parametrize(
    ("statement", "trusted"),
    [
        ({"Effect": "Allow", "Principal": {"Service": "a"}, "Action": "sts:AssumeRole"}, {"a"}),
        ({"Effect": "Allow", "Principal": {"Service": ["a", "b"]}, "Action": ["sts:AssumeRole", "x"]}, {"a", "b"}),
        ({"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}, set()),
        ({"Effect": "Deny", "Principal": {"Service": "a"}, "Action": "sts:AssumeRole"}, set()),
        ({"Effect": "Allow", "Principal": {"AWS": "a"}, "Action": "sts:AssumeRole"}, set()),
        ({"Effect": "Allow", "Principal": {"Service": "a"}, "Action": "sts:TagSession"}, set()),
    ],
)
def test_whom_a_role_trusts(statement: dict[str, Any], trusted: set[str]) -> None:
    """One statement or a list of them, one service or many; denials and people do not count."""
    for document in ({"Statement": statement}, {"Statement": [statement]}):
        assert _trusted_services(json.dumps(document)) == trusted


@pytest.mark.parametrize("document", ["", "{", "[]", "null", '"x"'])
def test_a_document_that_is_none_trusts_nobody(document: str) -> None:
    """Ledger backend.permissive: the backend stores any text."""
    assert _trusted_services(document) == frozenset()
