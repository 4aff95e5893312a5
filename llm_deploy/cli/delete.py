"""`llmdeploy delete-endpoint`."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.deploy.apply import Step
    from llm_deploy.deploy.receipt import Receipt
    from llm_deploy.targets.teardown import Removal


def delete_endpoint(
    name: Annotated[str, typer.Argument(metavar="NAME|CONFIG", help="The deployment's name, or its spec's file.")],
    target: options.Target = None,
    logs: Annotated[bool, typer.Option("--logs", help="Also the containers' log groups, which else stay.")] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Remove everything of a deployment, from whatever state it is in, and search again to prove it.

    What AWS is at work on is waited for; a CloudFormation stack that holds the deployment is deleted. The exit code is
    0 only when nothing is left.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import counted, plan_document
    from llm_deploy.targets import teardown
    from llm_deploy.targets.registry import connect

    name = _deployment_name(name)
    connection = connect(target)
    screen.say(connection.describe())
    found = teardown.prepare(name, connection, logs=logs)
    show(found)
    if dry_run:
        if as_json:
            screen.write_json(plan_document(found.plan))
        return
    if found.plan.changes:
        objects = counted(len(found.plan.changes), "object")
        screen.agree(f"Delete {objects} of {name} in {connection.region}?", yes=yes)
    remove(found, timeout_s=timeout_s, as_json=as_json)


def show(found: Removal) -> None:
    """What is about to go, and what stands beside it and stays."""
    from llm_deploy.cli import screen
    from llm_deploy.deploy.plan import short_kind

    screen.show_plan(found.plan, f"{found.name}:")
    for stranger in found.not_ours:
        status = stranger.status or "carries no tag of llmdeploy"
        screen.say(f"  not ours, left alone: {short_kind(stranger.kind)} {stranger.name}  ({status})")
    if found.not_ours:
        screen.say("  If it is yours, `llmdeploy gc --adopt NAME` makes it llmdeploy's.")


def remove(found: Removal, *, timeout_s: float, as_json: bool) -> Receipt:
    """Remove it and print the receipt, also of a removal that time ran out for.

    Raises:
        LeftoverError: Something is left.
        WaitTimeoutError: The time ran out.
    """
    from llm_deploy.cli import screen
    from llm_deploy.errors import WaitTimeoutError
    from llm_deploy.targets import teardown

    started_s = time.monotonic()
    steps: list[Step] = []
    try:
        screen.follow(teardown.carry_out(found, timeout_s=timeout_s), steps)
    except WaitTimeoutError:
        if as_json:
            screen.write_json(teardown.receipt(found, steps, started_s, ended=False).document())
        raise
    receipt = teardown.receipt(found, steps, started_s)
    if as_json:
        screen.write_json(receipt.document())
    teardown.check(receipt)
    _show_receipt(receipt)
    return receipt


def _show_receipt(receipt: Receipt) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import counted, money, removed

    name = receipt.deployment
    gone = removed(receipt.done)
    headline = f"{name} is gone; nothing left." if gone else f"There is nothing of {name}; nothing left."
    typer.secho(headline, fg="green", err=True)
    if gone:
        listed = ", ".join(counted(count, kind) for kind, count in Counter(item.kind for item in gone).items())
        screen.say(f"  removed        {counted(len(gone), 'object')} in {receipt.seconds:.1f} s: {listed}")
    screen.say(f"  still billing: {money(receipt.usd_per_hour)}")


def _deployment_name(name: str) -> str:
    """A deployment's name, also from the file that describes it."""
    from llm_deploy.catalog import load_spec
    from llm_deploy.settings import load_settings

    if not name.endswith((".yaml", ".yml")):
        return options.checked_name(name)
    return load_spec(Path(name), settings=load_settings()).spec.name
