"""`llmdeploy reap`: delete what has outlived its ttl, or an age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options
from llm_deploy.errors import LlmDeployError

if TYPE_CHECKING:
    from llm_deploy.aws import Session
    from llm_deploy.deploy.receipt import Receipt
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.sagemaker.lifetimes import Lifetime

    Choice = Callable[[Sequence[Lifetime]], Sequence[Lifetime]]
    """Which of some deployments have to go."""


@dataclass(slots=True)
class End:
    """What became of what had to go.

    Attributes:
        spared: Names of what was deployed again before its turn came.
    """

    receipts: list[Receipt] = field(default_factory=list)
    failures: dict[str, LlmDeployError] = field(default_factory=dict)
    spared: list[str] = field(default_factory=list)


def reap(
    target: options.Target = None,
    expired: Annotated[bool, typer.Option("--expired", help="What has outlived its ttl; the default.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="What is older than this: 12h, 2d, PT90M.")
    ] = None,
    prefix: Annotated[str, typer.Option("--name", metavar="PREFIX", help="Only names that begin with this.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go and stop; the default.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete.")] = False,
    as_json: options.AsJson = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Delete deployments that have outlived their ttl, or an age. Shows what would go unless --yes is given.

    \b
    llmdeploy reap --expired --yes           # for a scheduled job
    llmdeploy reap --older-than 12h --name dev-

    Each deployment is deleted as delete-endpoint does it. One that fails does not keep the others; the exit code is
    0 when all that had to go is gone, else that of the first failure. What was deployed again meanwhile is spared.
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect

    older_than_s = options.span_s("--older-than", older_than)
    connection = connect(target)
    screen.say(connection.describe())
    found = list(_lifetimes(connection, prefix))
    choice = partial(chosen, expired=expired or older_than_s is None, older_than_s=older_than_s)
    doomed = choice(found)
    if not as_json:
        _show(found, doomed)
    act = yes and not dry_run
    end = _delete(doomed if act else (), choice, connection, timeout_s)
    if as_json:
        screen.write_json(_document(found, doomed, end))
    if doomed and not act:
        screen.say(f"Nothing was deleted; --yes deletes {len(doomed)} of {len(found)}.")
    if end.failures:
        raise next(iter(end.failures.values()))


def chosen(found: Sequence[Lifetime], *, expired: bool, older_than_s: float | None) -> list[Lifetime]:
    """Those that have to go: expired ones where asked for, and those above an age where one is given."""
    return [
        each
        for each in found
        if each.status != "Deleting"
        and (
            (expired and each.left_s is not None and each.left_s <= 0)
            or (older_than_s is not None and each.age_s > older_than_s)
        )
    ]


def spared(name: str, choice: Choice, session: Session) -> str:
    """Why a deployment that had to go need not any more; empty when it still has to."""
    from llm_deploy.targets.sagemaker import lifetimes
    from llm_deploy.targets.sagemaker.lifetimes import remaining

    fresh = list(lifetimes.lifetimes(session, iter([name]), lifetimes.now()))
    if not fresh or choice(fresh):
        return ""  # of one without an endpoint, the rest still has to go
    if fresh[0].status == "Deleting":
        return "it is being deleted already"
    left_s = fresh[0].left_s
    return "it was deployed again meanwhile" + ("" if left_s is None else f", {remaining(left_s)}")


def _lifetimes(connection: Connection, prefix: str) -> Sequence[Lifetime]:
    from llm_deploy.targets.sagemaker import lifetimes
    from llm_deploy.targets.sagemaker.overview import deployments

    names = (item.name for item in deployments(connection.session) if not item.orphan and item.name.startswith(prefix))
    return list(lifetimes.lifetimes(connection.session, names, lifetimes.now()))


def _delete(
    doomed: Sequence[Lifetime],
    choice: Choice,
    connection: Connection,
    timeout_s: float,
) -> End:
    from llm_deploy.cli import delete, screen
    from llm_deploy.cli.main import show_error
    from llm_deploy.targets import teardown

    end = End()
    for each in doomed:
        try:
            # Deletions take long: whoever saw that this one expires may have deployed it again by now.
            if why := spared(each.name, choice, connection.session):
                end.spared.append(each.name)
                screen.say(f"{each.name} is spared: {why}.")
                continue
            found = teardown.prepare(each.name, connection)
            delete.show(found)
            end.receipts.append(delete.remove(found, timeout_s=timeout_s, as_json=False))
        except LlmDeployError as error:
            # The others bill as well: each gets its chance before the run fails.
            end.failures[each.name] = error
            if error is not next(iter(end.failures.values())):
                show_error(error)
    return end


def _show(found: Sequence[Lifetime], doomed: Sequence[Lifetime]) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import money
    from llm_deploy.targets.sagemaker.lifetimes import remaining, rough

    if not found:
        screen.say("No deployments.")
        return
    rows = [
        (
            each.name,
            each.status,
            rough(each.age_s),
            "-" if each.left_s is None else remaining(each.left_s),
            money(each.usd_per_hour),
            "unknown" if each.usd_so_far is None else f"${each.usd_so_far:.2f}",
            "delete" if each in doomed else "keep",
        )
        for each in found
    ]
    for line in screen.table(rows, ("NAME", "STATUS", "AGE", "TTL", "BILLS", "SO FAR", "")):
        typer.echo(line)
    screen.say("Money is today's machines at list price, over the whole age.")


def _document(
    found: Sequence[Lifetime],
    doomed: Sequence[Lifetime],
    end: End,
) -> dict[str, Any]:
    from llm_deploy.cli import screen

    return {
        "deployments": [{**screen.json_of(each), "delete": each in doomed} for each in found],
        "deleted": [receipt.document() for receipt in end.receipts],
        "spared": end.spared,
        "failed": [
            {"name": name, "error": error.message, "exit_code": error.exit_code} for name, error in end.failures.items()
        ],
    }
