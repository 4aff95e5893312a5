"""`llmdeploy rollback` and `history`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from llm_deploy.cli import options


def rollback(
    name: options.Name,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="GENERATION", help="Id, config or model from `history`; else the one before."),
    ] = None,
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Return to what served before the last change: config, model, component and sampling. No spec is needed.

    It is all at once and watched by no alarm. Running it again changes nothing; --to leads forward again.

    \b
    llmdeploy rollback twin --dry-run
    llmdeploy rollback twin --yes
    llmdeploy rollback twin --to 2d8aeb83 --yes
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import Receipt, plan_document, what_was_done
    from llm_deploy.targets import deployment
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.rollback import plan_rollback

    connection = connect(target)
    screen.say(connection.describe())
    found = plan_rollback(name, connection, to=to)
    screen.show_plan(found.plan, f"{name} back to generation {found.generation.id}:")
    screen.say(screen.count_line(found.plan))
    if found.plan.empty:
        screen.say(
            f"{name} serves generation {found.generation.id}; `llmdeploy history {name}` shows where --to leads."
        )
    if dry_run:
        if as_json:
            screen.write_json({"generation": found.generation.id, **plan_document(found.plan)})
        return
    started_s = time.monotonic()
    components = [found.component] if found.component else []
    steps = []
    if not found.plan.empty:
        screen.agree(f"Roll {name} back in account {connection.account}, {connection.region}?", yes=yes)
        steps = screen.follow(deployment.carried_out(found.plan, components, connection, timeout_s=timeout_s))
    receipt = Receipt(
        deployment=name,
        target=connection.target,
        account=connection.account,
        region=connection.region,
        done=what_was_done(steps),
        seconds=round(time.monotonic() - started_s, 2),
        usd_per_hour=found.usd_per_hour,
        price_note=found.price_note,
        smoke=deployment.asked(connection, name, found.component),
    )
    if as_json:
        screen.write_json({"generation": found.generation.id, **receipt.document()})
    screen.show_receipt(receipt, f"{name} serves generation {found.generation.id}.")


def history(name: options.Name, target: options.Target = None, as_json: options.AsJson = False) -> None:
    """List the generation that serves, the one before, and what was made and never served; and what differs."""
    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.rollback import history_of

    entries = history_of(name, connect(target))
    if as_json:
        screen.write_json([screen.json_of(entry) for entry in entries])
        return
    rows = [
        (
            entry.id or "-",
            entry.state,
            entry.made.strftime("%Y-%m-%d %H:%M:%S") if entry.made else "?",
            entry.config or "-",
            ", ".join(entry.models) or "-",
            "; ".join(f"{item.name} {item.here}, in use {item.in_use}" for item in entry.differs),
        )
        for entry in entries
    ]
    for line in screen.table(rows, ("GENERATION", "STATE", "MADE", "CONFIG", "MODEL", "DIFFERS")):
        typer.echo(line)
