"""`llmdeploy logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
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
    """Read what the containers of a deployment wrote, oldest first. Works after its deletion too.

    With --json: one document; with --follow as well, one line a log line.
    """
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
        if since_s is None or not cloud_logs.exist(connection.session, groups):
            raise NotFoundError(
                f"no log lines of '{name}' yet",
                hint="A container that fails before it starts writes none; `llmdeploy status` tells the reason.",
            )
        screen.say(f"No log lines of '{name}' in the last {since_s:g} s.")
    if as_json and not follow:
        screen.write_json(screen.json_of(shown))
        return
    written = _json_line if as_json else _line
    for line in shown:
        typer.echo(written(line))
    if follow:
        for line in _new_lines(
            lambda since_ms: cloud_logs.read(connection.session, groups, since_ms=since_ms), lines, since_ms
        ):
            typer.echo(written(line))


def _new_lines(
    read: Callable[[int], list[LogLine]],
    shown: Iterable[LogLine],
    since_ms: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """Lines as they become visible, each once; `read` is given the moment (Unix time in ms) to read from."""
    seen = {line.event_id for line in shown}
    newest_ms = max((line.time_ms for line in shown), default=since_ms)
    while True:
        sleep(FOLLOW_EVERY_S)
        for line in read(max(since_ms, newest_ms - OVERLAP_MS)):
            newest_ms = max(newest_ms, line.time_ms)
            if line.event_id not in seen:
                seen.add(line.event_id)
                yield line


def _json_line(line: LogLine) -> str:
    return json.dumps(asdict(line))


def _line(line: LogLine) -> str:
    moment = datetime.fromtimestamp(line.time_ms / 1000, UTC).strftime("%H:%M:%S")
    return f"{moment}  {line.stream}  {line.text}"
