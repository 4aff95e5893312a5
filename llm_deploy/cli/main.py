"""`llmdeploy`: the table of commands, loaded one by one, and the one place where an error becomes an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from llm_deploy.errors import LlmDeployError, MissingExtraError

INTERRUPTED_EXIT_CODE = 130
GOES_ON = "; running the same command again goes on from here"
GATEWAY_LIBRARIES = {
    "alembic",
    "fastapi",
    "httptools",
    "orjson",
    "prometheus_client",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}
"""What the extra `gateway` brings along, as it is imported."""
TRACING = "LLMDEPLOY_TRACING_"
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class Entry(NamedTuple):
    """Where a command is, and the line that `--help` shows for it without importing it."""

    module: str
    attribute: str
    summary: str
    goes_on: bool = False
    """Whether the same command, after an interruption, goes on from where it stopped."""
    traced: bool = False
    """Whether it asks models by itself, so that LLMDEPLOY_TRACING_* has it leave a trace."""


COMMANDS: Mapping[str, Entry] = {
    "create-roles": Entry("roles", "create_roles", "Make the execution role and the narrow deploy role.", True),
    "delete-roles": Entry("roles", "delete_roles", "Remove what create-roles made.", True),
    "policy": Entry("policies", "policy", "Print the least policy that one deployment needs."),
    "deploy-endpoint": Entry(
        "deploy", "deploy_endpoint", "Make or update an endpoint, from a spec or from .env.", True
    ),
    "rollback": Entry("generations", "rollback", "Return to what served before the last change.", True),
    "history": Entry("generations", "history", "List what serves and what served before, and what differs."),
    "delete-endpoint": Entry("delete", "delete_endpoint", "Remove everything of a deployment, and prove it.", True),
    "reap": Entry("reap", "reap", "Delete deployments that have outlived their ttl, or an age.", True),
    "gc": Entry("garbage", "collect_garbage", "Find and remove what no deployment claims.", True),
    "template": Entry("template", "template", "Print a deployment as a CloudFormation template."),
    "list": Entry("overview", "list_deployments", "List the deployments of this account and region."),
    "status": Entry("overview", "status", "Show state, copies, price and notes of a deployment."),
    "describe": Entry("overview", "describe", "Print the full documents of a deployment as the cloud holds them."),
    "logs": Entry("logs", "logs", "Read the containers' logs."),
    "invoke": Entry("invoke", "invoke", "Send one prompt to a deployment, or to a model's address.", traced=True),
    "chat": Entry("chat", "chat", "Talk to a model, streaming.", traced=True),
    "token": Entry("token", "token", "Write a token for programs that speak OpenAI."),
    "traces": Entry("traces", "app", "Read the traces of questions and answers stored on this machine."),
    "bench": Entry("bench", "bench", "Load a deployment or an address, and report what it carries."),
    "config": Entry("config", "app", "Show, check and explain specs and settings."),
    "local": Entry("local", "app", "Run the local cloud: all of this without an AWS account."),
    "models": Entry("models", "app", "Fetch and manage the models that run on this machine."),
    "rag": Entry("rag", "app", "Answer questions from documents, over Qdrant.", True, traced=True),
    "serve": Entry("serve", "serve", "Serve a model on this machine over HTTP."),
    "gateway": Entry(
        "gateway", "app", "Run the business service: an OpenAI-compatible API over deployments, and /rag."
    ),
    "proxy": Entry("proxy", "proxy", "Put an OpenAI-compatible server in front of one endpoint, on this machine."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and summaries, and imports a command when it is called."""

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - the signature is click's
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> Any:  # noqa: ANN401 - click's types are private to typer
        """Import the command's module and build it."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        loaded = getattr(import_module(f"llm_deploy.cli.{entry.module}"), entry.attribute)
        group = typer.Typer(
            rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, context_settings=HELP_NAMES
        )
        if isinstance(loaded, typer.Typer):
            loaded.rich_markup_mode = None
            group.add_typer(loaded, name=cmd_name)
            return cast("Any", get_command(group)).get_command(ctx, cmd_name)
        group.command(cmd_name, short_help=entry.summary)(loaded)
        return get_command(group)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command; say what Ctrl-C means for it, before typer makes a silent exit of it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            entry = COMMANDS.get(ctx.invoked_subcommand or "")
            typer.echo("\ninterrupted" + (GOES_ON if entry and entry.goes_on else ""), err=True)
            raise typer.Exit(INTERRUPTED_EXIT_CODE) from None

    def format_commands(self, ctx: object, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as above
        """The list in `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


app = typer.Typer(
    name="llmdeploy",
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=HELP_NAMES,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"llmdeploy {version('llm-deploy')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    _version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_show_version
    ),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is done, on standard error."),
) -> None:
    """From an open LLM's id to an endpoint that other services call, on AWS SageMaker or on a local cloud.

    \b
    llmdeploy deploy-endpoint configs/smollm2.yaml --target local
    llmdeploy invoke smollm2 "The capital of France is" --target local --stream
    llmdeploy delete-endpoint smollm2 --target local
    """  # noqa: D301 - \b keeps click from joining the lines
    if verbose:
        from llm_deploy.telemetry import set_up_logging

        set_up_logging("debug")
    entry = COMMANDS.get(ctx.invoked_subcommand or "")
    if entry is not None and entry.traced and any(name.startswith(TRACING) for name in os.environ):
        _trace(ctx)


def _trace(ctx: typer.Context) -> None:
    """Record what this command asks of models; what is left is written at its end, in `queue.flush_s` at most."""
    from llm_deploy.settings.announcement import state_dir
    from llm_deploy.tracing.config import TracingConfig
    from llm_deploy.tracing.setup import configure
    from llm_deploy.tracing.store_place import STATE_FOLDER

    ctx.call_on_close(configure(TracingConfig(), state_dir=state_dir(STATE_FOLDER)).close)


def run() -> None:
    """The entry point of the `llmdeploy` script."""
    _start_quickly()
    try:
        _run_app()
    except LlmDeployError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output (head, less) is gone; nothing is left to say, not even at the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _run_app() -> None:
    try:
        app(prog_name="llmdeploy")
    except ModuleNotFoundError as error:  # the gateway imports its libraries where it begins
        if error.name not in GATEWAY_LIBRARIES:
            raise
        message = f"the gateway needs {error.name}, not installed here"
        raise MissingExtraError(message, hint='Run: pip install "llm-deploy[gateway]"') from error


def _start_quickly() -> None:
    """Leave out what a short command pays for and nobody uses."""
    # Imports and AWS's service models make some 100,000 objects that stay; looking for garbage among them every 700
    # allocations takes a tenth of a short command. It is still looked for, less often, and not once more at the end,
    # when the system takes all memory back anyway (50 ms).
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    # Else pydantic reads the metadata of every installed distribution, in search of plug-ins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def show_error(error: LlmDeployError) -> None:
    """Write what happened and what to do about it to standard error."""
    typer.secho(f"error: {error.message}", fg="red", err=True)
    if error.hint:
        typer.echo(f"  {error.hint}", err=True)


if __name__ == "__main__":
    run()
