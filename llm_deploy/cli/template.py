"""`llmdeploy template`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from llm_deploy.cli import options


class Format(Enum):
    """What CloudFormation reads."""

    JSON = "json"
    YAML = "yaml"


def template(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The spec's YAML file; without one, the Twin from .env.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="By default that of --output's name, else yaml.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", dir_okay=False)
    ] = None,
    with_roles: Annotated[
        bool, typer.Option("--with-roles", help="Make the execution role and the deployer's policy as well.")
    ] = False,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="With roles: what names begin with that they are for; else CONFIG's.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="In place of AWS_REGION.")] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NUMBER", help="For this account; else for any.")
    ] = None,
    endpoint_type: Annotated[
        str | None, typer.Option("--endpoint-type", metavar="TYPE", help="model or inference-component.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field: --set instance.type=ml.g6.xlarge"),
    ] = None,
) -> None:
    """Print a deployment as a CloudFormation template. Asks no cloud; needs no credentials.

    \b
    llmdeploy template configs/twin.yaml
    llmdeploy template configs/twin.yaml --with-roles -o twin.json
    aws cloudformation deploy --template-file twin.json --stack-name twin --capabilities CAPABILITY_NAMED_IAM
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.render import cloudformation
    from llm_deploy.targets.blueprint import draft

    blueprint = draft(
        config,
        region=region,
        account=account,
        endpoint_type=endpoint_type,
        overrides=options.pairs(assignments or []),
        with_roles=with_roles,
        prefix=prefix,
    )
    for note in blueprint.notes:
        screen.say(f"note: {note}")
    write = cloudformation.to_json if _format(form, output) is Format.JSON else cloudformation.to_yaml
    _put(write(blueprint.template()).rstrip("\n"), output)


def _format(asked: Format | None, output: Path | None) -> Format:
    if asked is not None:
        return asked
    return Format.JSON if output is not None and output.suffix == ".json" else Format.YAML


def _put(text: str, output: Path | None) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.errors import FileWriteError

    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise FileWriteError(
            f"{output} cannot be written: {error.strerror}", hint="Choose another --output."
        ) from error
    screen.say(f"wrote {output}")
