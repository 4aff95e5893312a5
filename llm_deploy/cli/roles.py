"""`llmdeploy create-roles` and `delete-roles`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.roles import Roles

TIMEOUT_S = 300.0

Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="What names begin with that the deployer may touch; else the endpoint's in .env."),
]
Output = Annotated[Path, typer.Option("--output", help="Folder for the two JSON files.", file_okay=False)]


def create_roles(
    prefix: Prefix = None,
    model_bucket: Annotated[
        str | None, typer.Option("--model-bucket", metavar="S3_URI", help="s3://bucket/prefix/ of own weights.")
    ] = None,
    user: Annotated[
        bool, typer.Option("--user/--no-user", help="Make an IAM user with one key to deploy with.")
    ] = True,
    new_key: Annotated[bool, typer.Option("--new-key", help="Replace the user's key when its secret is lost.")] = False,
    write_env: Annotated[bool, typer.Option("--write-env", help="Write role and keys into .env as well.")] = False,
    output: Output = Path(),
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Make the role that containers run under, and a narrow identity to deploy with.

    Writes sagemaker_execution_role.json and, with the user, sagemaker_user_credentials.json (readable by you alone).
    Needs IAM rights once; everything afterwards runs with the narrow identity.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document

    connection, roles = _open(prefix, model_bucket, output, target, user=user, new_key=new_key)
    screen.say(connection.describe())
    plan = roles.plan()
    screen.show_plan(plan, f"{roles.wish.deployment}:")
    screen.say(screen.count_line(plan))
    if dry_run:
        screen.write_json(plan_document(plan))
        return
    if not plan.empty:
        screen.agree(f"Change IAM in account {connection.account}?", yes=yes)
        screen.follow(roles.apply(plan, timeout_s=TIMEOUT_S))
    written = roles.write_files(write_env=write_env)
    if as_json:
        screen.write_json({"role_arn": roles.role_arn, "files": [str(path) for path in written]})
    screen.say(f"execution role {roles.role_arn}")
    for path in written:
        screen.say(f"wrote {path}")


def delete_roles(
    prefix: Prefix = None,
    output: Output = Path(),
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove the role, the user, its key and the policy that create-roles made, and the two files."""
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document

    connection, roles = _open(prefix, None, output, target, user=True, new_key=False)
    screen.say(connection.describe())
    plan = roles.plan_deletion()
    screen.show_plan(plan, f"{roles.wish.deployment}:")
    if dry_run:
        if as_json:
            screen.write_json(plan_document(plan))
        return
    started_s = time.monotonic()
    if plan.changes:
        screen.agree(f"Delete {len(plan.changes)} IAM objects in account {connection.account}?", yes=yes)
        screen.follow(roles.delete(plan, timeout_s=TIMEOUT_S))
    removed = roles.remove_files()
    if as_json:
        screen.write_json(
            {
                "deleted": [change.name for change in plan.changes],
                "files": [str(path) for path in removed],
                "seconds": round(time.monotonic() - started_s, 2),
            }
        )
    screen.say("Roles: nothing left.")


def _open(
    prefix: str | None, model_bucket: str | None, output: Path, target: str | None, *, user: bool, new_key: bool
) -> tuple[Connection, Roles]:
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.roles import Roles, wish_for

    connection = connect(target)
    wish = wish_for(connection, prefix=prefix, model_bucket=model_bucket, user=user)
    return connection, Roles(connection, wish, output, new_key=new_key)
