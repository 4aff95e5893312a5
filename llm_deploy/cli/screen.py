"""What people see: plans, progress and receipts. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.plan import Action, Change, Plan, short_kind
from llm_deploy.deploy.receipt import Receipt, masked_difference
from llm_deploy.errors import SpecError

_COLOURS = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REPLACE: "yellow",
    Action.DELETE: "red",
    Action.KEEP: None,
}
_DOING = {
    Action.CREATE: "creating",
    Action.UPDATE: "updating",
    Action.REPLACE: "replacing",
    Action.DELETE: "deleting",
    Action.KEEP: "waiting for",
}
_DONE = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.KEEP: "in place",
}
PLAIN_PROGRESS_EVERY_S = 15.0
SHOWN_DIFFERENCES = 6
SHOWN_LOG_CHARACTERS = 100


def write_json(document: object) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(document, indent=2, default=str))


def say(text: str) -> None:
    """A line for the person, out of the way of results."""
    typer.echo(text, err=True)


def show_plan(plan: Plan, title: str) -> None:
    """Every object, what happens to it and what it is for."""
    say(title)
    width = max((len(short_kind(change.kind)) for change in plan.changes), default=0)
    for change in plan.changes:
        typer.secho(_plan_line(change, width), fg=_COLOURS[change.action], err=True)
        for difference in map(masked_difference, change.differences[:SHOWN_DIFFERENCES]):
            say(f"        {difference.path}: {difference.found!r} -> {difference.wanted!r}")
        if len(change.differences) > SHOWN_DIFFERENCES:
            say(f"        and {len(change.differences) - SHOWN_DIFFERENCES} more")


def count_line(plan: Plan) -> str:
    """How many of what: `Plan: 4 to create, 1 to update.` or `Nothing to change.`."""
    words = {Action.CREATE: "create", Action.UPDATE: "update", Action.REPLACE: "replace", Action.DELETE: "delete"}
    counts = {word: sum(change.action is action for change in plan.changes) for action, word in words.items()}
    parts = [f"{count} to {word}" for word, count in counts.items() if count]
    return f"Plan: {', '.join(parts)}." if parts else "Nothing to change."


def agree(question: str, *, yes: bool, can_look: bool = True) -> None:
    """Go on, or stop with exit code 1 when the person says no.

    Args:
        question: What is about to be done.
        yes: The person has agreed beforehand.
        can_look: Whether the command has `--dry-run`, which the message then names.

    Raises:
        SpecError: There is nobody to ask and `--yes` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        hint = "Add --yes, or --dry-run to look." if can_look else "Add --yes."
        raise SpecError("this changes something and there is nobody to ask.", hint=hint)
    if not typer.confirm(question, err=True):
        say("Nothing was changed.")
        raise typer.Exit(1)


def follow(steps: Iterable[Step], seen: list[Step] | None = None) -> list[Step]:
    """Show steps as they happen: a live line on a terminal, a line now and then elsewhere. Returns all of them.

    They are added to `seen` one by one, for who wants those before an error.
    """
    seen = [] if seen is None else seen
    with _progress() as show:
        for step in steps:
            seen.append(step)
            show(step)
    return seen


def show_receipt(receipt: Receipt, headline: str) -> None:
    """What was done, how long it took, what it costs now, and the proof."""
    typer.secho(headline, fg="green", err=True)
    if receipt.smoke is not None:
        say(f"  asked    {receipt.smoke.prompt}")
        say(f"  answered {receipt.smoke.text.strip()!r} in {receipt.smoke.total_s:.1f} s")
    cost = "unknown" if receipt.usd_per_hour is None else f"${receipt.usd_per_hour:.2f}/h"
    say(f"  bills    {cost}, AWS's list price: {receipt.price_note}" if receipt.price_note else f"  bills    {cost}")


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> Iterator[str]:
    """Rows as aligned lines under their headers."""
    widths = [max(len(str(row[column])) for row in [headers, *rows]) for column in range(len(headers))]
    for row in [headers, *rows]:
        yield "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _plan_line(change: Change, width: int) -> str:
    tail = "; ".join(part for part in (change.purpose, change.note) if part)
    return f"  {change.action.value} {short_kind(change.kind):<{width}}  {change.name}" + (
        f"  ({tail})" if tail else ""
    )


@contextmanager
def _progress() -> Iterator[Callable[[Step], None]]:
    if sys.stderr.isatty():
        with _live() as show:
            yield show
    else:
        yield _PlainProgress()


class _PlainProgress:
    """Lines for logs: every change of state, and every so often that it still waits."""

    def __init__(self) -> None:
        self._last: tuple[str, str, str] | None = None
        self._said_at = 0.0

    def __call__(self, step: Step) -> None:
        """Say what happened, if it is news."""
        if step.stage is Stage.STARTED:
            return
        if step.stage is Stage.DONE:
            say(_done_line(step))
            return
        now = time.monotonic()
        state = (step.kind, step.name, step.status + step.detail)
        if state != self._last or now - self._said_at >= PLAIN_PROGRESS_EVERY_S:
            self._last, self._said_at = state, now
            say(_waiting_line(step))


@contextmanager
def _live() -> Iterator[Callable[[Step], None]]:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:

        def show(step: Step) -> None:
            if step.stage is Stage.DONE:
                console.print(_done_line(step), markup=False)
            else:
                status.update(_waiting_line(step).strip().replace("[", "\\["))

        yield show


def _done_line(step: Step) -> str:
    status = f" ({step.status})" if step.status and step.status != "gone" else ""
    return f"  {_DONE[step.action]:<9} {short_kind(step.kind)} {step.name}{status}  {step.elapsed_s:.1f} s"


def _waiting_line(step: Step) -> str:
    status = f": {step.status}" if step.status else ""
    said = f"  | {step.detail[:SHOWN_LOG_CHARACTERS]}" if step.detail else ""
    return f"  {_DOING[step.action]} {short_kind(step.kind)} {step.name}{status}  {step.elapsed_s:.0f} s{said}"


def json_of(value: Any) -> Any:  # noqa: ANN401 - dataclasses in, plain data out
    """Dataclasses as plain data."""
    from dataclasses import asdict

    return [asdict(item) for item in value] if isinstance(value, list) else asdict(value)
