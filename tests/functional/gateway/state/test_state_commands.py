"""`llmdeploy gateway keys`, as an administrator uses it, on both databases."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re

import pytest
import typer
from typer.testing import CliRunner, Result

from llm_deploy.cli import gateway_keys
from llm_deploy.errors import ConflictError, LlmDeployError, NotFoundError, SpecError
from llm_deploy.gateway.keys import PATTERN
from tests.functional.gateway.state.gateways import gateway, until, use

app = typer.Typer()
app.add_typer(gateway_keys.app, name="keys")
app.command("migrate")(gateway_keys.migrate)


class Administrator:
    """Somebody at a terminal, with one database."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, *arguments: str) -> Result:
        """A command that is expected to succeed."""
        done = CliRunner().invoke(app, [*arguments, "--state", self._url])
        if done.exception is not None:
            raise done.exception
        return done

    def fails(self, kind: type[LlmDeployError], *arguments: str) -> str:
        """A command that is expected to fail; what it says."""
        with pytest.raises(kind) as caught:
            self.run(*arguments)
        return f"{caught.value} {caught.value.hint}"


@pytest.fixture
def admin(state_url: str) -> Administrator:
    return Administrator(state_url)


def test_a_secret_is_shown_once_and_alone_on_standard_output(admin: Administrator) -> None:
    """So that it can be piped; no other command ever shows it."""
    made = admin.run("keys", "create", "shop", "--expires", "90d", "--budget", "1000", "--model", "twin")
    secret = made.stdout.strip()
    assert re.fullmatch(PATTERN, secret)
    for command in (["list"], ["list", "--json"], ["show", "shop"], ["show", "shop", "--json"], ["usage"]):
        assert secret[-40:] not in admin.run("keys", *command).output
    other = json.loads(admin.run("keys", "create", "other", "--json").stdout)
    assert re.fullmatch(PATTERN, other["secret"])
    assert other["key_id"] in other["secret"]


def test_what_was_asked_for_is_what_is_kept(admin: Administrator) -> None:
    """Scopes, models, limits and expiry; and a change of each, and back to none."""
    limits = ["--requests-per-minute", "60", "--tokens-per-minute", "900", "--tokens-total", "5", "--concurrency", "2"]
    admin.run("keys", "create", "shop", "--scope", "chat", "--scope", "rag", "--expires", "12h", *limits)
    shown = json.loads(admin.run("keys", "show", "shop", "--json").stdout)
    assert (shown["scopes"], shown["models"], shown["state"]) == (["chat", "rag"], None, "in use")
    assert list(shown["limits"].values()) == [60, 900, None, 5, 2]
    assert shown["expires_at"] is not None
    admin.run(
        "keys", "change", "shop", "--concurrency", "none", "--expires", "none", "--model", "a", "--scope", "models"
    )
    changed = json.loads(admin.run("keys", "change", "shop", "--budget", "7", "--json").stdout)
    assert (changed["scopes"], changed["models"], changed["expires_at"]) == (["models"], ["a"], None)
    assert list(changed["limits"].values()) == [60, 900, 7, 5, None]


def test_a_name_is_of_one_key_in_use(admin: Administrator) -> None:
    """It is free again when that key is revoked; the newer one is then meant by it."""
    admin.run("keys", "create", "shop")
    assert "in use" in admin.fails(ConflictError, "keys", "create", "shop")
    admin.run("keys", "revoke", "shop", "--yes")
    assert "before" in admin.run("keys", "revoke", "shop", "--yes").stderr
    admin.fails(ConflictError, "keys", "rotate", "shop")
    admin.fails(ConflictError, "keys", "change", "shop", "--budget", "5")
    admin.run("keys", "create", "shop")
    assert json.loads(admin.run("keys", "show", "shop", "--json").stdout)["state"] == "in use"
    assert len(json.loads(admin.run("keys", "list", "--json").stdout)) == 1
    assert len(json.loads(admin.run("keys", "list", "--all", "--json").stdout)) == 2


def test_mistakes_are_said_before_anything_is_made(admin: Administrator) -> None:
    """Unknown scopes, limits that are none, spans that are none, keys that are not there."""
    for wrong in (
        ["--scope", "everything"],
        ["--budget", "0"],
        ["--budget", "1e3"],
        ["--budget", "-4"],
        ["--expires", "soon"],
    ):
        admin.fails(SpecError, "keys", "create", "shop", *wrong)
    for name in ("", " shop", "a\nb", "x" * 201):
        admin.fails(SpecError, "keys", "create", name)
    admin.fails(SpecError, "keys", "create", "shop", "--concurrency", "9" * 30)
    admin.fails(NotFoundError, "keys", "show", "shop")
    admin.run("keys", "create", "shop")
    admin.fails(SpecError, "keys", "change", "shop")
    assert "there is nobody to ask" in admin.fails(SpecError, "keys", "revoke", "shop")


def test_usage_is_shown_by_key_model_and_day(admin: Administrator, state_url: str) -> None:
    """For people, and as JSON and CSV with the same numbers."""
    secrets = [admin.run("keys", "create", name).stdout.strip() for name in ("shop", "chat bot")]

    async def scenario() -> None:
        async with gateway(state_url) as access:
            for _ in range(3):
                use(access, secrets[0], prompt=10, generated=5, reserved=20)
            use(access, secrets[1])
            await until(access, lambda: access.healthy)

    asyncio.run(scenario())
    (line,) = json.loads(admin.run("keys", "usage", "shop", "--json").stdout)
    assert (line["name"], line["model"], line["scope"]) == ("shop", "twin", "chat")
    assert (line["requests"], line["prompt_tokens"], line["generated_tokens"], line["refused"]) == (3, 30, 15, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["day"])
    rows = list(csv.DictReader(io.StringIO(admin.run("keys", "usage", "--csv", "--by", "hour").stdout)))
    assert {row["name"]: row["requests"] for row in rows} == {"shop": "3", "chat bot": "1"}
    assert "GENERATED TOKENS" in admin.run("keys", "usage", "--by", "total").stdout


def test_migrate_says_what_it_did(admin: Administrator) -> None:
    """From nothing to the newest, and then that there is nothing to do."""
    assert "version none -> " in admin.run("migrate").stderr
    assert "is up to date" in admin.run("migrate").stderr
