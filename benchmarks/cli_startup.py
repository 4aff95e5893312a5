"""Start-up of the command line: `llmdeploy --help` and `llmdeploy list` beside the AWS CLI's nearest commands.

Run: `python -m benchmarks.cli_startup [--rounds 15]` (Linux; about two minutes). The AWS CLI is installed into an
environment of its own the first time, below the cache folder. Both environments are byte-compiled; both programs ask
the same local cloud, first empty, then with one endpoint that `llmdeploy` deployed.

`list` is measured twice: with the local target, which first asks the local cloud whether it is up, and with the
variables that the AWS CLI gets, as against AWS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks.local_cloud import LLMDEPLOY, ROOT, LocalCloud, byte_compile, running_cloud
from benchmarks.rounds import Contender, Sample, interleaved, machine, markdown_table, median, spread, verdict

CONFIG = ROOT / "configs" / "smollm2.yaml"
AWS_CLI_VERSION = "1.46.3"
HELP_TARGET = 0.25
LIST_TARGET = 0.9


def aws_cli() -> Path:
    """The AWS CLI in an environment of its own, made when it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "llmdeploy-benchmarks" / f"awscli-{AWS_CLI_VERSION}"
    if not (folder / "bin" / "aws").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"awscli=={AWS_CLI_VERSION}"], check=True)
    byte_compile([folder / "lib"])
    return folder / "bin" / "aws"


def contenders(cloud: LocalCloud, aws: Path, *, deployed: bool) -> list[Contender]:
    """The commands in question; each of ours follows its peer."""
    theirs, ours, folder = cloud.aws_environment, cloud.environment, cloud.folder
    listing = [
        Contender("`aws sagemaker list-endpoints`", [aws, "sagemaker", "list-endpoints"], theirs, folder),
        Contender("`llmdeploy list`", [LLMDEPLOY, "list"], theirs, folder),
        Contender("`llmdeploy list --target local`", [LLMDEPLOY, "list"], ours, folder),
    ]
    if deployed:
        return listing
    return [
        Contender("`aws --version`", [aws, "--version"], theirs, folder),
        Contender("`llmdeploy --help`", [LLMDEPLOY, "--help"], ours, folder),
        *listing,
    ]


def table(measured: dict[str, list[Sample]], note: str) -> list[list[str]]:
    """One row a command: its medians, and those of ours relative to the peer before it."""
    rows, peer = [], list[Sample]()
    for name, samples in measured.items():
        if name.startswith("`aws"):
            peer = samples
        rows.append(row(name, note, samples, peer))
    return rows


def row(name: str, note: str, samples: Sequence[Sample], peer: Sequence[Sample]) -> list[str]:
    """The medians of a command; for one of ours also the ratios, and the quartiles of the rounds' ratios."""
    middle, base = median(samples), median(peer)
    figures = [name + note, f"{middle.wall_ms:.0f}", f"{middle.cpu_ms:.0f}", f"{middle.peak_mib:.0f}"]
    if samples is peer:
        return [*figures, "1", "1", "", ""]
    wall, cpu = middle.wall_ms / base.wall_ms, middle.cpu_ms / base.cpu_ms
    rounds = spread(a.wall_ms / b.wall_ms for a, b in zip(samples, peer, strict=True))
    target = HELP_TARGET if "--help" in name else LIST_TARGET
    return [*figures, f"**{wall:.2f}**", f"{cpu:.2f}", rounds, verdict(wall, target)]


def main() -> None:
    """Start a cloud, measure, deploy, measure again, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    aws = aws_cli()
    byte_compile([Path(sysconfig.get_path("purelib")), ROOT / "llm_deploy"])
    with running_cloud() as cloud:
        rows = table(interleaved(contenders(cloud, aws, deployed=False), rounds), "")
        cloud.llmdeploy("deploy-endpoint", str(CONFIG), "--yes")
        rows += table(interleaved(contenders(cloud, aws, deployed=True), rounds), ", one endpoint")
        cloud.llmdeploy("delete-endpoint", str(CONFIG), "--yes")
    headers = ["command", "wall, ms", "CPU, ms", "peak, MiB", "wall ratio", "CPU ratio", "quartiles", "target"]
    print(f"AWS CLI {AWS_CLI_VERSION}; {rounds} rounds, medians; {machine()}\n")
    print(markdown_table(headers, rows))


if __name__ == "__main__":
    main()
