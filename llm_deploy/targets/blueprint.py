"""A deployment as resources for a template: from a config to a list, without an account, credentials or a cloud.

`llmdeploy template` and the CDK stack both come through here, so that they cannot differ. The account may stay open: it
is then a reference of the template's (`resource.ACCOUNT_OF_STACK`). The region may not; the image's registry is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_deploy import catalog
from llm_deploy.errors import SpecError
from llm_deploy.render import cloudformation
from llm_deploy.resource import ACCOUNT_OF_STACK, PARTITION_OF_STACK, Parameter, Ref, Resource
from llm_deploy.settings import Settings, load_settings
from llm_deploy.settings.caller import REGION_PATTERN
from llm_deploy.spec import DeploymentSpec, Place, ResolvedSpec
from llm_deploy.spec.fields import ROLE_PATTERN
from llm_deploy.targets.roles import kept_role_arn
from llm_deploy.targets.sagemaker import iam, strategy, wishes

EXECUTION_ROLE = "ExecutionRole"
ROLE_PARAMETER = Parameter(
    "ExecutionRoleArn", "The role that the containers run under, such as llmdeploy create-roles makes.", ROLE_PATTERN
)
_ROLE_OF_PARAMETER = f"${{{ROLE_PARAMETER.name}}}"
"""In place of a role's ARN while names are made: which role it will be is not known, so it is not in the names."""
DESCRIPTION_BYTES = 1024
"""Source: CloudFormation user guide, "CloudFormation template Description syntax"."""
_ACCOUNT = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a template is made of.

    Attributes:
        resolved: The spec with nothing left open but, perhaps, the account.
        resources: Roles first, where they are wanted; then the deployment.
        notes: What the user should know.
    """

    resolved: ResolvedSpec
    resources: tuple[Resource, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.resolved.spec.name

    def template(self) -> dict[str, Any]:
        """The CloudFormation template, as plain data."""
        said = f"{self.name}: {strategy.model_id(self.resolved.spec)}, made by llmdeploy"
        region = self.resolved.place.region
        cut = said.encode()[:DESCRIPTION_BYTES].decode(errors="ignore")
        return cloudformation.template(self.resources, description=cut, region=region)


def draft(
    config: Path | str | None,
    *,
    settings: Settings | None = None,
    region: str | None = None,
    account: str | None = None,
    endpoint_type: str | None = None,
    overrides: Mapping[str, str] | None = None,
    with_roles: bool = False,
    prefix: str | None = None,
) -> Blueprint:
    """A blueprint from a spec file, or from the Twin that the settings describe.

    Args:
        config: The file; `None` for the Twin.
        settings: The variables; read from `.env` and the environment by default.
        region: In place of AWS_REGION.
        account: Its number; `None`: the template is for any account.
        endpoint_type: In place of the spec's: `model` or `inference-component`.
        overrides: Fields of the spec by dotted path.
        with_roles: Make the roles and policies of `create-roles` too.
        prefix: What names begin with that those roles are for; the deployment's name by default.

    Raises:
        SpecError: The spec, the account or the region is wrong, or the role is of another account.
    """
    settings = settings or load_settings()
    loaded = catalog.load_spec(config, settings=settings, overrides=overrides or {}, endpoint_type=endpoint_type)
    where = place_in(region or settings.AWS_REGION, account)
    found = of_spec(loaded.spec, where, settings, with_roles=with_roles, prefix=prefix)
    return replace(found, notes=tuple(dict.fromkeys((*loaded.notes, *found.notes))))


def of_spec(
    spec: DeploymentSpec, place: Place, settings: Settings, *, with_roles: bool = False, prefix: str | None = None
) -> Blueprint:
    """A blueprint of a spec for a place, which may be symbolic. Raises SpecError."""
    if prefix is not None and not with_roles:
        raise SpecError(f"--prefix {prefix}: without roles it says nothing.", hint="Add --with-roles, or leave it out.")
    named = named_role(spec, settings)
    roles: tuple[Resource, ...] = ()
    value: str | Ref | Parameter
    if with_roles:
        wish = roles_wish(spec, place, prefix)
        roles, arn, value = iam.resources(wish), wish.execution_role_arn, Ref(EXECUTION_ROLE, "Arn")
    elif named is None:
        arn, value = _ROLE_OF_PARAMETER, ROLE_PARAMETER
    else:
        arn = value = _of_account(named, place)
    resolved = catalog.resolve(spec, place, arn)
    hosting = tuple(_under_role(resource, arn, value) for resource in strategy.resources(resolved))
    notes = (*resolved.notes, *_notes(spec, place, named, with_roles=with_roles))
    return Blueprint(resolved, (*roles, *hosting), notes)


def named_role(spec: DeploymentSpec, settings: Settings) -> str | None:
    """The execution role that somebody named: the spec, the environment, or the file that `create-roles` wrote."""
    return spec.execution_role_arn or settings.AWS_ARN_ROLE or kept_role_arn()


def roles_wish(spec: DeploymentSpec, place: Place, prefix: str | None = None) -> iam.RolesWish:
    """The roles that a deployment needs, without a user: its key has no place in a template. Raises SpecError."""
    bucket, folder = wishes.weights_for(None, spec)
    return iam.RolesWish(
        place,
        wishes.prefix_for(prefix, spec, spec.name),
        model_bucket=bucket,
        model_prefix=folder,
        kms_key=wishes.key_for(spec),
        subnet_ids=spec.network.subnets,
        security_group_ids=spec.network.security_group_ids,
        repositories=wishes.repositories_of(spec.image, place),
        alarms=spec.update.alarms.count > 0,
        user=False,
    )


def place_in(region: str, account: str | None) -> Place:
    """A place from what somebody typed; without an account, that of whatever stack it is for. Raises SpecError."""
    check_region(region)
    if account is None:
        return Place(partition=PARTITION_OF_STACK, region=region, account=ACCOUNT_OF_STACK)
    if not _ACCOUNT.fullmatch(account):
        raise SpecError(f"account {account!r}: expected the 12 digits of an AWS account.")
    return Place(partition=catalog.partition(region), region=region, account=account)


def check_region(region: str) -> None:
    """Raises SpecError where it does not look like a region."""
    if re.fullmatch(REGION_PATTERN, region) is None:
        raise SpecError(f"region {region!r}: expected one such as eu-central-1.", hint="Use --region or AWS_REGION.")


def _of_account(role: str, place: Place) -> str:
    account = role.split(":")[4]
    if place.account not in {account, ACCOUNT_OF_STACK}:
        raise SpecError(
            f"the execution role {role} is of another account than --account {place.account}",
            hint="Name a role of that account in AWS_ARN_ROLE, or make one in the template: --with-roles.",
        )
    return role


def _under_role(resource: Resource, arn: str, value: str | Ref | Parameter) -> Resource:
    """The resource with the role as the template has it; its name was made from the role's name and stays."""
    if resource.properties.get("ExecutionRoleArn") != arn:
        return resource
    return replace(resource, properties={**resource.properties, "ExecutionRoleArn": value})


def _notes(spec: DeploymentSpec, place: Place, named: str | None, *, with_roles: bool) -> Iterator[str]:
    if with_roles:
        yield (
            "no IAM user is in a template: its access key would be readable in the stack. `llmdeploy create-roles "
            "--user` makes one."
        )
        if spec.autoscaling:
            yield (
                f"{iam.AUTOSCALING_ROLE} is not in a template, which would fail where it exists: "
                "`llmdeploy create-roles` makes it once an account."
            )
        if spec.execution_role_arn:
            yield "execution_role_arn of the spec is not used: the template makes its own role."
    elif named is None:
        yield f"no execution role is named, so the template asks for one: its parameter {ROLE_PARAMETER.name}."
    elif place.account == ACCOUNT_OF_STACK:
        yield f"the template is for account {named.split(':')[4]}: it names the role {named}."
