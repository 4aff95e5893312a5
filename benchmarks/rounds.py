"""How every benchmark here measures programs: in turns, as fresh processes, by medians, beside a peer.

One round runs every contender once; the next round runs them in the opposite order, so that a neighbour's load or a
drifting clock rate meets all of them alike. CPU is that of the process and its children, as the kernel counts it.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WARM_UP_ROUNDS = 2
"""The first run reads files from the disk and may write byte code; nobody is measured by it."""


@dataclass(frozen=True)
class Contender:
    """A program to measure, with its arguments, its whole environment and the folder that it runs in."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True)
class Sample:
    """One run: milliseconds from start to end, milliseconds of CPU (user and system), and the largest memory."""

    wall_ms: float
    cpu_ms: float
    peak_mib: float


def run_once(contender: Contender) -> Sample:
    """Run it to its end with its output thrown away.

    Raises:
        SystemExit: It failed, so that there is nothing to measure; its error output is the message.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        contender.command,
        env=dict(contender.environment),
        cwd=contender.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender.name}: exit code {process.returncode}")
    return Sample(1000 * wall_s, 1000 * (usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1024)


def interleaved(
    contenders: Sequence[Contender], rounds: int, run: Callable[[Contender], Sample] = run_once
) -> dict[str, list[Sample]]:
    """Measure all of them, `rounds` times in turns; samples by name, in the order of the rounds."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(-WARM_UP_ROUNDS, rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            sample = run(contender)
            if number >= 0:
                samples[contender.name].append(sample)
    return samples


def median(samples: Sequence[Sample]) -> Sample:
    """The medians of each figure."""
    return Sample(
        statistics.median(sample.wall_ms for sample in samples),
        statistics.median(sample.cpu_ms for sample in samples),
        statistics.median(sample.peak_mib for sample in samples),
    )


def spread(values: Iterable[float]) -> str:
    """The quartiles, as `0.17 to 0.21`."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.2f} to {high:.2f}"


def verdict(value: float, target: float) -> str:
    """A target with what became of it."""
    return f"<= {target:g}{': met' if value <= target else ': **missed**'}"


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """One line about where this was measured."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "CPU"
    )
    memory_kib = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model}), {int(memory_kib) / 1024**2:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}, load average {load}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []
