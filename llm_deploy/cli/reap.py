"""`llmdeploy reap`: delete what has outlived its ttl, or an age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options
from llm_deploy.errors import LlmDeployError

if TYPE_CHECKING:
    from llm_deploy.deploy.receipt import Receipt
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.sagemaker.lifetimes import Lifetime


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
    0 when all that had to go is gone, else that of the first failure.
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.targets.registry import connect

    older_than_s = options.span_s("--older-than", older_than)
    connection = connect(target)
    screen.say(connection.describe())
    found = list(_lifetimes(connection, prefix))
    doomed = chosen(found, expired=expired or older_than_s is None, older_than_s=older_than_s)
    if not as_json:
        _show(found, doomed)
    act = yes and not dry_run
    receipts, failures = _delete(doomed if act else (), connection, timeout_s)
    if as_json:
        screen.write_json(_document(found, doomed, receipts, failures))
    if doomed and not act:
        screen.say(f"Nothing was deleted; --yes deletes {len(doomed)} of {len(found)}.")
    if failures:
        raise next(iter(failures.values()))


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


def _lifetimes(connection: Connection, prefix: str) -> Sequence[Lifetime]:
    from llm_deploy.targets.sagemaker import lifetimes
    from llm_deploy.targets.sagemaker.overview import deployments

    names = (item.name for item in deployments(connection.session) if not item.orphan and item.name.startswith(prefix))
    return list(lifetimes.lifetimes(connection.session, names, lifetimes.now()))


def _delete(
    doomed: Sequence[Lifetime], connection: Connection, timeout_s: float
) -> tuple[list[Receipt], dict[str, LlmDeployError]]:
    from llm_deploy.cli import delete
    from llm_deploy.cli.main import show_error
    from llm_deploy.targets import teardown

    receipts: list[Receipt] = []
    failures: dict[str, LlmDeployError] = {}
    for each in doomed:
        try:
            found = teardown.prepare(each.name, connection)
            delete.show(found)
            receipts.append(delete.remove(found, timeout_s=timeout_s, as_json=False))
        except LlmDeployError as error:
            # The others bill as well: each gets its chance before the run fails.
            failures[each.name] = error
            if error is not next(iter(failures.values())):
                show_error(error)
    return receipts, failures


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
    receipts: Sequence[Receipt],
    failures: dict[str, LlmDeployError],
) -> dict[str, Any]:
    from llm_deploy.cli import screen

    return {
        "deployments": [{**screen.json_of(each), "delete": each in doomed} for each in found],
        "deleted": [receipt.document() for receipt in receipts],
        "failed": [
            {"name": name, "error": error.message, "exit_code": error.exit_code} for name, error in failures.items()
        ],
    }
