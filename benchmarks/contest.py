"""Measurements that are programs: fresh processes in turns that print figures as JSON; their medians as a table.

What `rounds.py` is for CPU and time of whole programs, this is for figures that a program takes of itself. Ratios are
of the two sides of one round, and the median of those is what a target is held against.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from benchmarks.rounds import markdown_table, spread

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S = 180
Figures = dict[str, float]


@dataclass(frozen=True)
class Measurement:
    """A program that takes figures of itself and prints them as its last line."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)

    def take(self) -> Figures:
        """Run it.

        Raises:
            SystemExit: It failed; there is nothing to compare then.
        """
        with tempfile.TemporaryDirectory(prefix="llmdeploy-bench-") as folder:
            done = subprocess.run(
                self.command,
                cwd=folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST_S,
            )
        if done.returncode:
            raise SystemExit(f"{self.name}: exit code {done.returncode}\n{done.stderr[-4000:]}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


def in_turns(measurements: Sequence[Measurement], rounds: int) -> dict[str, list[Figures]]:
    """Take each once a round, every second round in the opposite order; figures by name, in the order of rounds."""
    taken: dict[str, list[Figures]] = {each.name: [] for each in measurements}
    for number in range(rounds):
        for each in measurements if number % 2 == 0 else reversed(measurements):
            taken[each.name].append(each.take())
        print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return taken


def column(taken: Mapping[str, Sequence[Figures]], name: str, figure: str) -> list[float]:
    """One figure of one measurement, round by round."""
    return [figures[figure] for figures in taken[name]]


@dataclass(frozen=True)
class Line:
    """One line of a table of targets.

    Attributes:
        ours: Our side's figure in each round.
        peer: The peer's in the same round; a constant where the target is no ratio.
        target: What the median of `ours / peer` shall not exceed, or reach.
    """

    what: str
    ours: Sequence[float]
    peer: Sequence[float]
    peer_name: str
    unit: str
    target: float
    aim: Literal["at most", "at least"] = "at most"

    def cells(self) -> list[str]:
        """The line as text."""
        ratios = [own / other for own, other in zip(self.ours, self.peer, strict=True)]
        ratio, at_most = median(ratios), self.aim == "at most"
        met = ratio <= self.target if at_most else ratio >= self.target
        sign = "<=" if at_most else ">="
        return [
            self.what,
            f"{figure(median(self.ours))} {self.unit}",
            f"{figure(median(self.peer))} {self.unit} ({self.peer_name})",
            f"**{figure(ratio)}x**",
            spread(ratios) if len(ratios) > 1 else "",
            f"{sign} {self.target:g}x: {'met' if met else '**missed**'}",
        ]


def table(lines: Sequence[Line]) -> str:
    """The lines as Markdown."""
    return markdown_table(["what", "ours", "beside", "ratio", "quartiles", "target"], [line.cells() for line in lines])


def figure(value: float) -> str:
    """Three digits that say something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


@contextlib.contextmanager
def stub(*options: str) -> Iterator[tuple[str, str | None]]:
    """A running stub server: its address and, over TLS, the file of its certificate."""
    command = [sys.executable, "-m", "benchmarks.stub", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("the stub has no pipes")
        address = process.stdout.readline().strip()
        certificate = process.stdout.readline().strip() if "--tls" in options else None
        try:
            yield address, certificate
        finally:
            process.stdin.close()
            process.wait(10)


def plain_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would point a client anywhere, and with byte code written."""
    unwanted = ("AWS_", "LLMDEPLOY_", "PYTHON", "OPENAI_", "LITELLM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    quiet = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*", "PYTHONPATH": str(ROOT)}
    return kept | quiet | more
