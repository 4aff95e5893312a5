"""`llmdeploy gc`: what no deployment claims, and what others' tools left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options
from llm_deploy.errors import LeftoverError, LlmDeployError

if TYPE_CHECKING:
    from llm_deploy.deploy.apply import Step
    from llm_deploy.deploy.receipt import Left
    from llm_deploy.targets.garbage import Garbage, Search
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.sagemaker.strangers import Stranger

YOUNG = "1h"


@dataclass(slots=True)
class End:
    """What a removal did.

    Attributes:
        left: What was to go and stands.
        failures: By deployment: why it could not be judged or cleared.
    """

    steps: list[Step] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    failures: dict[str, LlmDeployError] = field(default_factory=dict)


def collect_garbage(
    target: options.Target = None,
    prefix: Annotated[
        str, typer.Option("--name", metavar="PREFIX", help="Only deployments whose name begins with this.")
    ] = "",
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Spare what is younger: somebody may be deploying it.")
    ] = YOUNG,
    logs: Annotated[
        bool, typer.Option("--logs", help="Also log groups of what is gone; with --name, of all that begins with it.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list what others' tools left. It is never removed unless adopted.")
    ] = False,
    adopt: Annotated[
        str | None,
        typer.Option("--adopt", metavar="NAME", help="Put our tag on this one object (NAME or Kind/NAME) and stop."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go and stop; the default.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it; with --adopt, do not ask.")] = False,
    as_json: options.AsJson = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Find what carries llmdeploy's tags and no deployment claims. Shows it; removes it with --yes.

    A deployment is an endpoint with our tag. It claims what it uses and the generation before. Roles are not touched
    (delete-roles does that), nor what a CloudFormation stack owns. A deployment that cannot be judged or cleared does
    not keep the others; with --yes the exit code is then that of the first such problem.

    \b
    llmdeploy gc                      # look
    llmdeploy gc --yes                # remove
    llmdeploy gc --all                # look at what others left, too
    llmdeploy gc --adopt old-model    # make one of those ours, so that gc or delete-endpoint removes it
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.targets import garbage
    from llm_deploy.targets.registry import connect

    older_than_s = options.span_s("--older-than", older_than) or 0.0
    connection = connect(target)
    screen.say(connection.describe())
    if adopt is not None:
        _adopt(adopt, connection, yes=yes, dry_run=dry_run, as_json=as_json)
        return
    what = garbage.Search(connection, older_than_s, prefix, logs)
    found = garbage.search(what)
    _show(found)
    others, hidden = _others(connection, shown=not as_json) if everything else ([], 0)
    act = yes and not dry_run
    end = _remove(what, found, timeout_s) if act else End()
    if as_json:
        screen.write_json(_document(found, others, hidden, end))
    _conclude(found, end, act=act)


def _show(found: Sequence[Garbage]) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.plan import short_kind

    for each in found:
        screen.show_plan(each.plan, f"{each.deployment}:")
        for item in each.spared:
            screen.say(f"  spared: {short_kind(item.found.kind)} {item.found.name}  ({item.spared})")
        if each.problem:
            screen.say(f"  cannot be judged: {each.problem.message}")


def _others(connection: Connection, *, shown: bool) -> tuple[list[Stranger], int]:
    """What others left, and how many objects were not judged; listed on standard output where `shown`."""
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import money
    from llm_deploy.targets.sagemaker import strangers

    seen = strangers.census(connection.session)
    others = list(strangers.strangers(connection.session, seen))
    if others and shown:
        screen.say("Not llmdeploy's, left alone unless adopted (`llmdeploy gc --adopt Kind/NAME`):")
        rows = [
            (f"{each.kind}/{each.name}", money(each.usd_per_hour), f"stack {each.stack}" if each.stack else each.why)
            for each in others
        ]
        for line in screen.table(rows, ("OBJECT", "BILLS", "WHY")):
            typer.echo(line)
    if not others:
        screen.say("Nothing of others bills or dangles.")
    if seen.hidden:
        screen.say(f"{seen.hidden} objects may not be looked at with these credentials and were not judged.")
    return others, seen.hidden


def _remove(what: Search, found: Sequence[Garbage], timeout_s: float) -> End:
    from llm_deploy.cli.main import show_error

    end = End()
    for each in found:
        try:
            _clear(what, each, timeout_s, end)
        except LlmDeployError as error:
            # What the others left lies about as well: each gets its chance before the run fails.
            end.failures[each.deployment] = error
            if error is not next(iter(end.failures.values())):
                show_error(error)
    return end


def _clear(what: Search, each: Garbage, timeout_s: float, end: End) -> None:
    """Remove what one deployment left, and look again."""
    from llm_deploy.cli import screen
    from llm_deploy.targets import garbage, teardown

    if each.problem is not None:
        raise each.problem
    screen.follow(garbage.remove(what, each, timeout_s=timeout_s), end.steps)
    left = [teardown.left(item, what.connection) for item in garbage.standing(what, each)]
    end.left += left
    if left:
        listed = "".join(f"\n  {item}" for item in left)
        raise LeftoverError(f"still there after the removal:{listed}", hint="Run the same command again.")


def _conclude(found: Sequence[Garbage], end: End, *, act: bool) -> None:
    """The last line, or the first failure."""
    from llm_deploy.cli import screen

    if end.failures:
        raise next(iter(end.failures.values()))
    count = sum(len(each.plan.changes) for each in found)
    if act and count:
        typer.secho("The garbage is gone; nothing of it left.", fg="green", err=True)
    else:
        screen.say(last_line(count, sum(each.problem is not None for each in found)))


def last_line(count: int, unjudged: int) -> str:
    """What a look has found: so many objects of garbage, and so many deployments that could not be judged."""
    from llm_deploy.deploy.receipt import counted

    but = f" {counted(unjudged, 'deployment')} could not be judged." if unjudged else ""
    if count:
        return f"Nothing was removed; --yes removes what is marked -: {count} in all.{but}"
    return f"No garbage in what could be judged.{but}" if unjudged else "No garbage."


def _adopt(name: str, connection: Connection, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.plan import short_kind
    from llm_deploy.targets.sagemaker import strangers

    found = strangers.find(connection.session, name)
    deployment = strangers.new_owner(connection.session, found)
    what = f"{short_kind(found.kind)} {found.name}"
    if not dry_run:
        screen.agree(f"Make {what} part of llmdeploy's deployment '{deployment}', to be removed with it?", yes=yes)
        strangers.adopt(connection.session, found, deployment)
    screen.say(f"{what} {'would be' if dry_run else 'is'} llmdeploy's, of deployment '{deployment}'.")
    if as_json:
        kind = short_kind(found.kind)
        screen.write_json({"kind": kind, "name": found.name, "deployment": deployment, "adopted": not dry_run})


def _document(found: Sequence[Garbage], others: Sequence[Stranger], hidden: int, end: End) -> dict[str, Any]:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.plan import short_kind
    from llm_deploy.deploy.receipt import removed, what_was_done

    return {
        "garbage": [
            {"deployment": each.deployment, "kind": short_kind(change.kind), "name": change.name, "why": change.note}
            for each in found
            for change in each.plan.changes
        ],
        "spared": [
            {
                "deployment": each.deployment,
                "kind": short_kind(item.found.kind),
                "name": item.found.name,
                "why": item.spared,
            }
            for each in found
            for item in each.spared
        ],
        "problems": [
            {"deployment": each.deployment, "problem": each.problem.message} for each in found if each.problem
        ],
        "others": screen.json_of(list(others)),
        "hidden": hidden,
        "removed": screen.json_of(list(removed(what_was_done(end.steps)))),
        "left": screen.json_of(end.left),
        "failed": [
            {"deployment": name, "error": error.message, "exit_code": error.exit_code}
            for name, error in end.failures.items()
        ],
    }
