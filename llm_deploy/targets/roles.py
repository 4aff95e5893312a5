"""Making and removing the identities, on a connected target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_deploy.aws import aws_errors
from llm_deploy.deploy.apply import NOT_YET_S, Clock, Stage, Step, SystemClock
from llm_deploy.deploy.inventory import Managers
from llm_deploy.deploy.plan import Action, Change, Plan
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import AccessDeniedError, ConflictError, NotFoundError, SpecError
from llm_deploy.resource import ACCESS_KEY, ROLE, USER, Resource, owner
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import iam, wishes
from llm_deploy.targets.sagemaker.identity_files import ENV_FILE, USER_FILE, IdentityFiles, kept_role_arn
from llm_deploy.targets.sagemaker.leftovers import listed
from llm_deploy.targets.sagemaker.managed_policies import ManagedPolicyManager
from llm_deploy.targets.sagemaker.managers import identity_managers
from llm_deploy.targets.sagemaker.statements import Scope, needs, policy, purpose, statements
from llm_deploy.targets.sagemaker.tags import tags_of

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec import DeploymentSpec

__all__ = ["Roles", "administrator", "kept_role_arn", "wish_for"]

USABLE_EVERY_S = 2.0
"""How often a new role is tried: IAM takes some seconds to tell its other parts of one."""

_RUNNING = ("Endpoint", "InferenceComponent")
"""What bills: an endpoint, and a component whose endpoint is gone may."""


def administrator(settings: Settings, *, profile: str | None, use_env_keys: bool) -> Settings:
    """The settings to make or remove identities with: neither LLMDEPLOY_ROLE_ARN nor, unless asked for, AWS_ACCESS_KEY.

    After `create-roles --write-env` these are the deploy identity's, which has no right to do either.

    Raises:
        SpecError: Both a profile and the keys are asked for.
    """
    if profile is not None and use_env_keys:
        raise SpecError("--profile and --use-env-keys are two answers to one question; give one.")
    changed: dict[str, Any] = {"LLMDEPLOY_ROLE_ARN": None}
    if profile is not None:
        changed["AWS_PROFILE"] = profile
    if not use_env_keys:
        changed |= {"AWS_ACCESS_KEY": None, "AWS_SECRET_KEY": None}
    return settings.model_copy(update=changed)


def wish_for(
    connection: Connection,
    *,
    prefix: str | None,
    spec: DeploymentSpec | None,
    model_bucket: str | None,
    user: bool,
    trust: wishes.Trust = wishes.ANYONE_ALLOWED,
    permissions_boundary: str | None = None,
) -> iam.RolesWish:
    """What roles are wanted; flags win over the spec. Raises SpecError before anything is changed."""
    chosen = wishes.prefix_for(prefix, spec, connection.settings.SAGEMAKER_ENDPOINT_INFERENCE)
    bucket, folder = wishes.weights_for(model_bucket, spec)
    key = wishes.key_for(spec)
    trust = wishes.checked(trust)
    wishes.check_boundary(permissions_boundary)
    place = connection.place
    return iam.RolesWish(
        place,
        chosen,
        model_bucket=bucket,
        model_prefix=folder,
        kms_key=key,
        subnet_ids=spec.network.subnets if spec else (),
        security_group_ids=spec.network.security_group_ids if spec else (),
        repositories=wishes.repositories_of(spec.image if spec else None, place),
        alarms=spec is None or spec.update.alarms.count > 0,
        trusted_principals=trust.principals,
        oidc_provider=wishes.provider_arn(trust.oidc_provider, place),
        oidc_subjects=trust.oidc_subjects,
        permissions_boundary=permissions_boundary,
        user=user,
    )


@dataclass(frozen=True, slots=True)
class ShownPolicy:
    """A document with a title for people; `needs` says by Sid what a statement is for."""

    title: str
    document: Mapping[str, Any]
    needs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_template(cls, title: str, name: str, scope: Scope) -> ShownPolicy:
        """A template's statements."""
        return cls(title, policy(statements(name, scope)), needs(name))


