"""`llmdeploy list`, `status` and `describe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from llm_deploy.cli import options


def list_deployments(
    target: options.Target = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Also models and endpoint configs that were left without an endpoint; slow: a call for each."
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
    rows = [
        (item.name, item.status + (" (no endpoint)" if item.orphan else ""), item.endpoint_type, item.model)
        for item in found
    ]
    rows += [
        (item.name, item.status, "-", f"left: {', '.join((*item.models, *item.endpoint_configs))}") for item in left
    ]
    if left:
        screen.say("What is left without an endpoint bills nothing; `llmdeploy delete-endpoint NAME` removes it.")
    for line in screen.table(rows, ("NAME", "STATUS", "TYPE", "MODEL")):
        typer.echo(line)


def status(name: options.Name, target: options.Target = None, as_json: options.AsJson = False) -> None:
    """Show state, machines, copies, list price and notes of a deployment."""
    from dataclasses import replace

    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.sagemaker.machines import asked_for
    from llm_deploy.targets.sagemaker.overview import deployment_status

    connection = connect(target)
    found = deployment_status(connection.session, name)
    if not found.instances:
        found = replace(found, instances=asked_for(connection.session, found.config))
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


def usd_per_hour(instances: Sequence[Mapping[str, Any]], region: str) -> float | None:
    """The list price of machines; `None` where a type's price, or what machines there are, is not known.

    A machine bills from its start, before it counts as current, so the wanted number holds while there is none yet.
    """
    from llm_deploy import catalog

    if not instances or any(variant["type"] not in catalog.instances() for variant in instances):
        return None
    total = 0.0
    for variant in instances:
        each = catalog.price(variant["type"], region).usd_per_hour
        if each is None:
            return None
        total += each * (variant["count"] or variant["desired"] or 0)
    return total
