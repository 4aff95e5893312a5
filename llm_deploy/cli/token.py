"""`llmdeploy token`: a bearer token for programs that speak OpenAI and cannot sign for AWS."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import asked, options

if TYPE_CHECKING:
    from llm_deploy.client.bearer import BearerToken


def token(
    name: options.Name,
    target: options.Target = None,
    component: asked.Component = None,
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="SPAN", help="How long it holds, for example 30m; at most 12h.")
    ] = "12h",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write it although nobody watches.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write address and token of a deployment's OpenAI-compatible path, as lines for a shell.

    The token lets its bearer ask every endpoint that you may ask, until it ends. It goes to a terminal only, unless
    --yes or --json is said.
    """
    from llm_deploy.client import bearer
    from llm_deploy.client.discovery import discover
    from llm_deploy.errors import SpecError
    from llm_deploy.targets.registry import connect

    if not (as_json or yes or sys.stdout.isatty()):
        raise SpecError("a token would be written where nobody watches", hint="Say --yes if it should be.")
    lifetime_s = int(options.span_s("--lifetime", lifetime) or 0)
    session = connect(target).session
    found = discover(session, name, component=component, dialect="auto")
    base = bearer.openai_base(session, name, found.inference_component_name)
    _write(base, bearer.bearer_token(session, lifetime_s=lifetime_s), as_json=as_json)


def _write(base: str, made: BearerToken, *, as_json: bool) -> None:
    from llm_deploy.cli import screen

    ends = made.expires_at.isoformat(timespec="seconds")
    if as_json:
        screen.write_json({"base_url": base, "api_key": made.value, "expires_at": ends})
        return
    typer.echo(f"export OPENAI_BASE_URL={base}\nexport OPENAI_API_KEY={made.value}")
    screen.say(f"holds until {ends}")
