"""`llmdeploy gateway keys` and `llmdeploy gateway migrate`: who may call the gateway, and how much they did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli.gateway_key_documents import cell, iso, key_document, usage_document, write_csv
from llm_deploy.cli.options import AsJson, Yes, span_s

if TYPE_CHECKING:
    from llm_deploy.gateway.state.administration import KeyService
    from llm_deploy.gateway.state.records import KeyRecord

app = typer.Typer(no_args_is_help=True, help="API keys of the gateway: make, list, change, revoke, and what they used.")

UNLIMITED = "none"
"""The word that takes a limit away."""
EFFECT = "Running gateways know within a few seconds."

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="URL",
        help="sqlite:///PATH or postgresql+psycopg://USER@HOST/DB; else LLMDEPLOY_STATE, else a file of this user.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A gateway's file: its `state:` counts where --state is not given."),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key's name, or its id.")]
Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="chat, embeddings, rag or models; may be repeated. Default: all.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model it may use; may be repeated. Default: every one.")
]
Expires = Annotated[str | None, typer.Option("--expires", metavar="SPAN", help="Good for so long: 90d, 12h.")]
RequestsPerMinute = Annotated[str | None, typer.Option("--requests-per-minute", metavar="N")]
TokensPerMinute = Annotated[
    str | None, typer.Option("--tokens-per-minute", metavar="N", help="Tokens of prompts and answers together.")
]
TokensPerDay = Annotated[
    str | None, typer.Option("--tokens-per-day", "--budget", metavar="N", help="The budget of a day of UTC.")
]
TokensTotal = Annotated[str | None, typer.Option("--tokens-total", metavar="N", help="The budget of its whole life.")]
Concurrency = Annotated[str | None, typer.Option("--concurrency", metavar="N", help="Requests in flight.")]


class By(Enum):
    """How finely usage is shown."""

    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it; unique among keys in use.")],
    scopes: Scopes = None,
    models: Models = None,
    expires: Expires = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    tokens_total: TokensTotal = None,
    concurrency: Concurrency = None,
    state: State = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: nobody can look it up later."""
    from llm_deploy.gateway.access import SCOPES
    from llm_deploy.gateway.state.records import Limits

    limits = _limits(requests_per_minute, tokens_per_minute, tokens_per_day, tokens_total, concurrency)
    with _service(state, config) as service:
        made = service.create(
            name,
            scopes=frozenset(scopes or SCOPES),
            models=frozenset(models) if models else None,
            limits=Limits(**limits),
            good_for_s=span_s("--expires", expires),
        )
        _show_secret(service.find(made.key_id), made.secret, service.place, as_json=as_json)


