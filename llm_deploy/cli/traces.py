"""`llmdeploy traces`: what the store on this machine holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.tracing.reading import StoredSpan

app = typer.Typer(
    help="Read the traces of questions and answers that were stored on this machine.", no_args_is_help=True
)

Database = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="The store; else LLMDEPLOY_TRACING_LOCAL_PATH, else the state folder's."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Begun not longer ago than this: 15m, 1h, 2d.")
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="With a call of this model.")]


def store_path(given: Path | None) -> Path:
    """Where the store is."""
    import os

    from llm_deploy.settings.announcement import state_dir
    from llm_deploy.tracing.store_place import PATH_VARIABLE, STATE_FOLDER, STORE_NAME

    own = os.environ.get(PATH_VARIABLE)
    return given or (Path(own) if own else state_dir(STATE_FOLDER) / STORE_NAME)


@app.command("list")
def list_traces(
    since: Since = None,
    slow: Annotated[bool, typer.Option("--slow", help="Slowest first, instead of newest.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only those with an error.")] = False,
    model: Model = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", min=1, max=10_000, help="At most so many.")] = 50,
    database: Database = None,
    as_json: options.AsJson = False,
) -> None:
    """List traces, one a line, newest first."""
    from llm_deploy.cli import screen, trace_text
    from llm_deploy.tracing.reading import Wanted, opened

    wanted = Wanted(since_ns=_since_ns(since), errors=errors, model=model, slowest_first=slow, limit=limit)
    with opened(store_path(database)) as store:
        found = store.traces(wanted)
    if as_json:
        screen.write_json(screen.json_of(found))
        return
    if not found:
        screen.say("No such traces.")
    for line in trace_text.list_lines(found) if found else ():
        typer.echo(line)


@app.command()
def show(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="A trace's id, the beginning of one, or: last.")],
    full: Annotated[bool, typer.Option("--full", help="Whole texts instead of their first lines.")] = False,
    database: Database = None,
    as_json: options.AsJson = False,
) -> None:
    """Show one trace as a tree: times, queries, documents with scores, prompt, answer, tokens."""
    from llm_deploy.cli import screen, trace_text
    from llm_deploy.tracing.reading import opened, summary

    with opened(store_path(database)) as store:
        spans = store.spans(store.named(trace))
    if as_json:
        screen.write_json(screen.json_of(summary(spans)) | {"spans": screen.json_of(spans)})
        return
    for line in trace_text.tree_lines(spans, full=full):
        typer.echo(line)


@app.command()
def stats(since: Since = None, database: Database = None, as_json: options.AsJson = False) -> None:
    """Show latencies by kind of question, and calls, tokens and latencies by model."""
    from llm_deploy.cli import screen, trace_text
    from llm_deploy.tracing.figures import figures
    from llm_deploy.tracing.reading import opened

    with opened(store_path(database)) as store:
        found = figures(store.since(_since_ns(since)))
    if as_json:
        screen.write_json(screen.json_of(found))
        return
    for line in trace_text.figure_lines(found):
        typer.echo(line)


@app.command()
def export(
    otlp: Annotated[
        str | None,
        typer.Option("--otlp", metavar="URL", help="Send to this back end; OTEL_EXPORTER_OTLP_HEADERS is honoured."),
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Write one line of JSON a span on standard output.")] = False,
    since: Since = None,
    database: Database = None,
    as_json: options.AsJson = False,
) -> None:
    """Send stored traces to an OTLP back end, or write them as JSON lines. The store keeps them."""
    from llm_deploy.cli import screen
    from llm_deploy.errors import SpecError
    from llm_deploy.tracing.reading import opened

    if (otlp is None) == (not jsonl):
        raise SpecError("expected one of --otlp URL and --jsonl")
    with opened(store_path(database)) as store:
        spans = (span for trace in store.since(_since_ns(since)) for span in trace)
        if otlp is None:
            _write_lines(spans)
            return
        sent = _send(spans, otlp)
    if as_json:
        screen.write_json({"spans": sent, "to": otlp})
    else:
        screen.say(f"Sent {sent} spans to {otlp}.")


@app.command()
def clear(database: Database = None, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete all stored traces."""
    from llm_deploy.cli import screen
    from llm_deploy.tracing.store_place import remove

    path = store_path(database)
    if path.exists():
        screen.agree(f"Delete {path}?", yes=yes, can_look=False)
    removed = remove(path)
    if as_json:
        screen.write_json({"removed": [str(file) for file in removed]})
    else:
        screen.say(f"Deleted {path}." if removed else f"Nothing to delete: there is no {path}.")


def _write_lines(spans: Iterable[StoredSpan]) -> None:
    from llm_deploy.tracing.reading import json_lines

    for line in json_lines(spans):
        typer.echo(line)


def _send(spans: Iterator[StoredSpan], url: str) -> int:
    import importlib.util

    from pydantic import ValidationError

    from llm_deploy.errors import MissingExtraError, SpecError
    from llm_deploy.tracing.config import Otlp

    if importlib.util.find_spec("opentelemetry.exporter") is None:
        raise MissingExtraError("sending needs OpenTelemetry", hint='Install it: pip install "llm-deploy[otel]"')
    from llm_deploy.tracing import otlp, resend

    try:
        config = Otlp(endpoint=url)
    except ValidationError as error:
        raise SpecError(f"--otlp {url}: expected an address such as http://127.0.0.1:4318") from error
    exporter = otlp.exporter(config)
    try:
        return resend.send(spans, exporter)
    finally:
        exporter.shutdown()


def _since_ns(since: str | None) -> int:
    seconds = options.span_s("--since", since)
    return 0 if seconds is None else int((time.time() - seconds) * 1e9)
