"""`llmdeploy list`, `status` and `describe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from datetime import datetime

    from llm_deploy.targets.sagemaker.leftovers import Leftovers
    from llm_deploy.targets.sagemaker.overview import Deployment


def list_deployments(
    target: options.Target = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also models, endpoint configs and scalable targets left without an endpoint; slow: a call for each.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the deployments of this account and region, and components that were left without an endpoint."""
    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.sagemaker.leftovers import leftovers
    from llm_deploy.targets.sagemaker.overview import deployments

    session = connect(target).session
    found = list(deployments(session))
    left = list(leftovers(session, (item.name for item in found if not item.orphan))) if everything else []
    if as_json:
        screen.write_json(screen.json_of([*found, *left]))
        return
    if not found and not left:
        screen.say("No deployments.")
        return
    if left:
        screen.say(
            "What is left without an endpoint bills nothing; `llmdeploy delete-endpoint NAME` or `gc` removes it."
        )
    headers, rows = _table(found, left)
    for line in screen.table(rows, headers):
        typer.echo(line)


def _table(found: Sequence[Deployment], left: Sequence[Leftovers]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows; the time left and the stack have columns only where something has a ttl or is in a stack."""
    rows: list[tuple[str, ...]] = [
        (item.name, item.status + (" (no endpoint)" if item.orphan else ""), item.endpoint_type, item.model)
        for item in found
    ]
    rows += [(item.name, item.status, "-", f"left: {', '.join(item.names)}") for item in left]
    columns = {"TTL": [_time_left(item.expires_at) for item in found], "STACK": [item.stack or "-" for item in found]}
    shown = {header: [*cells, *("-" for _ in left)] for header, cells in columns.items() if set(cells) - {"-"}}
    whole = [(*row, *more) for row, *more in zip(rows, *shown.values(), strict=True)]
    return ("NAME", "STATUS", "TYPE", "MODEL", *shown), whole


def _time_left(expires_at: datetime | None) -> str:
    from llm_deploy.targets.sagemaker import lifetimes

    return lifetimes.remaining((expires_at - lifetimes.now()).total_seconds()) if expires_at else "-"


def status(name: options.Name, target: options.Target = None, as_json: options.AsJson = False) -> None:
    """Show state, machines, copies, list price and notes of a deployment."""
    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.sagemaker.machines import usd_per_hour
    from llm_deploy.targets.sagemaker.overview import deployment_status

    connection = connect(target)
    found = deployment_status(connection.session, name)
    cost = usd_per_hour(found.instances, connection.region)
    if as_json:
        screen.write_json({**screen.json_of(found), "usd_per_hour": cost})
        return
    typer.echo(f"{found.name}: {found.status}" + (f" ({found.reason})" if found.reason else ""))
    typer.echo(f"  model      {found.model}")
    typer.echo(f"  type       {found.endpoint_type}, config {found.config}")
    for variant in found.instances:
        typer.echo(f"  machines   {variant['count']} of {variant['desired']} {variant['type']} ({variant['variant']})")
    for component in found.components:
        reason = f" ({component.reason})" if component.reason else ""
        copies = f"{component.copies} of {component.desired_copies} copies"
        typer.echo(f"  component  {component.name}: {component.status}, {copies}{reason}")
    if found.expires_at:
        typer.echo(f"  ttl        {_time_left(found.expires_at)}, until {found.expires_at:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"  bills      {'price unknown' if cost is None else f'${cost:.2f}/h at list price'}")
    if found.stack is not None:
        typer.echo(f"  stack      {found.stack}, changed and deleted through CloudFormation")
    for key, value in found.notes.items():
        typer.echo(f"  note       {key}: {value}")


def describe(
    name: options.Name,
    target: options.Target = None,
    as_json: options.AsJson = True,  # noqa: ARG001 - taken because every command of this kind takes it
) -> None:
    """Print every object of a deployment in full, always as JSON. Values that look secret are masked."""
    from llm_deploy.cli import screen
    from llm_deploy.errors import NotFoundError
    from llm_deploy.targets import deployment
    from llm_deploy.targets.registry import connect

    documents = deployment.documents_of(connect(target), name)
    if not documents:
        raise NotFoundError(f"there is nothing of '{name}' here", hint="`llmdeploy list` shows what there is.")
    screen.write_json(documents)
