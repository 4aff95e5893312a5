"""`llmdeploy config`: what a deployment would be, where each value came from, and whether it is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import LoadedSpec

app = typer.Typer(no_args_is_help=True, help="Show, check and explain specs and settings.")

Config = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="A spec file; without one the Twin that .env describes.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field, such as instance.type=ml.g6.xlarge."),
]
EndpointTypeName = Annotated[
    str | None, typer.Option("--endpoint-type", metavar="TYPE", help="model or inference-component.")
]


@app.command("show")
def show(
    config: Config = None,
    assignments: Assignments = None,
    endpoint_type: EndpointTypeName = None,
    as_json: options.AsJson = False,
) -> None:
    """Print every value of a spec and of the settings, and where it came from. Secrets are masked."""
    from llm_deploy.catalog import load_spec
    from llm_deploy.settings import load_settings

    settings = load_settings()
    overrides = options.pairs(assignments or [])
    loaded = load_spec(config, settings=settings, overrides=overrides, endpoint_type=endpoint_type)
    rows = {"spec": _spec_rows(loaded), "settings": _settings_rows(settings)}
    notes = (*loaded.notes, *(f"not used here: {problem}" for problem in settings.problems))
    if as_json:
        typer.echo(json.dumps({**rows, "notes": list(notes)}, indent=2))
        return
    for title, part in rows.items():
        typer.echo(f"{title}:")
        _table(part)
    for note in notes:
        typer.echo(f"note: {note}", err=True)


@app.command("validate")
def validate(configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Spec files.")]) -> None:
    """Check spec files without an account. Every problem of every file is shown; exit code 3 when there is one."""
    from llm_deploy.catalog import load_spec
    from llm_deploy.errors import SpecError
    from llm_deploy.settings import load_settings

    settings = load_settings()
    problems = []
    for config in configs:
        try:
            loaded = load_spec(config, settings=settings)
        except SpecError as error:
            problems.append(error.message)
        else:
            typer.echo(f"{config}: right ({loaded.spec.name}, {loaded.spec.engine} on {loaded.spec.instance.type})")
    if problems:
        raise SpecError("\n".join(problems))


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of spec files, for editors."""
    from llm_deploy.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _spec_rows(loaded: LoadedSpec) -> list[dict[str, Any]]:
    from llm_deploy.spec.layers import paths
    from llm_deploy.spec.rules import dotted

    document = loaded.spec.model_dump(mode="json")
    rows = []
    for path in paths(document):
        origin = loaded.provenance.get(dotted(path))
        if origin is not None:
            rows.append({"field": dotted(path), "value": _shown(document, path), "origin": str(origin)})
    return rows


def _shown(document: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - any value of a document
    from llm_deploy.spec.masking import masked

    for part in path:
        document = document[part]
    return masked(document, str(path[-1]))


def _settings_rows(settings: Settings) -> list[dict[str, Any]]:
    from pydantic import SecretStr

    from llm_deploy.spec.masking import MASK
    from llm_deploy.spec.vocabulary import FIELDS

    in_spec = {variable for variable, _ in FIELDS}
    rows = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name not in in_spec:
            shown = MASK if isinstance(value, SecretStr) else None if value is None else str(value)
            rows.append({"field": name, "value": shown, "origin": settings.origin(name) or "default"})
    return rows


def _table(rows: list[dict[str, Any]]) -> None:
    texts = [(row["field"], _text(row["value"]), row["origin"]) for row in rows]
    wide = [max((len(text[column]) for text in texts), default=0) for column in (0, 1)]
    for field, value, origin in texts:
        typer.echo(f"  {field:<{wide[0]}}  {value:<{min(wide[1], 60)}}  {origin}")


def _text(value: object) -> str:
    if value is None or value in ({}, []):
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
