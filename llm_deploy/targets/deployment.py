"""Deploying and deleting an endpoint on a connected target: what the command line and the seed's Python both call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from llm_deploy import catalog
from llm_deploy.client.endpoint import LLMInferenceSagemakerEndpoint
from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.inventory import Found, Managers
from llm_deploy.deploy.plan import Plan, not_ours, plan_deletion
from llm_deploy.deploy.receipt import Receipt, Smoke, masked, what_was_done
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S, DeploymentService
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import (
    AccessDeniedError,
    CloudError,
    DeployError,
    InferenceError,
    LlmDeployError,
    QuotaError,
    SpecError,
    WaitTimeoutError,
)
from llm_deploy.resource import ENDPOINT, INFERENCE_COMPONENT, Resource, stack_of
from llm_deploy.spec import DeploymentSpec, ResolvedSpec
from llm_deploy.targets.blueprint import named_role
from llm_deploy.targets.registry import Connection, connect
from llm_deploy.targets.sagemaker import logs as cloud_logs, strategy
from llm_deploy.targets.sagemaker.alarms import AlarmManager
from llm_deploy.targets.sagemaker.diagnose import explained
from llm_deploy.targets.sagemaker.hosting import ADOPT, InferenceComponentManager
from llm_deploy.targets.sagemaker.managers import hosting_managers, removal_managers
from llm_deploy.targets.stack.stacks import Stacks

SMOKE_PROMPT = "The capital of France is"
SMOKE_TOKENS = 16
SMOKE_PATIENCE_S = 120.0
LOG_EVERY_S = 10.0
"""How often a wait looks into the log: often enough to see a crash loop, rarely enough for the logs API."""


class ResourceManager:
    """The managers of every kind of resource of a target, ready to use.

    Without a connection, the target of the environment is opened when it is first needed.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The cloud that this manages resources of."""
        if self._connection is None:
            self._connection = connect()
        return self._connection

    @property
    def managers(self) -> Managers:
        """By kind, in the order of making."""
        return hosting_managers(self.connection.session)


@dataclass(frozen=True, slots=True)
class KindManagers:
    """Managers that were chosen beforehand."""

    managers: Managers


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a resolved spec wants and what has to be done for it."""

    resolved: ResolvedSpec
    resources: tuple[Resource, ...]
    plan: Plan

    @property
    def components(self) -> tuple[str, ...]:
        """The names of its inference components."""
        name = self.resolved.component_name
        return () if name is None else (name,)


def service_for(connection: Connection) -> DeploymentService:
    """The deploy engine over a connection's managers, which signs what it changes with the caller and the time."""
    return DeploymentService(
        ResourceManager(connection),
        by=signature(connection, datetime.now(UTC)),
        stack_exists=Stacks(connection.session).exists,
    )


def signature(connection: Connection, now: datetime) -> str:
    """Who and since when, as it fits into a tag: `assumed-role/deployer/alice 2026-11-25T16:00:00Z`."""
    who = connection.identity["Arn"].rsplit(":", 1)[-1]
    return strategy.tag_value(f"{who} {now:%Y-%m-%dT%H:%M:%SZ}")


def execution_role(spec: DeploymentSpec, connection: Connection) -> str:
    """The role for the containers: the spec's, the environment's, the file of `create-roles`, or a prepared one.

    Raises:
        SpecError: There is none, or it is of another account than the credentials.
    """
    named = named_role(spec, connection.settings)
    if named is not None and named.split(":")[4] == connection.account:
        return named
    if connection.prepared_role_arn is not None:
        return connection.prepared_role_arn
    if named is not None:
        raise SpecError(
            f"the execution role {named} is of another account than the credentials ({connection.account})",
            hint="Sign in to that account, or name a role of this one in AWS_ARN_ROLE.",
        )
    raise SpecError(
        "no execution role is named", hint="Run `llmdeploy create-roles --write-env`, or set AWS_ARN_ROLE in .env."
    )


def plan_deployment(
    spec: DeploymentSpec, connection: Connection, *, service: DeploymentService | None = None
) -> Deployed:
    """Resolve a spec for a place and compare it with what is there. Reads only."""
    resolved = catalog.resolve(spec, connection.place, execution_role(spec, connection))
    resources = strategy.resources(resolved)
    return Deployed(resolved, resources, (service or service_for(connection)).plan(spec.name, resources))


def apply_deployment(
    deployed: Deployed,
    connection: Connection,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    wait: bool = True,
    service: DeploymentService | None = None,
) -> Iterator[Step]:
    """Carry out a deployment's plan, as `carried_out` does."""
    yield from carried_out(
        deployed.plan, deployed.components, connection, timeout_s=timeout_s, wait=wait, service=service
    )


def carried_out(
    plan: Plan,
    components: Sequence[str],
    connection: Connection,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    wait: bool = True,
    service: DeploymentService | None = None,
) -> Iterator[Step]:
    """Carry out a plan, told with the log."""
    steps = (service or service_for(connection)).apply(plan, timeout_s=timeout_s, wait=wait)
    wanted = [change.resource for change in plan.changes if change.resource]
    yield from told_with_the_log(steps, plan.deployment, components, wanted, connection)


def told_with_the_log(
    steps: Iterator[Step], name: str, components: Sequence[str], wanted: Iterable[Resource], connection: Connection
) -> Iterator[Step]:
    """The steps, long waits with the containers' last line, and a failure with its cause and their last lines."""
    groups = cloud_logs.log_groups(name, components)
    started_ms = int(time.time() * 1000)

    def lines() -> list[str]:
        try:
            return [line.text for line in cloud_logs.read(connection.session, groups, since_ms=started_ms)]
        except (AccessDeniedError, CloudError):
            return []  # the log is a help; what is told without it must not be lost for it

    try:
        yield from _with_the_log(steps, lines)
    except (DeployError, QuotaError, WaitTimeoutError) as error:
        raise explained(with_alarms(error, wanted, connection), lines()) from error


