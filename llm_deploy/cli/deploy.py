"""`llmdeploy deploy-endpoint`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import LoadedSpec


def deploy_endpoint(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The spec's YAML file; without one, the Twin from .env.")
    ] = None,
    target: options.Target = None,
    endpoint_type: Annotated[
        str | None, typer.Option("--endpoint-type", metavar="TYPE", help="model or inference-component.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field: --set instance.type=ml.g6.xlarge"),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="URI", help="Container image in place of the catalogue's.")
    ] = None,
    via: Annotated[
        options.Via | None, typer.Option("--via", help="Deploy through a change set of a CloudFormation stack.")
    ] = None,
    import_existing: Annotated[
        bool, typer.Option("--import-existing", help="With --via: take what exists into the stack, as it is.")
    ] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Start the endpoint and return; run again to finish.")
    ] = False,
    timeout_s: options.Timeout = options.LONGEST_WAIT_S,
) -> None:
    """Make an endpoint, or bring one up to date. Running it again is always safe.

    \b
    llmdeploy deploy-endpoint configs/twin.yaml --dry-run
    llmdeploy deploy-endpoint configs/smollm2.yaml --target local --yes
    llmdeploy deploy-endpoint --set instance.type=ml.g6.xlarge
    llmdeploy deploy-endpoint configs/twin.yaml --via cloudformation
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document
    from llm_deploy.errors import SpecError
    from llm_deploy.targets import deployment
    from llm_deploy.targets.registry import connect

    chosen = [*(assignments or []), *([f"image={image}"] if image else [])]
    settings, loaded = _load(config, chosen, endpoint_type)
    if import_existing and via is None:
        raise SpecError("--import-existing is for --via cloudformation")
    connection = connect(target, settings=settings)
    screen.say(connection.describe())
    if via is not None:
        from llm_deploy.cli.stack import Terms, deploy_through_stack

        terms = Terms(import_existing, dry_run=dry_run, yes=yes, as_json=as_json, wait=not no_wait, timeout_s=timeout_s)
        deploy_through_stack(loaded, connection, terms)
        return
    deployed = deployment.plan_deployment(loaded.spec, connection)
    notes = tuple(dict.fromkeys((*loaded.notes, *deployed.resolved.notes)))
    screen.show_plan(deployed.plan, f"{loaded.spec.name}:")
    for note in notes:
        screen.say(f"  note: {note}")
    screen.say(screen.count_line(deployed.plan))
    if dry_run:
        if as_json:
            screen.write_json(plan_document(deployed.plan))
        return
    started_s = time.monotonic()
    steps = []
    if not deployed.plan.empty:
        screen.agree(f"Deploy to account {connection.account}, {connection.region}?", yes=yes)
        steps = screen.follow(deployment.apply_deployment(deployed, connection, timeout_s=timeout_s, wait=not no_wait))
    # Also when nothing had to be done: a run that was cut off may have left an endpoint that nobody has asked yet.
    answer = None if no_wait else deployment.smoke(deployed, connection)
    receipt = deployment.receipt(deployed, connection, steps, time.monotonic() - started_s, answer)
    if as_json:
        screen.write_json(receipt.document())
    headline = headline_of(loaded.spec.name, receipt.seconds, empty=deployed.plan.empty, waited=not no_wait)
    screen.show_receipt(receipt, headline)


def headline_of(name: str, seconds: float, *, empty: bool, waited: bool) -> str:
    """The end of a deployment in a sentence."""
    if empty:
        return f"{name} is as wanted; nothing was changed."
    if not waited:
        return f"{name} was started; `llmdeploy status {name}` tells when it is up, the same command finishes it."
    return f"{name} is up after {seconds:.1f} s."


def _load(config: Path | None, assignments: list[str], endpoint_type: str | None) -> tuple[Settings, LoadedSpec]:
    from llm_deploy.catalog import load_spec
    from llm_deploy.settings import load_settings

    settings = load_settings()
    return settings, load_spec(
        config, settings=settings, overrides=options.pairs(assignments), endpoint_type=endpoint_type
    )