@app.command("list")
def list_keys(
    state: State = None,
    config: ConfigFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys; never their secrets."""
    from llm_deploy.cli.screen import say, table, write_json

    with _service(state, config) as service:
        documents = [key_document(key) for key in service.every()]
        place = service.place
    shown = [document for document in documents if everything or document["state"] == "in use"]
    if as_json:
        write_json(shown)
        return
    fields = ("name", "key_id", "state", "scopes", "models", "expires_at")
    rows = [[cell(document[field]) for field in fields] for document in shown]
    for line in table(rows, ("NAME", "ID", "STATE", "SCOPES", "MODELS", "EXPIRES")):
        typer.echo(line)
    if not rows:
        say(f"No keys in {place}. Make one: llmdeploy gateway keys create NAME")


@app.command("show")
def show(key: Key, state: State = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show a key's scopes, limits and what is used of its budgets."""
    from llm_deploy.cli.screen import write_json

    with _service(state, config) as service:
        record = service.find(key)
        document = key_document(record) | {"spent": asdict(service.spent(record))}
    if as_json:
        write_json(document)
        return
    spent, limits = document.pop("spent"), document.pop("limits")
    for field, value in (document | limits).items():
        typer.echo(f"{field.replace('_', ' '):<20} {cell(value)}")
    for field, used, limit in (
        ("spent today", spent["today"], limits["tokens_per_day"]),
        ("spent in total", spent["total"], limits["tokens_total"]),
    ):
        typer.echo(f"{field:<20} {'-' if limit is None else f'{used} of {limit} tokens'}")


@app.command("change")
def change(
    key: Key,
    scopes: Scopes = None,
    models: Models = None,
    expires: Expires = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    tokens_total: TokensTotal = None,
    concurrency: Concurrency = None,
    state: State = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Change what a key may do; `none` takes a limit, the expiry or the list of models away. The secret stays."""
    from llm_deploy.cli.screen import say, write_json
    from llm_deploy.errors import SpecError

    values: dict[str, Any] = dict(
        _limits(requests_per_minute, tokens_per_minute, tokens_per_day, tokens_total, concurrency)
    )
    if scopes:
        values["scopes"] = frozenset(scopes)
    if models:
        values["models"] = None if models == [UNLIMITED] else frozenset(models)
    if expires:
        values["good_for_s"] = None if expires == UNLIMITED else span_s("--expires", expires)
    if not values:
        raise SpecError("Nothing to change.", hint="Give a limit, for example --tokens-per-day 100000.")
    with _service(state, config) as service:
        record = service.change(key, values)
    if as_json:
        write_json(key_document(record))
    changed = ", ".join(sorted(values)).replace("good_for_s", "expiry").replace("_", " ")
    say(f"Changed {record.name} ({record.key_id}): {changed}. {EFFECT}")


@app.command("revoke")
def revoke(key: Key, state: State = None, config: ConfigFile = None, yes: Yes = False) -> None:
    """Let a key be good for nothing. It cannot be undone; its usage stays."""
    from llm_deploy.cli.screen import agree, say

    with _service(state, config) as service:
        record = service.find(key)
        if record.revoked_at_s is not None:
            say(f"{record.name} ({record.key_id}) was revoked before.")
            return
        agree(f"Revoke {record.name} ({record.key_id})?", yes=yes, can_look=False)
        service.revoke(record.key_id)
    say(f"Revoked {record.name} ({record.key_id}). {EFFECT}")


@app.command("rotate")
def rotate(
    key: Key,
    grace: Annotated[str, typer.Option("--grace", metavar="SPAN", help="The old secret is good for so long.")] = "1h",
    state: State = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it; the old one stays good for a while."""
    from llm_deploy.cli.screen import say

    with _service(state, config) as service:
        record, made = service.rotate(key, span_s("--grace", grace) or 0)
        _show_secret(record, made.secret, service.place, as_json=as_json)
    say(f"The old secret is good until {iso(record.previous_until_s)}.")


@app.command("usage")
def usage(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Name or id; all keys by default.")] = None,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="Look back so far.")] = "7d",
    by: Annotated[By, typer.Option("--by", help="Sum up by hour or day of UTC, or all.")] = By.DAY,
    state: State = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV on standard output.")] = False,
) -> None:
    """Show requests and tokens by key, model, route and day. The last second may not be written yet."""
    from llm_deploy.cli.screen import say, table, write_json

    with _service(state, config) as service:
        lines = service.usage(key, since_s=span_s("--since", since) or 0, grain=by.value)
    documents = [usage_document(asdict(line), by.value) for line in lines]
    if as_json:
        write_json(documents)
    elif as_csv:
        write_csv(documents)
    elif documents:
        rows = [[str(value) for field, value in document.items() if field != "key_id"] for document in documents]
        headers = [field.upper().replace("_", " ") for field in documents[0] if field != "key_id"]
        for line in table(rows, headers):
            typer.echo(line)
    else:
        say(f"Nothing was used in the last {since}.")


def migrate(state: State = None, config: ConfigFile = None) -> None:
    """Bring the tables of the gateway's state up to date. A gateway does it by itself when it starts."""
    from llm_deploy.cli.screen import say
    from llm_deploy.gateway.state.administration import migrate_state

    done, place = migrate_state(_url(state, config))
    if done.before == done.after:
        say(f"{place} is up to date (version {done.after}).")
    else:
        say(f"{place}: version {done.before or 'none'} -> {done.after}.")


@contextmanager
def _service(state: str | None, config: Path | None) -> Iterator[KeyService]:
    from llm_deploy.gateway.state.administration import KeyService

    service = KeyService(_url(state, config))
    try:
        yield service
    finally:
        service.close()


def _url(state: str | None, config: Path | None) -> str | None:
    if state is not None or config is None:
        return state
    from llm_deploy.gateway.config_file import load

    return load(config).state.url


def _limits(*texts: str | None) -> dict[str, int | None]:
    """Those limits that were given; `none` is a limit's absence."""
    from llm_deploy.errors import SpecError

    names = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_total", "concurrency")
    found: dict[str, int | None] = {}
    for name, text in zip(names, texts, strict=True):
        if text is None:
            continue
        if (text != UNLIMITED and not text.isascii()) or (text != UNLIMITED and not text.isdigit()):
            raise SpecError(f"--{name.replace('_', '-')}: {text[:40]!r}; expected a whole number, or {UNLIMITED}.")
        found[name] = None if text == UNLIMITED else int(text)
    return found


def _show_secret(record: KeyRecord, secret: str, place: str, *, as_json: bool) -> None:
    """The secret alone on standard output, so that it can be piped to where it is kept."""
    from llm_deploy.cli.screen import say, write_json

    if as_json:
        write_json(key_document(record) | {"secret": secret})
        return
    say(f"{record.name} ({record.key_id}), kept in {place}. This is shown once:")
    typer.echo(secret)
