"""Run every benchmark and write `docs/reference/benchmarks.md`: `make bench` (Linux; 35 minutes, a quiet machine).

`python -m benchmarks.run client_calls gateway` measures these alone and leaves the page's other sections as they are;
what follows `--` is given to them (`-- --rounds 3`) and stands in the page.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`; no figure here is edited by hand. Programs take turns in every round and the figures
are medians, because the machine is shared; ratios are steadier than milliseconds. They say what our own code costs on
one small machine. They are not AWS's times, and a 135M model on a CPU says nothing about a model on a GPU.

What is loaded: `llmdeploy` runs from the development environment, the AWS CLI from one of its own, both byte-compiled;
both ask the same local cloud, with no network in between. Clients and gateways ask a stub server that answers at once,
over loopback: what is measured is what lies between an application and its model. The load averages count the benchmark
itself and whatever else the machine was doing. Where a ratio is near its target, look at the quartiles before you
believe it.
"""
SECTIONS = (
    ("Start-up of the command line", "benchmarks.cli_startup"),
    ("Importing the client", "benchmarks.import_time"),
    ("Rendering a template and planning", "benchmarks.planning"),
    ("Start of the local cloud", "benchmarks.local_cloud_start"),
    ("CPU of the model server beside the bare engine", "benchmarks.serving_overhead"),
    ("Clients beside boto3 and aiobotocore", "benchmarks.client_calls"),
    ("The gateway beside FastAPI + aiobotocore and LiteLLM", "benchmarks.gateway"),
)


def section(title: str, module: str, options: list[str]) -> str:
    """One benchmark's output under its title, with the command that gives it and the day."""
    print(f"{title} ...", flush=True)
    command = ["-m", module, *options]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return f"{_heading(title)}\n    python {' '.join(command)}    # {day}\n\n{done.stdout.strip()}\n"


def standing(title: str) -> str:
    """A section as it stands in the page; empty where it does not."""
    _, found, rest = PAGE.read_text("utf-8").partition(_heading(title))
    return found + rest.partition("\n## ")[0].rstrip("\n") + "\n" if found else ""


def _heading(title: str) -> str:
    return f"\n## {title}\n"


def main(arguments: list[str]) -> None:
    """All of them, one after the other; or those that are named, the others staying as they are."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen, options = arguments[:end], arguments[end + 1 :]
    sections = [
        section(title, module, options) if not chosen or module.rpartition(".")[2] in chosen else standing(title)
        for title, module in SECTIONS
    ]
    PAGE.write_text(HEAD + "".join(sections), "utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
