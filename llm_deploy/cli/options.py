"""Options that many commands share, so that they read the same everywhere."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

Target = Annotated[
    str | None,
    typer.Option("--target", metavar="TARGET", help="sagemaker or local; else LLMDEPLOY_TARGET, else sagemaker."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")]
LONGEST_WAIT_S = 3600.0
"""Default of `--timeout`: an hour, as in `deploy.service`, whose import `--help` need not pay for."""
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Longest time to wait.")]


class Via(Enum):
    """What makes the objects in our place."""

    CLOUDFORMATION = "cloudformation"


def checked_name(name: str) -> str:
    """A deployment's name as AWS takes it. Raises SpecError for any other, before a cloud is asked."""
    import re

    from llm_deploy.errors import SpecError
    from llm_deploy.spec.fields import EXPECTED, NAME_LENGTH, NAME_PATTERN

    if len(name) > NAME_LENGTH or re.fullmatch(NAME_PATTERN, name) is None:
        raise SpecError(
            f"{name[:NAME_LENGTH]!r} is no deployment's name; expected {EXPECTED[NAME_PATTERN]}, "
            f"at most {NAME_LENGTH} characters"
        )
    return name


Name = Annotated[str, typer.Argument(metavar="NAME", help="The deployment's name.", callback=checked_name)]


def span_s(option: str, text: str | None) -> float | None:
    """A span of time as people write it, in seconds; `None` stays `None`. Raises SpecError for anything else."""
    from llm_deploy.errors import SpecError
    from llm_deploy.spec import durations

    try:
        return None if text is None else durations.seconds(text)
    except ValueError as error:
        raise SpecError(f"{option}: {error}") from error


def pairs(assignments: list[str]) -> dict[str, str]:
    """`["a.b=c"]` → `{"a.b": "c"}`. Raises SpecError for one without a field or an equals sign."""
    from llm_deploy.errors import SpecError

    found = {}
    for assignment in assignments:
        field, separator, value = assignment.partition("=")
        if not separator or not field.strip():
            raise SpecError(f"--set {assignment}: expected FIELD=VALUE, for example --set instance.type=ml.g6.xlarge")
        found[field.strip()] = value
    return found
