"""What `llmdeploy bench` shows: progress, the table, what follows from it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from llm_deploy.bench.document import Phase, Report, Workload
    from llm_deploy.bench.load import Progress
    from llm_deploy.bench.null_model import Accuracy, Cost
    from llm_deploy.bench.service import LoadTest, Plan

PROGRESS_EVERY_S = 0.5
INTERRUPTED_EXIT_CODE = 130


async def watch(test: LoadTest) -> None:
    """A line that is written over, where there is a terminal."""
    if not sys.stderr.isatty():
        return
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        typer.echo(f"\r\033[K{_line(test.progress)}", nl=False, err=True)


def _line(progress: Progress) -> str:
    failed = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"  {progress.time_s:5.1f} s  {progress.sent} sent, {progress.ended} answered{failed},"
        f" {progress.under_way} under way"
    )


def say_phase(phase: Phase) -> None:
    """One line when a phase is over."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    state = "saturated" if phase.saturated else "meets the SLO" if phase.meets_slo else "misses the SLO"
    typer.echo(
        f"{clear}{phase.load}: {phase.requests_per_s:.2f} answers/s, {phase.tokens_per_s:.0f} tokens/s, TTFT p99"
        f" {phase.ttft.p99:.0f} ms, {100 * phase.good_share:.1f} % good, {state}",
        err=True,
    )


def check_writable(*paths: Path | None) -> None:
    """See, before a long test, that its report can be written.

    Raises:
        SpecError: It cannot.
    """
    from llm_deploy.errors import SpecError

    for path in filter(None, paths):
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise SpecError(f"{path} cannot be written", hint="Name a file in a folder that is there.")


def write(report: Report, *, html: Path | None, output: Path | None, as_json: bool) -> None:
    """The report, where it was asked for; a test that was stopped ends with Ctrl-C's exit code."""
    from llm_deploy.bench.page import page

    text = report.model_dump_json(indent=2)
    if html:
        html.write_text(page(report), "utf-8")
    if output:
        output.write_text(text + "\n", "utf-8")
    if as_json:
        typer.echo(text)
    else:
        _show(report)
    for path in filter(None, (html, output)):
        typer.echo(f"written: {path}", err=True)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _show(report: Report) -> None:
    from llm_deploy.bench.page import slo_words
    from llm_deploy.cli import screen

    rows = [
        (
            each.load,
            f"{each.requests_per_s:.2f}",
            f"{100 * each.good_share:.1f} %",
            f"{each.tokens_per_s:.0f}",
            f"{each.concurrency:.1f}",
            f"{each.ttft.p50:.0f} / {each.ttft.p99:.0f}",
            f"{each.gap.p50:.0f} / {each.gap.p99:.0f}",
            f"{each.total.p50:.0f} / {each.total.p99:.0f}",
            _errors(each),
            "saturated" if each.saturated else each.verdict,
        )
        for each in report.phases
    ]
    heads = ("LOAD", "ANSWERS/S", "GOOD", "TOKENS/S", "UNDER WAY", "TTFT p50/p99", "GAP p50/p99", "TOTAL p50/p99")
    for line in screen.table(rows, (*heads, "FAILED", "STATE")):
        typer.echo(line)
    typer.echo(f"latencies in ms; SLO: {slo_words(report)}")
    for line in _conclusions(report):
        typer.echo(line)


def _errors(phase: Phase) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in phase.errors.items()) or "0"


def _conclusions(report: Report) -> Sequence[str]:
    capacity, cost, generator = report.capacity, report.cost, report.generator
    lines = []
    if capacity.best_per_s is not None:
        lines.append(f"largest rate within the SLO   {capacity.best_per_s:.4g} per s")
    elif any(each.offered_per_s for each in report.phases):
        lines.append("largest rate within the SLO   none of the rates tried")
    if capacity.saturated_per_s is not None:
        lines.append(f"saturated from                {capacity.saturated_per_s:.4g} per s")
    lines.append(
        f"most throughput               {capacity.throughput_per_s:.4g} answers/s,"
        f" {capacity.throughput_tokens_per_s:.4g} tokens/s"
    )
    if cost and cost.usd_per_million_tokens is not None:
        lines.append(f"per million tokens            ${cost.usd_per_million_tokens:.2f} at the rate within the SLO")
    if cost and cost.usd_per_million_tokens_saturated is not None:
        lines.append(f"                              ${cost.usd_per_million_tokens_saturated:.2f} at most throughput")
    own = f"{100 * generator.cpu_share:.0f} % of a core, late by {generator.lag_p99:.1f} ms (p99)"
    lines.append(f"the generator itself          {own}")
    return [*lines, *(f"note: {note}" for note in report.notes)]


def show_plan(name: str, plan: Plan, workload: Workload, *, as_json: bool) -> None:
    """What would be run."""
    from llm_deploy.bench.service import planned
    from llm_deploy.cli import screen

    what = planned(plan)
    if as_json:
        screen.write_json({"target": name, "plan": what, "workload": workload.model_dump()})
        return
    typer.echo(f"{name}: prompts {workload.prompts}, answers of at most {workload.output_tokens} tokens")
    for line in what:
        typer.echo(f"  {line}")
    typer.echo("Nothing was sent.")


def show_self_test(cost: Cost, rows: Sequence[Accuracy]) -> None:
    """What the generator costs, and how far its figures are off."""
    from llm_deploy.cli import screen

    typer.echo(f"a request costs {cost.request_us:.0f} us of CPU, each token {cost.token_us:.1f} us")
    cells = [
        (
            f"{row.rate_per_s:g}",
            f"{row.reached_per_s:.1f}",
            f"{row.error_p50_ms:+.2f} / {row.error_p99_ms:+.2f}",
            f"{row.lag_p99_ms:.2f}",
            f"{100 * row.cpu_share:.0f} %",
        )
        for row in rows
    ]
    for line in screen.table(cells, ("RATE", "REACHED", "TTFT ERROR p50/p99, ms", "LATE p99, ms", "CPU")):
        typer.echo(line)
    typer.echo("against a model in this process that answers on time: what the figures of a real test are off by")
