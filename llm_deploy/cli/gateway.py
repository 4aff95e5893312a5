"""`llmdeploy gateway`: the business service; run it, check its file, ask it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import gateway_keys, options

if TYPE_CHECKING:
    from llm_deploy.gateway.config import GatewayConfig

app = typer.Typer(help="Run the business service: an OpenAI-compatible API over deployments, and /rag.")

app.add_typer(gateway_keys.app, name="keys")
app.command("migrate")(gateway_keys.migrate)

Config = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A gateway's file; see configs/gateway.yaml.")]


@app.command()
def run(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; else the file's, else 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 is any free one; else the file's.")
    ] = None,
    target: options.Target = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes; with keys, more than one needs PostgreSQL.")
    ] = 1,
    number: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
    counts: Annotated[Path | None, typer.Option("--counts", hidden=True)] = None,
) -> None:
    """Serve until a signal. Without CONFIG: every deployment of the target, and on loopback without keys."""
    from llm_deploy.gateway.app import build
    from llm_deploy.gateway.config_file import check_openness
    from llm_deploy.gateway.server import inherited, listen, serve

    document = _document(config, host, target)
    host = host or document.listen.host
    check_openness(document, host)
    listener = inherited(number) if number else listen(host, document.listen.port if port is None else port)
    if workers > 1:
        _run_workers(document, listener, workers, config, target)
        return
    gateway = build(document)
    if counts is not None:
        gateway.count_together(counts)
    serve(gateway, listener, started=lambda url: typer.echo(_greeting(url, document)))


@app.command()
def check(config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A gateway's file.")]) -> None:
    """Check a file; say everything that is wrong, with its line."""
    from llm_deploy.gateway.config_file import check_openness, load

    document = load(config)
    check_openness(document, document.listen.host)
    typer.echo(f"{config}: {_summary(document)}")


@app.command()
def ask(
    url: Annotated[str, typer.Argument(metavar="URL", help="The gateway, for example http://127.0.0.1:8000.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Of GET /v1/models; else the first.")] = None,
    rag: Annotated[bool, typer.Option("--rag", help="Answer from documents: POST /rag.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Write the answer while it is made.")] = False,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Longest answer.")] = None,
    key_env: Annotated[
        str, typer.Option(metavar="NAME", help="The environment's variable that holds the API key.")
    ] = "LLMDEPLOY_API_KEY",
) -> None:
    """Ask a running gateway one question and print the answer."""
    from llm_deploy.gateway.asking import Asking

    asking = Asking(url, os.environ.get(key_env))
    parts = asking.rag(question, stream=stream) if rag else asking.chat(question, model, max_tokens, stream=stream)
    for part in parts:
        typer.echo(part, nl=False)
    typer.echo()


def _run_workers(
    document: GatewayConfig, listener: socket.socket, count: int, config: Path | None, target: str | None
) -> None:
    from tempfile import TemporaryDirectory

    from llm_deploy.gateway.server import url_of
    from llm_deploy.gateway.workers import Workers, check_shared

    check_shared(document, count)
    files = [] if config is None else [str(config)]
    targets = [] if target is None else ["--target", target]
    host = ["--host", listener.getsockname()[0]]
    command = [sys.executable, "-m", "llm_deploy.cli.main", "gateway", "run", *files, *targets, *host]
    greeting = f"{_greeting(url_of(listener), document)}; {count} workers"
    with TemporaryDirectory(prefix="llmdeploy-gateway-") as counts:
        Workers([*command, "--counts", counts], listener, count).run(lambda: typer.echo(greeting))


def _document(config: Path | None, host: str | None, target: str | None) -> GatewayConfig:
    from llm_deploy.gateway.config_file import load

    if config is None:
        from llm_deploy.gateway.found import from_target

        return from_target(target, host or "127.0.0.1")
    document = load(config)
    return document if target is None else document.model_copy(update={"target": target})


def _greeting(url: str, document: GatewayConfig) -> str:
    return f"gateway on {url}: {_summary(document)}"


def _summary(document: GatewayConfig) -> str:
    names = ", ".join(document.models) or "none"
    return f"models {names}; keys {document.keys}" + ("; /rag" if document.rag is not None else "")
