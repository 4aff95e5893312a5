"""`llmdeploy local`: start, stop and watch the local cloud, and point foreign programs at it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from llm_deploy.cli.downloads import progress_bar

app = typer.Typer(no_args_is_help=True, help="The local cloud: AWS's wire protocol on this machine, with a real model.")

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


class Shell(StrEnum):
    """Whose syntax `env` writes."""

    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"


@app.command("up")
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes any free one. [4599]")] = None,
    speed: Annotated[float | None, typer.Option(min=0.01, help="AWS's durations are divided by it. [60]")] = None,
    no_iam: Annotated[bool, typer.Option("--no-iam", help="Check neither signatures nor permissions.")] = False,
    as_json: Json = False,
) -> None:
    """Start the local cloud, unless it runs, and wait until it answers. The first start downloads 95 MB."""
    from llm_deploy.targets.local import LocalCloud

    with progress_bar("local cloud") as progress:
        status = LocalCloud().ensure_running(port, speed, iam=False if no_iam else None, progress=progress)
    if status.note:
        typer.echo(status.note, err=True)
    if as_json:
        typer.echo(json.dumps(status.as_document()))
        return
    typer.echo(f"The local cloud is up at {status.url} (speed {status.speed:g}, region {status.region}).")
    if not status.iam:
        typer.echo("It checks neither signatures nor permissions.")
    typer.echo('Other programs: eval "$(llmdeploy local env)"')


@app.command("down")
def down() -> None:
    """Stop the local cloud and its model processes; what was deployed is back at the next start."""
    from llm_deploy.targets.local import LocalCloud

    typer.echo("The local cloud is down." if LocalCloud().stop() else "The local cloud was not running.")


@app.command("status")
def status(as_json: Json = False) -> None:
    """Say whether the local cloud runs; exit code 13 when it does not."""
    from llm_deploy.errors import LocalCloudError
    from llm_deploy.targets.local import LocalCloud

    cloud = LocalCloud()
    found = cloud.status()
    if as_json:
        typer.echo(json.dumps({"running": found is not None, **(found.as_document() if found else {})}))
    elif found is None:
        typer.echo("The local cloud is not running. Start it: llmdeploy local up")
    else:
        typer.echo(f"{found.url}  process {found.pid}, since {found.started_at}")
        enforced = "enforced" if found.iam else "not enforced"
        typer.echo(f"account {found.account}, region {found.region}, speed {found.speed:g}, IAM {enforced}")
        typer.echo(f"{found.endpoints} endpoints, {found.processes} model processes, state in {cloud.state_dir()}")
    if found is None:
        raise typer.Exit(LocalCloudError.exit_code)


@app.command("env")
def env(
    shell: Annotated[Shell, typer.Option(help="Syntax to write.")] = Shell.SH,
    role: Annotated[
        str | None, typer.Option(help="Name or ARN of a role to act as, for an hour, instead of the account root.")
    ] = None,
) -> None:
    """Write the variables that point AWS programs at the local cloud: eval "$(llmdeploy local env)"."""
    from llm_deploy.targets.local import LocalCloud

    cloud = LocalCloud()
    for name, value in (cloud.environment() if role is None else cloud.role_environment(role)).items():
        typer.echo(_assignment(shell, name, value))


@app.command("logs")
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written, until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="Number of last lines.")] = 50,
) -> None:
    """Read what the local cloud itself writes; a deployment's logs are in `llmdeploy logs`."""
    from llm_deploy.errors import NotFoundError
    from llm_deploy.targets.local import LocalCloud

    path = LocalCloud().log_path
    if not path.is_file():
        raise NotFoundError(f"There is no log at {path}.", hint="Start the local cloud: llmdeploy local up")
    with path.open(encoding="utf-8", errors="replace") as file:
        from collections import deque

        for line in deque(file, maxlen=tail):
            typer.echo(line, nl=False)
        while follow:
            _follow(file.readline)


def _follow(read_line: Callable[[], str]) -> None:
    import time

    while line := read_line():
        typer.echo(line, nl=False)
    time.sleep(0.2)  # a plain file cannot be waited for in a way that works everywhere


def _assignment(shell: Shell, name: str, value: str) -> str:
    if shell is Shell.FISH:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{escaped}'"
    if shell is Shell.POWERSHELL:
        escaped = value.replace("'", "''")
        return f"$Env:{name} = '{escaped}'"
    return f"export {name}={shlex.quote(value)}"