@dataclass(frozen=True)
class Roles:
    """The identities of one wish on one connection, and the folder of their files."""

    connection: Connection
    wish: iam.RolesWish
    folder: Path
    new_key: bool = False
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state

    @property
    def managers(self) -> Managers:
        """The IAM managers; a new key goes straight to its file."""
        return identity_managers(self.connection.session, self.wish.place, self.files.keep_key, self.files.expect_key)

    @property
    def files(self) -> IdentityFiles:
        """The files that describe the identities."""
        return IdentityFiles(self.folder, self.wish)

    def plan(self) -> Plan:
        """What has to be made. Raises ConflictError when there is a key whose secret is not in our file."""
        linked = iam.service_linked_role()
        found = self.managers[linked.kind].find(linked.name)
        wanted = iam.settled(self._wanted(), self.wish)
        plan = self._service().plan(self.wish.deployment, wanted if found else (linked, *wanted))
        changes = tuple(self._with_its_secret(change) for change in plan.changes)
        if found:
            note = "the account's own; it stays when these roles go"
            changes = (Change(Action.KEEP, linked.kind, linked.name, found=found, note=note), *changes)
        return replace(plan, changes=changes)

    def policies(self) -> Iterator[ShownPolicy]:
        """Every document that `plan` is about: for each role who may assume it and what it may do, policy by policy."""
        wish, scope = self.wish, iam.scope(self.wish)
        execution, deployer = iam.execution_role_name(wish.deployment), iam.deployer_name(wish.deployment)
        yield ShownPolicy(f"who may assume {execution}", iam.execution_trust(wish))
        for name in iam.execution_templates(scope):
            yield ShownPolicy.of_template(f"what {execution} may do, {purpose(name)}", name, scope)
        yield ShownPolicy(f"who may assume {deployer}", iam.deploy_trust(wish))
        for name in iam.DEPLOY_POLICIES:
            title = f"what {deployer} may do, policy {iam.policy_name(wish.deployment, name)}: {purpose(name)}"
            yield ShownPolicy.of_template(title, name, scope)

    def apply(self, plan: Plan, *, timeout_s: float) -> Iterator[Step]:
        """Make it, and wait until a new deploy role can be used: IAM takes a while to tell its other parts of one."""
        yield from self._service().apply(plan, timeout_s=timeout_s)
        news = {change.name for change in plan.changing if change.action is not Action.DELETE}
        if iam.deployer_name(self.wish.deployment) in news and self._anyone_may_assume:
            yield from self._until_usable()

    def plan_deletion(self, *, even_in_use: bool = False) -> Plan:
        """What has to be removed; of a policy, who else loses it.

        Args:
            even_in_use: Do not look whether deployments need the roles.

        Raises:
            ConflictError: Deployments with the prefix are there: they would go on and bill, with nobody left who may
                delete them.
        """
        plan = self._service().plan_deletion(self.wish.deployment)
        if plan.changes and not even_in_use:
            self._refuse_in_use()
        return replace(plan, changes=tuple(self._with_who_loses_it(change) for change in plan.changes))

    def delete(self, plan: Plan, *, timeout_s: float) -> Iterator[Step]:
        """Remove it, and search again."""
        yield from self._service().delete(plan, timeout_s=timeout_s)

    def _refuse_in_use(self) -> None:
        prefix = self.wish.prefix
        try:
            standing = sorted({name for noun in _RUNNING for name in self._owners(noun)})
        except AccessDeniedError as error:
            raise AccessDeniedError(
                f"{error.message}\nSo it is not known whether deployments need these roles; --even-in-use does not ask."
            ) from error
        if standing:
            raise ConflictError(
                f"deployments need the roles of '{prefix}': {', '.join(standing)}. Without the roles they stay and "
                "bill, and the identity that could delete them is gone.",
                hint=f"`llmdeploy delete-endpoint {standing[0]}` first; --even-in-use removes the roles all the same.",
            )

    def _owners(self, noun: str) -> Iterator[str]:
        """Deployments of ours that an object of this kind and with the prefix is of."""
        session = self.connection.session
        for name, arn in listed(session, noun).items():
            if name.startswith(self.wish.prefix):
                with suppress(NotFoundError):  # gone by now
                    yield from filter(None, [owner(tags_of(session, arn))])

    def _service(self) -> DeploymentService:
        return DeploymentService(self)

    def _wanted(self) -> Sequence[Resource]:
        """The wish, and the user of an earlier one: no user goes without having been asked for."""
        if self.wish.user:
            return iam.resources(self.wish)
        user = self.managers[USER].find(iam.deployer_name(self.wish.deployment))
        if user is None or user.owned_by != self.wish.deployment:
            return iam.resources(self.wish)
        everything = iam.resources(replace(self.wish, user=True))
        return [resource for resource in everything if resource.kind != ACCESS_KEY]

    @property
    def _anyone_may_assume(self) -> bool:
        return not (self.wish.trusted_principals or self.wish.oidc_provider)

    def _until_usable(self) -> Iterator[Step]:
        """Assume the role and make one call until that is not refused; whoever has no right to is not kept waiting."""
        name = iam.deployer_name(self.wish.deployment)
        session = replace(self.connection.session, role_arn=self.wish.deploy_role_arn, _clients={})
        started_s = self.clock.now_s()
        while (elapsed_s := self.clock.now_s() - started_s) < NOT_YET_S:
            try:
                with aws_errors(f"use the role {name}"):
                    session.client("sagemaker").list_models(MaxResults=1)
            except AccessDeniedError:
                yield Step(Stage.WAITING, Action.KEEP, ROLE, name, "cannot be used yet", elapsed_s)
                self.clock.sleep(USABLE_EVERY_S)
            else:
                yield Step(Stage.DONE, Action.KEEP, ROLE, name, "can be used", elapsed_s)
                return
        yield Step(Stage.DONE, Action.KEEP, ROLE, name, "not by you, or not yet", elapsed_s)

    def _with_who_loses_it(self, change: Change) -> Change:
        manager = self.managers[change.kind]
        if not isinstance(manager, ManagedPolicyManager):
            return change
        ours = {f"{kind}/{iam.deployer_name(self.wish.deployment)}" for kind in ("role", "user")}
        others = [holder for holder in manager.users_of(change.name) if holder not in ours]
        return replace(change, note=f"{', '.join(others)} loses it") if others else change

    def _with_its_secret(self, change: Change) -> Change:
        """The change as it is, unless it keeps a key: its secret must be in our file, or it is replaced on request."""
        if change.kind != ACCESS_KEY or change.action is not Action.KEEP or change.found is None:
            return change
        key_ids = change.found.attributes["AccessKeyIds"]
        if self.new_key:
            return replace(change, action=Action.REPLACE, note=self._note_on(key_ids))
        if self.files.kept_key().get("AccessKeyId") not in key_ids:
            if self.files.key_was_expected():
                note = f"{', '.join(key_ids)} was made by a run that was cut off before it had the secret"
                return replace(change, action=Action.REPLACE, note=note)
            raise ConflictError(
                f"the user has a key ({', '.join(key_ids)}) whose secret is not in {self.folder / USER_FILE}; "
                "AWS never shows it again.",
                hint="Run this in the folder that has the file, or add --new-key: the old key stops working at once.",
            )
        return change

    def _note_on(self, key_ids: list[str]) -> str:
        held = self.files.env_key() in key_ids
        stale = f"; {self.folder / ENV_FILE} has it, --write-env renews it there" if held else ""
        return f"{', '.join(key_ids)} stops working at once{stale}"
