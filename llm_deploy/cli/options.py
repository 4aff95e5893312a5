"""Options that many commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Target = Annotated[
    str | None,
    typer.Option("--target", metavar="TARGET", help="sagemaker or local; else LLMDEPLOY_TARGET, else sagemaker."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Longest time to wait.")]
EXISTING_NAME = typer.Argument(metavar="NAME", help="The deployment's name.")
Name = Annotated[str, EXISTING_NAME]
