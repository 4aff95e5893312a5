"""`llmdeploy create-roles` and `delete-roles`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import DeploymentSpec
    from llm_deploy.targets.registry import Connection
    from llm_deploy.targets.roles import Roles

TIMEOUT_S = 300.0

ADMINISTRATOR_HINT = (
    "Roles need IAM rights. This command asks boto3's own search (`aws sso login`, AWS_PROFILE, --profile NAME) and "
    "leaves AWS_ACCESS_KEY of .env alone, since that is the deploy identity's; --use-env-keys takes it all the same."
)

Config = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="A spec whose prefix, S3 weights, VPC and KMS key the roles are for."),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="What names begin with that the deployer may touch; else CONFIG's name, or .env's."),
]
Output = Annotated[Path, typer.Option("--output", help="Folder for the two JSON files.", file_okay=False)]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Profile of ~/.aws/config that has IAM rights.")
]
UseEnvKeys = Annotated[
    bool, typer.Option("--use-env-keys", help="Sign with AWS_ACCESS_KEY and AWS_SECRET_KEY, which are else not used.")
]


def create_roles(
    config: Config = None,
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
    profile: Profile = None,
    use_env_keys: UseEnvKeys = False,
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Make the role that containers run under, and a narrow identity to deploy with.

    Writes sagemaker_execution_role.json and, with the user, sagemaker_user_credentials.json (readable by you alone).
    Needs IAM rights once, from your own sign-in or --profile; everything afterwards runs with the narrow identity,
    whose keys in .env this command does not use. --dry-run shows every policy.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document

    with _administrators_hint():
        settings = _settings(profile, use_env_keys=use_env_keys)
        connection, roles = _open(
            settings,
            target,
            output,
            config=config,
            prefix=prefix,
            model_bucket=model_bucket,
            user=user,
            new_key=new_key,
        )
        screen.say(connection.describe())
        plan = roles.plan()
        screen.show_plan(plan, f"{roles.wish.deployment}:")
        screen.say(screen.count_line(plan))
        if dry_run:
            if as_json:
                screen.write_json(plan_document(plan))
            else:
                _show_policies(roles)
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
    config: Config = None,
    prefix: Prefix = None,
    output: Output = Path(),
    profile: Profile = None,
    use_env_keys: UseEnvKeys = False,
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove the role, the user, its key and the policy that create-roles made, and the two files.

    Needs the same IAM rights as create-roles: the keys in .env are the identity's that goes, and are not used.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document

    with _administrators_hint():
        connection, roles = _open(
            _settings(profile, use_env_keys=use_env_keys), target, output, config=config, prefix=prefix
        )
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


@contextmanager
def _administrators_hint() -> Iterator[None]:
    """Say whose credentials were used, where they were refused or missing."""
    from llm_deploy.errors import AccessDeniedError, CredentialsError

    try:
        yield
    except (AccessDeniedError, CredentialsError) as error:
        raise type(error)(error.message, hint=ADMINISTRATOR_HINT) from error


def _settings(profile: str | None, *, use_env_keys: bool) -> Settings:
    from llm_deploy.settings import load_settings
    from llm_deploy.targets.roles import administrator

    return administrator(load_settings(), profile=profile, use_env_keys=use_env_keys)


def _open(
    settings: Settings,
    target: str | None,
    output: Path,
    *,
    config: Path | None,
    prefix: str | None,
    model_bucket: str | None = None,
    user: bool = True,
    new_key: bool = False,
) -> tuple[Connection, Roles]:
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.roles import Roles, wish_for

    spec = _spec(config, settings)
    connection = connect(target, settings=settings)
    wish = wish_for(connection, prefix=prefix, spec=spec, model_bucket=model_bucket, user=user)
    return connection, Roles(connection, wish, output, new_key=new_key)


def _spec(config: Path | None, settings: Settings) -> DeploymentSpec | None:
    from llm_deploy.catalog import load_spec

    return None if config is None else load_spec(config, settings=settings).spec


def _show_policies(roles: Roles) -> None:
    for title, document in roles.policies():
        typer.echo(f"\n{title}:\n{json.dumps(document, indent=2)}")
