"""`llmdeploy proxy NAME`: an OpenAI-compatible server on this machine before one endpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_deploy.cli import options

_HOST = "127.0.0.1"


def proxy(
    name: options.Name,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")] = 8001,
    target: options.Target = None,
) -> None:
    """Let programs that only speak OpenAI use an endpoint: on 127.0.0.1, without keys, until Ctrl-C."""
    from llm_deploy.gateway.app import build
    from llm_deploy.gateway.found import of_one
    from llm_deploy.gateway.server import listen, serve
    from llm_deploy.targets.registry import connect

    session = connect(target).session
    document = of_one(name, session)
    listener = listen(_HOST, port)

    def started(url: str) -> None:
        typer.echo(f"model {name} on {url}/v1")
        typer.echo(f"export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=none")

    serve(build(document, session=session), listener, started=started)
