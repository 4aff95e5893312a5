"""The least that one deployment needs: the same templates as the roles', with the deployment's own names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from llm_deploy.resource import (
    ALARM,
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    TAG_DEPLOYMENT,
    Resource,
)
from llm_deploy.spec import ResolvedSpec
from llm_deploy.targets.sagemaker import iam, strategy, wishes
from llm_deploy.targets.sagemaker.statements import Document, Scope, needs, policy, statements

Identity = Literal["deploy", "invoke", "execution"]
IDENTITIES: tuple[Identity, ...] = get_args(Identity)

_HASH_CHARACTERS = 8
_OF_KINDS: Mapping[str, str] = {
    "deploy-components": INFERENCE_COMPONENT,
    "deploy-scaling": SCALABLE_TARGET,
    "deploy-alarms": ALARM,
}
"""Templates that only deployments with a kind need."""
_IN_STACKS: Mapping[str, frozenset[str]] = {
    SCALABLE_TARGET: frozenset({"FindSchedules", "TagOwnTargets"}),
    ALARM: frozenset({"UntagAlarms"}),
}
"""Statements of the stack's template that only deployments with a kind need."""
_OF_QUEUES = frozenset({"InvokeQueues"})
"""No spec makes an asynchronous endpoint; the roles' policies are for those of others under the prefix too."""
_OF_INSTANCES = frozenset({"ScaleInstances", "InstanceAlarms"})
_OF_COPIES = frozenset({"ScaleCopies", "CopyAlarms"})


@dataclass(frozen=True, slots=True)
class Least:
    """A policy, and what each statement is needed for, by its Sid."""

    document: Document
    needs: Mapping[str, str]


def least(resolved: ResolvedSpec, identity: Identity, *, through_stack: bool = False) -> Least:
    """The policy of who deploys this one deployment, of who may only invoke it, or of its execution role.

    Args:
        resolved: The deployment.
        identity: Whose policy.
        through_stack: Whether it is deployed through CloudFormation, so that whoever deploys needs more.
    """
    wanted = {resource.kind: resource for resource in strategy.resources(resolved)}
    scope = _scope(resolved, wanted)
    found: list[Document] = []
    reasons: dict[str, str] = {}
    for name in _templates(identity, scope, wanted, through_stack=through_stack):
        found += [item for item in statements(name, scope) if item["Sid"] not in _unneeded(wanted)]
        reasons |= needs(name)
    return Least(policy(found), reasons)


def _templates(
    identity: Identity, scope: Scope, wanted: Mapping[str, Resource], *, through_stack: bool
) -> Iterator[str]:
    if identity == "execution":
        yield from iam.execution_templates(scope)
    elif identity == "invoke":
        yield iam.INVOKE_POLICY
    else:
        needed = (name for name in iam.DEPLOY_POLICIES if _OF_KINDS.get(name, MODEL) in wanted)
        yield from (name for name in needed if through_stack or name != iam.STACK_POLICY)


def _unneeded(wanted: Mapping[str, Resource]) -> frozenset[str]:
    """What is not there needs nothing; what scales is either the machines of a model or the copies of a component."""
    absent = (sids for kind, sids in _IN_STACKS.items() if kind not in wanted)
    return (_OF_INSTANCES if INFERENCE_COMPONENT in wanted else _OF_COPIES).union(_OF_QUEUES, *absent)


def _scope(resolved: ResolvedSpec, wanted: Mapping[str, Resource]) -> Scope:
    spec, place = resolved.spec, resolved.place
    bucket, folder = wishes.weights_for(None, spec)
    component = wanted.get(INFERENCE_COMPONENT)
    return Scope(
        place,
        prefix=spec.name,
        endpoint=wanted[ENDPOINT].name,
        config=_any_content(wanted[ENDPOINT_CONFIG]),
        model=_any_content(wanted[MODEL]),
        component=component.name if component else None,
        alarm=f"{spec.name}-*",
        deployment=wanted[ENDPOINT].tags[TAG_DEPLOYMENT],
        execution_role_arn=resolved.execution_role_arn,
        repositories=wishes.repositories_of(resolved.image_uri, place),
        model_bucket=bucket,
        model_prefix=folder,
        kms_key=wishes.key_for(spec),
        subnet_ids=spec.network.subnets,
        security_group_ids=spec.network.security_group_ids,
        alarms=spec.update.alarms.count > 0,
    )


def _any_content(resource: Resource) -> str:
    """The names of an object whatever its content: `twin-15fa9409` → `twin-*`."""
    return f"{resource.name[:-_HASH_CHARACTERS]}*"
