"""`llmdeploy create-roles` and `delete-roles`."""

from __future__ import annotations

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
    from llm_deploy.targets.sagemaker.wishes import Trust

TIMEOUT_S = 300.0

ADMINISTRATOR_HINT = (
    "Roles need IAM rights. This command asks boto3's own search (`aws sso login`, AWS_PROFILE, --profile NAME) and "
    "leaves AWS_ACCESS_KEY and LLMDEPLOY_ROLE_ARN of .env alone, since these are the deploy identity's; --use-env-keys "
    "takes the key all the same."
)

Config = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="A spec whose prefix, S3 weights, VPC and KMS key the roles are for."),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="What names begin with that may be touched; else CONFIG's name, or .env's."),
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
    trusted_principals: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-principal",
            metavar="ARN",
            help="Who may assume the deploy role, and nobody else; repeat it. Else whoever the account's policies let.",
        ),
    ] = None,
    oidc_provider: Annotated[
        str | None,
        typer.Option(
            "--oidc-provider",
            metavar="ADDRESS",
            help="An OpenID Connect provider of the account, such as token.actions.githubusercontent.com.",
        ),
    ] = None,
    oidc_subjects: Annotated[
        list[str] | None,
        typer.Option(
            "--oidc-subject", metavar="SUBJECT", help="Whose tokens, such as repo:ORG/REPO:environment:ENV; repeat it."
        ),
    ] = None,
    permissions_boundary: Annotated[
        str | None, typer.Option("--permissions-boundary", metavar="ARN", help="Bound every role and the user by it.")
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="Also make an IAM user with one key, for where no role can be assumed.")
    ] = False,
    new_key: Annotated[bool, typer.Option("--new-key", help="Replace the user's key when its secret is lost.")] = False,
    write_env: Annotated[bool, typer.Option("--write-env", help="Write roles, or role and keys, into .env.")] = False,
    output: Output = Path(),
    profile: Profile = None,
    use_env_keys: UseEnvKeys = False,
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Make the role that containers run under, a narrow role to deploy with, and a policy for who only invokes.

    Writes sagemaker_execution_role.json and, with --user, sagemaker_user_credentials.json (readable by you alone).
    Needs IAM rights once, from your own sign-in or --profile; everything afterwards runs as the narrow identity, which
    --write-env puts into .env and this command does not use. --dry-run shows every policy.

    \b
    llmdeploy create-roles --prefix twin --dry-run
    llmdeploy create-roles configs/twin.yaml --write-env
    llmdeploy create-roles --prefix twin --oidc-provider token.actions.githubusercontent.com \\
        --oidc-subject repo:ORG/REPO:environment:production
    """  # noqa: D301 - \b keeps the lines apart in --help
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document
    from llm_deploy.targets.sagemaker.wishes import Trust

    with _administrators_hint():
        trust = Trust(tuple(trusted_principals or ()), oidc_provider, tuple(oidc_subjects or ()))
        connection, roles = _open(
            _settings(profile, use_env_keys=use_env_keys),
            target,
            output,
            config=config,
            prefix=prefix,
            model_bucket=model_bucket,
            trust=trust,
            permissions_boundary=permissions_boundary,
            user=user or new_key,
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
    _finish(roles, write_env=write_env, as_json=as_json)


def _finish(roles: Roles, *, write_env: bool, as_json: bool) -> None:
    """Write the files, and say what was made and what to do with it."""
    from llm_deploy.cli import screen
    from llm_deploy.targets.sagemaker.iam import INVOKE_POLICY

    wish = roles.wish
    written = roles.files.write(env_region=roles.connection.region if write_env else None)
    arns = {
        "role_arn": wish.execution_role_arn,
        "deploy_role_arn": wish.deploy_role_arn,
        "invoke_policy_arn": wish.policy_arn(INVOKE_POLICY),
    }
    if as_json:
        screen.write_json({**arns, "files": [str(path) for path in written]})
    screen.say(f"containers run under  {arns['role_arn']}")
    screen.say(f"deploy as             {arns['deploy_role_arn']}")
    screen.say(f"services that invoke  {arns['invoke_policy_arn']}")
    for path in written:
        screen.say(f"wrote {path}")


def delete_roles(
    config: Config = None,
    prefix: Prefix = None,
    output: Output = Path(),
    profile: Profile = None,
    use_env_keys: UseEnvKeys = False,
    even_in_use: Annotated[
        bool, typer.Option("--even-in-use", help="Also while deployments need the roles; they stay and bill.")
    ] = False,
    target: options.Target = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove the roles, the policies, the user and its key that create-roles made, and the two files.

    Refused while deployments with the prefix are there: they would bill on, and nobody could delete them.

    Needs the same IAM rights as create-roles: what is in .env is the identity's that goes, and is not used. The
    account's service-linked role for autoscaling stays: others may scale under it.
    """
    from llm_deploy.cli import screen
    from llm_deploy.deploy.receipt import plan_document

    with _administrators_hint():
        connection, roles = _open(
            _settings(profile, use_env_keys=use_env_keys), target, output, config=config, prefix=prefix
        )
        screen.say(connection.describe())
        plan = roles.plan_deletion(even_in_use=even_in_use)
        screen.show_plan(plan, f"{roles.wish.deployment}:")
        if dry_run:
            if as_json:
                screen.write_json(plan_document(plan))
            return
        started_s = time.monotonic()
        if plan.changes:
            screen.agree(f"Delete {len(plan.changes)} IAM objects in account {connection.account}?", yes=yes)
            screen.follow(roles.delete(plan, timeout_s=TIMEOUT_S))
    removed = roles.files.remove()
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
    trust: Trust | None = None,
    permissions_boundary: str | None = None,
    user: bool = False,
    new_key: bool = False,
) -> tuple[Connection, Roles]:
    from llm_deploy.targets.registry import connect
    from llm_deploy.targets.roles import Roles, wish_for
    from llm_deploy.targets.sagemaker.wishes import ANYONE_ALLOWED

    spec = _spec(config, settings)
    connection = connect(target, settings=settings)
    wish = wish_for(
        connection,
        prefix=prefix,
        spec=spec,
        model_bucket=model_bucket,
        user=user,
        trust=trust or ANYONE_ALLOWED,
        permissions_boundary=permissions_boundary,
    )
    return connection, Roles(connection, wish, output, new_key=new_key)


def _spec(config: Path | None, settings: Settings) -> DeploymentSpec | None:
    from llm_deploy.catalog import load_spec

    return None if config is None else load_spec(config, settings=settings).spec


def _show_policies(roles: Roles) -> None:
    from llm_deploy.cli.policies import document_lines

    for shown in roles.policies():
        typer.echo(f"\n{shown.title}:")
        for line in document_lines(shown.document, shown.needs):
            typer.echo(line)
