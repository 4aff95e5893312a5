"""How a policy document is shown to people, and `llmdeploy policy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import DeploymentSpec, Place
    from llm_deploy.targets.sagemaker.least import Identity

_LABEL_CHARACTERS = 6


def policy(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A spec file; without one the Twin that .env describes.")
    ] = None,
    identity: Annotated[
        str, typer.Option("--for", metavar="WHOM", help="deploy, invoke or execution: whose policy.")
    ] = "deploy",
    via: Annotated[
        options.Via | None, typer.Option("--via", help="Deployed through a CloudFormation stack, which needs more.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NUMBER", help="Of the ARNs; else the execution role's, else the caller's."),
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="Of the ARNs; else AWS_REGION.")
    ] = None,
    target: options.Target = None,
    endpoint_type: Annotated[
        str | None, typer.Option("--endpoint-type", metavar="TYPE", help="model or inference-component.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field: --set instance.type=ml.g6.xlarge"),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the least policy that one deployment needs: exact names, and only the features that its spec uses.

    Asks no cloud when the account is known: from --account, or from the execution role's ARN.

    \b
    llmdeploy policy configs/twin.yaml --account 123456789012
    llmdeploy policy configs/twin.yaml --via cloudformation --account 123456789012
    llmdeploy policy configs/twin.yaml --for invoke --account 123456789012 --json > invoke.json
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy import catalog
    from llm_deploy.cli import screen
    from llm_deploy.errors import SpecError
    from llm_deploy.settings import load_settings
    from llm_deploy.targets.sagemaker.least import least
    from llm_deploy.targets.sagemaker.statements import (
        INLINE_POLICY_CHARACTERS,
        MANAGED_POLICY_CHARACTERS,
        characters,
    )

    whose = _identity(identity)
    if via is not None and whose != "deploy":
        raise SpecError(f"--via is for --for deploy: {whose} needs the same either way.")
    settings = load_settings()
    overrides = options.pairs(assignments or [])
    spec = catalog.load_spec(config, settings=settings, overrides=overrides, endpoint_type=endpoint_type).spec
    place = _place(spec, settings, account, region, target)
    found = least(catalog.resolve(spec, place, _role(spec, settings, place)), whose, through_stack=via is not None)
    if as_json:
        screen.write_json(found.document)
        return
    typer.echo(f"{whose}, for '{spec.name}' in account {place.account}, region {place.region}")
    for line in document_lines(found.document, found.needs):
        typer.echo(line)
    screen.say(
        f"\n{characters(found.document)} characters; a managed policy holds {MANAGED_POLICY_CHARACTERS}, "
        f"a role's inline policies {INLINE_POLICY_CHARACTERS}."
    )


def document_lines(document: Mapping[str, Any], needs: Mapping[str, str]) -> Iterator[str]:
    """A policy or a trust, statement by statement; `needs` says what each is for."""
    for statement in document["Statement"]:
        sid = statement.get("Sid")
        yield ""
        if sid:
            yield f"  {sid}: {needs[sid]}" if sid in needs else f"  {sid}"
        yield from _entry(statement["Effect"].lower(), statement["Action"])
        yield from _entry("on", statement.get("Resource", []))
        for kind, whom in statement.get("Principal", {}).items():
            yield from _entry("to", [f"{kind} {one}" for one in _listed(whom)])
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                yield from _entry("if", f"{key} {operator} {' or '.join(_listed(values))}")


def _entry(label: str, values: str | list[str]) -> Iterator[str]:
    for position, value in enumerate(_listed(values)):
        yield f"    {(label if position == 0 else ''):<{_LABEL_CHARACTERS}}{value}"


def _listed(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values


def _identity(name: str) -> Identity:
    from llm_deploy.errors import SpecError
    from llm_deploy.targets.sagemaker.least import IDENTITIES

    known = {identity: identity for identity in IDENTITIES}
    if name not in known:
        raise SpecError(f"--for {name}: expected {', '.join(IDENTITIES)}.")
    return known[name]


def _place(
    spec: DeploymentSpec, settings: Settings, account: str | None, region: str | None, target: str | None
) -> Place:
    from llm_deploy.targets import blueprint

    role = blueprint.named_role(spec, settings)
    number = account or (role.split(":")[4] if role and target is None else None)
    if number is not None:
        return blueprint.place_in(region or settings.AWS_REGION, number)
    if region is not None:
        blueprint.check_region(region)  # before a cloud is asked
    from llm_deploy.targets.registry import connect

    here = connect(target, settings=settings).place
    return blueprint.place_in(region, here.account) if region is not None else here


def _role(spec: DeploymentSpec, settings: Settings, place: Place) -> str:
    """The role that is named, if it is of this account; else the one that `create-roles CONFIG` makes."""
    from llm_deploy.targets.blueprint import named_role
    from llm_deploy.targets.sagemaker.iam import RolesWish

    named = named_role(spec, settings)
    return named if named and named.split(":")[4] == place.account else RolesWish(place, spec.name).execution_role_arn
