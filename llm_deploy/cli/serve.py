"""`llmdeploy serve`: the model server on this machine, in the foreground."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    model: Annotated[str, typer.Argument(help="Name of a known model, or the path of a .gguf file.")] = "smollm2",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.")] = 8080,
    dialect: Annotated[Literal["tgi", "openai", "lmi"], typer.Option(help="What /invocations speaks.")] = "tgi",
    parallel: Annotated[int, typer.Option(min=1, help="Generations at the same time.")] = 4,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of prompt and answer together.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Engine threads; more than 1 needs an idle machine.")] = 1,
) -> None:
    """Serve a model until Ctrl-C: SageMaker's container contract with TGI's and OpenAI's routes.

    An embedding model (minilm) is served with OpenAI's /v1/embeddings and TEI's /embed and /rerank.
    """
    command = [sys.executable, "-m", "llm_deploy.serving", "--exit-with-parent", *_model(model)]
    command += ["--host", host, "--port", str(port), "--dialect", dialect]
    command += ["--parallel", str(parallel), "--threads", str(threads)]
    if context is not None:
        command += ["--context", str(context)]
    code = _run(command)
    if code < 0:
        raise _died(-code)
    if code > 0:
        raise typer.Exit(code)  # the server has said why


def _model(given: str) -> list[str]:
    """Fetch a known model with progress shown here; a path is left to the server."""
    if given.endswith(".gguf") or os.sep in given or Path(given).is_file():
        return ["--model", given]
    from llm_deploy.cli.downloads import progress_bar
    from llm_deploy.serving import models

    with progress_bar(given) as progress:
        path = models.pull(given, progress=progress)
    return ["--model", str(path), "--served-model-name", models.known(given).served_name]


def _run(command: list[str]) -> int:
    """Run the server in a process of its own, so that an engine that crashes can be reported; wait for its end."""
    # Its standard input is the leash: it ends when this process does, however that happens.
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own program
        while True:
            # A terminal sends Ctrl-C to both; the server stops by itself and takes two seconds at most.
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()


def _died(number: int) -> Exception:
    from llm_deploy.errors import LocalCloudError

    name = signal.Signals(number).name if number in {each.value for each in signal.Signals} else f"signal {number}"
    hint = "The engine needs a CPU with AVX2." if name == "SIGILL" else "The lines above say where it was."
    return LocalCloudError(f"The model server died of {name}.", hint=hint)
