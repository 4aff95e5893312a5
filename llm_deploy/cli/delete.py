"""`llmdeploy delete-endpoint`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from llm_deploy.cli import options


def delete_endpoint(
    name: Annotated[str, typer.Argument(metavar="NAME|CONFIG", help="The deployment's name, or its spec's file.")],
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Remove everything of a deployment, from whatever state it is in, and search again to prove it.

    Where a CloudFormation stack holds the deployment, the stack is deleted. The exit code is 0 only when nothing is
    left.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import Receipt, plan_document, what_was_done
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.removal import plan_removal

    name = _deployment_name(name)
    connection = connect(target)
    screen.say(connection.describe())
    removal = plan_removal(name, connection)
    plan = removal.plan
    screen.show_plan(plan, f"{name}:")
    if dry_run:
        if as_json:
            screen.write_json(plan_document(plan))
        return
    started_s = time.monotonic()
    steps = []
    if plan.changes:
        screen.agree(f"Delete {len(plan.changes)} objects of {name} in {connection.region}?", yes=yes)
        steps = screen.follow(removal.steps(timeout_s=timeout_s))
    receipt = Receipt(
        deployment=name,
        target=connection.target,
        account=connection.account,
        region=connection.region,
        done=what_was_done(steps),
        seconds=round(time.monotonic() - started_s, 2),
        usd_per_hour=0.0,
    )
    if as_json:
        screen.write_json(receipt.document())
    headline = f"{name} is gone; nothing left." if plan.changes else f"There is nothing of {name}; nothing left."
    screen.show_receipt(receipt, headline)


def _deployment_name(name: str) -> str:
    """A deployment's name, also from the file that describes it."""
    from llm_deploy.catalog import load_spec
    from llm_deploy.settings import load_settings

    if not name.endswith((".yaml", ".yml")):
        return options.checked_name(name)
    return load_spec(Path(name), settings=load_settings()).spec.name