def with_alarms(error: LlmDeployError, wanted: Iterable[Resource], connection: Connection) -> LlmDeployError:
    """The error with those alarms of the rollouts that are in ALARM: they may be why the cloud went back."""
    try:
        gone_off = AlarmManager(connection.session).gone_off(rollback_alarms(wanted))
    except (AccessDeniedError, CloudError):
        return error  # as for the log
    said = "".join(f"\n  alarm '{name}' is in ALARM: {reason}" for name, reason in gone_off.items())
    return type(error)(error.message + said, hint=error.hint) if said else error


def rollback_alarms(wanted: Iterable[Resource]) -> list[str]:
    """The names of all alarms that undo a rollout of these."""
    policies = [resource.properties.get("DeploymentConfig", {}) for resource in wanted]
    named = [policy.get("AutoRollbackConfiguration", {}).get("Alarms", ()) for policy in policies]
    return list(dict.fromkeys(alarm["AlarmName"] for alarms in named for alarm in alarms))


def _with_the_log(steps: Iterator[Step], lines: Callable[[], list[str]]) -> Iterator[Step]:
    """The steps, and every so often in a wait what the containers said last: SageMaker tells it only at the end."""
    looked_s, said = 0.0, ""
    for step in steps:
        if step.stage is not Stage.WAITING:
            looked_s, said = 0.0, ""
        elif step.elapsed_s - looked_s >= LOG_EVERY_S:
            looked_s = step.elapsed_s
            said = next(reversed(lines()), "")
        yield replace(step, detail=step.detail or said)


def removal_service(
    name: str, connection: Connection, *, logs: bool = False, through_stacks: bool = False
) -> DeploymentService:
    """The engine over all that a removal looks for.

    Args:
        name: The deployment's name.
        connection: Where it is.
        logs: With the containers' log groups.
        through_stacks: Whoever removes deletes the stacks that hold it first, so that they forbid nothing.
    """
    groups = cloud_logs.log_groups(name, {name, *component_names(connection, name)}) if logs else ()
    managers = KindManagers(removal_managers(connection.session, name, groups))
    stack_exists = (lambda _: False) if through_stacks else Stacks(connection.session).exists
    return DeploymentService(managers, stack_exists=stack_exists)


def stacks_named_by(found: Iterable[Found]) -> frozenset[str]:
    """The CloudFormation stacks that objects name in their tags."""
    return frozenset(stack for each in found if (stack := stack_of(each.tags)))


def plan_removal(name: str, connection: Connection, *, service: DeploymentService | None = None) -> Plan:
    """What has to go so that nothing of a deployment is left. Raises ConflictError when the endpoint is not ours."""
    service = service or removal_service(name, connection)
    inventory = service.inventory(name)
    standing = inventory.found.get((ENDPOINT, name)) or inventory.found.get((INFERENCE_COMPONENT, name))
    if standing is not None and standing.owned_by != name:
        raise not_ours(standing, name, way_out=ADOPT.format(name=name))
    return plan_deletion(inventory, tuple(service.resource_manager.managers))


def smoke(deployed: Deployed, connection: Connection) -> Smoke:
    """One short streamed request, the proof that a new endpoint answers. Raises InferenceError when it does not."""
    return asked(connection, deployed.resolved.spec.name, deployed.resolved.component_name)


def asked(connection: Connection, name: str, component: str | None) -> Smoke:
    """As `smoke`, of any endpoint."""
    endpoint = client_for(connection, name, component)
    request = GenerationRequest(prompt=SMOKE_PROMPT, max_new_tokens=SMOKE_TOKENS, temperature=0.0)
    started_s = time.monotonic()
    first_s: float | None = None
    text, generated = "", None
    for chunk in endpoint.stream(request):
        if first_s is None and chunk.text:
            first_s = time.monotonic() - started_s
        text += chunk.text
        generated = chunk.counts.generated if chunk.counts else generated
    if not text:
        raise InferenceError("the endpoint answered its first request with no text")
    return Smoke(SMOKE_PROMPT, text, first_s, time.monotonic() - started_s, generated)


def client_for(connection: Connection, name: str, component: str | None = None) -> LLMInferenceSagemakerEndpoint:
    """The client of an endpoint on this connection."""
    return LLMInferenceSagemakerEndpoint(
        name,
        inference_component_name=component,
        session=connection.session,
        wait_for_capacity_s=SMOKE_PATIENCE_S,
    )


def receipt(
    deployed: Deployed, connection: Connection, steps: list[Step], seconds: float, answer: Smoke | None
) -> Receipt:
    """The end of a deployment."""
    resolved = deployed.resolved
    price = resolved.usd_per_hour
    return Receipt(
        deployment=resolved.spec.name,
        target=connection.target,
        account=connection.account,
        region=connection.region,
        done=what_was_done(steps),
        seconds=round(seconds, 2),
        usd_per_hour=None if price is None else price * resolved.spec.instance.initial_count,
        price_note=resolved.price_note,
        smoke=answer,
        notes=resolved.notes,
    )


def component_names(connection: Connection, name: str) -> list[str]:
    """The inference components of a deployment."""
    return [found.name for found in InferenceComponentManager(connection.session).owned(name)]


def documents_of(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Every object of a deployment in full, as the cloud describes it, with what looks secret masked."""
    return [
        {
            "kind": found.kind,
            "name": found.name,
            "status": found.status,
            "tags": masked(dict(found.tags)),
            "properties": masked(found.properties),
        }
        for found in service_for(connection).inventory(name).ours()
    ]
