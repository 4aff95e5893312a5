"""`llmdeploy models`: fetch, list, check and remove the models of the local cloud."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from llm_deploy.cli.downloads import progress_bar

app = typer.Typer(no_args_is_help=True, help="Models that run on this machine.")

Name = Annotated[str, typer.Argument(help="Name of a known model, such as smollm2.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@app.command("pull")
def pull(name: Name = "smollm2") -> None:
    """Fetch a model and check its hash; nothing to do when it is there, and fetched again when it is damaged."""
    from llm_deploy.serving import models

    with progress_bar(name) as progress:
        path = models.pull(
            name, progress=progress, on_damage=lambda error: typer.echo(f"{error.message} Fetching it again.", err=True)
        )
    typer.echo(str(path))


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the known models and whether they are in the cache, and undamaged."""
    from llm_deploy.serving import models

    rows = [
        {
            "name": model.name,
            "title": model.title,
            "licence": model.licence,
            "bytes": model.file_bytes,
            "state": models.state(model.name),
            "path": str(path) if (path := models.find(model.name)) else None,
            "note": model.note,
        }
        for model in models.known_models().values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        title = f"{row['title']}, {model_size(int(str(row['bytes'])))}, {row['licence']}"
        typer.echo(f"{row['name']}  {title}  {row['state']}  {row['path'] or ''}".rstrip())
        if row["state"] == "damaged":
            typer.echo(f"  Fetch it again: llmdeploy models pull {row['name']}", err=True)


@app.command("path")
def path(name: Name = "smollm2") -> None:
    """Print where a model's file is; an error when it has not been fetched."""
    from llm_deploy.errors import NotFoundError
    from llm_deploy.serving import models

    found = models.find(name)
    if found is None:
        raise NotFoundError(f"Model {name} is not in the cache.", hint=f"Run: llmdeploy models pull {name}")
    typer.echo(str(found))


@app.command("remove")
def remove(name: Name = "smollm2") -> None:
    """Delete a model from the cache; no error when it is not there."""
    from llm_deploy.serving import models

    typer.echo(f"Removed {name}." if models.remove(name) else f"{name} was not in the cache.")


@app.command("verify")
def verify(name: Name = "smollm2") -> None:
    """Compute a model's hash again and compare it with the known one."""
    from llm_deploy.serving import models

    with progress_bar(name) as progress:
        found = models.verify(name, progress=progress)
    typer.echo(f"{found}: as expected (sha256 {models.known(name).file_sha256}).")


def model_size(size_bytes: int) -> str:
    """Format a size for people, in MB of 10^6 bytes."""
    return f"{size_bytes / 1e6:.0f} MB"
