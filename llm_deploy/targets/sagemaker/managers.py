"""The managers of every kind that this target makes, in the order in which it makes them."""

from __future__ import annotations

from collections.abc import Iterable

from llm_deploy.aws import Session
from llm_deploy.deploy.inventory import KindManager, Managers
from llm_deploy.spec import Place
from llm_deploy.targets.sagemaker.autoscaling import ScalableTargetManager, ScalingPolicyManager
from llm_deploy.targets.sagemaker.hosting import (
    EndpointConfigManager,
    EndpointManager,
    InferenceComponentManager,
    ModelManager,
)
from llm_deploy.targets.sagemaker.identities import RoleManager, ServiceLinkedRoleManager
from llm_deploy.targets.sagemaker.managed_policies import ManagedPolicyManager
from llm_deploy.targets.sagemaker.traces import LogGroupManager, TrackingAlarmManager
from llm_deploy.targets.sagemaker.users import AccessKeyManager, SecretSink, UserManager


def hosting_managers(session: Session) -> Managers:
    """The kinds of an endpoint's deployment; deletion goes backwards: policies, targets, components, endpoint, ..."""
    return _by_kind(
        ModelManager(session),
        EndpointConfigManager(session),
        EndpointManager(session),
        InferenceComponentManager(session),
        ScalableTargetManager(session),
        ScalingPolicyManager(session),
    )


def removal_managers(session: Session, deployment: str, log_groups: Iterable[str] = ()) -> Managers:
    """The kinds that a removal looks for: those of a deployment, and what AWS itself may have left of one.

    Args:
        session: Whose.
        deployment: What is removed.
        log_groups: Groups that are to go as well.
    """
    wide: Managers = _by_kind(
        ScalableTargetManager(session, everywhere=True), ScalingPolicyManager(session, everywhere=True)
    )
    # Containers write until their component and endpoint are gone, so their logs go last: they stand first.
    logs = LogGroupManager(session, deployment, frozenset(log_groups))
    return {logs.kind: logs, **hosting_managers(session), **wide, **_by_kind(TrackingAlarmManager(session, deployment))}


def identity_managers(session: Session, place: Place, sink: SecretSink) -> Managers:
    """The kinds of `create-roles`. `sink` takes a new access key's id and secret."""
    account_arn = f"arn:{place.partition}:iam::{place.account}"
    return _by_kind(
        ServiceLinkedRoleManager(session),
        ManagedPolicyManager(session, account_arn),
        RoleManager(session),
        UserManager(session),
        AccessKeyManager(session, sink),
    )


def _by_kind(*managers: KindManager) -> Managers:
    return {manager.kind: manager for manager in managers}
