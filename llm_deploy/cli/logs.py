"""`llmdeploy logs`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.targets.sagemaker.logs import LogLine

FOLLOW_EVERY_S = 2.0
OVERLAP_MS = 10_000
"""Lines may become visible late; each look goes back this far and leaves out what was shown."""


def logs(
    name: options.Name,
    target: options.Target = None,
    tail: Annotated[int, typer.Option("--tail", metavar="LINES", min=0, help="Last lines only; 0: all.")] = 100,
    since_s: Annotated[float | None, typer.Option("--since", metavar="SECONDS", help="Not older than this.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Read what the containers of a deployment wrote, oldest first. Works after its deletion too."""
    from llm_deploy.cli import screen
    from llm_deploy.errors import NotFoundError
    from llm_deploy.targets import deployment
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.sagemaker import logs as cloud_logs

    connection = connect(target)
    components = deployment.component_names(connection, name) or [name]
    groups = cloud_logs.log_groups(name, components)
    since_ms = 0 if since_s is None else int((time.time() - since_s) * 1000)
    lines = cloud_logs.read(connection.session, groups, since_ms=since_ms)
    shown = lines[-tail:] if tail else lines
    if not shown and not follow:
        raise NotFoundError(
            f"no log lines of '{name}' yet",
            hint="A container that fails before it starts writes none; `llmdeploy status` tells the reason.",
        )
    if as_json and not follow:
        screen.write_json(screen.json_of(shown))
        return
    for line in shown:
        typer.echo(_line(line))
    seen = {line.event_id for line in lines}
    while follow:
        time.sleep(FOLLOW_EVERY_S)
        newest_ms = max((line.time_ms for line in lines), default=0)
        lines = cloud_logs.read(connection.session, groups, since_ms=max(0, newest_ms - OVERLAP_MS))
        for line in lines:
            if line.event_id not in seen:
                seen.add(line.event_id)
                typer.echo(_line(line))


def _line(line: LogLine) -> str:
    moment = datetime.fromtimestamp(line.time_ms / 1000, UTC).strftime("%H:%M:%S")
    return f"{moment}  {line.stream}  {line.text}"
