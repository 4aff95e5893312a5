"""What is deployed, read from the cloud: the list, and one deployment in detail."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import TAG_DEPLOYMENT, TAG_ENDPOINT_TYPE, TAG_MODEL, stack_of
from llm_deploy.targets.sagemaker.hosting import EndpointManager, InferenceComponentManager
from llm_deploy.targets.sagemaker.lifetimes import expiry, now, ttl_s
from llm_deploy.targets.sagemaker.machines import machines
from llm_deploy.targets.sagemaker.tags import tags_of

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One line of the list.

    Attributes:
        orphan: A component whose endpoint is gone, which AWS keeps and may bill.
        expires_at: The end of its ttl; `None` without one.
        stack: The CloudFormation stack that holds it; `None`: none does.
    """

    name: str
    status: str
    endpoint_type: str
    model: str
    created_at: datetime | None
    orphan: bool = False
    expires_at: datetime | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """An inference component: its state and its copies."""

    name: str
    status: str
    copies: int
    desired_copies: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """One deployment in detail.

    Attributes:
        instances: By variant: instance type, current and desired count.
        expires_at: The end of its ttl; `None` without one.
        notes: Tags that the cloud itself has put on endpoint and components (`aws:...`).
        stack: The CloudFormation stack that holds it; `None`: none does.
    """

    name: str
    status: str
    reason: str | None
    endpoint_type: str
    model: str
    config: str
    created_at: datetime | None
    instances: tuple[Mapping[str, Any], ...]
    components: tuple[ComponentStatus, ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    stack: str | None = None
    expires_at: datetime | None = None


def deployments(session: Session) -> Iterator[Deployment]:
    """Every deployment of ours in this account and region: endpoints by their tag, and components left without one."""
    names = set()
    for name, arn, status, created_at in _listed(session, "endpoint", "Endpoint"):
        names.add(name)
        tags = _tags(session, arn)
        if TAG_DEPLOYMENT in tags:
            kind, model = tags.get(TAG_ENDPOINT_TYPE, "?"), tags.get(TAG_MODEL, "?")
            ends = _expires_at(session, name, tags)
            yield Deployment(name, status, kind, model, created_at, expires_at=ends, stack=stack_of(tags))
    for name, arn, status, created_at in _listed(session, "inference_component", "InferenceComponent", without=names):
        tags = _tags(session, arn)
        if TAG_DEPLOYMENT in tags:
            kind, model = "inference-component", tags.get(TAG_MODEL, "?")
            yield Deployment(name, status, kind, model, created_at, orphan=True, stack=stack_of(tags))


def deployment_status(session: Session, name: str) -> DeploymentStatus:
    """One deployment. Raises NotFoundError when there is no endpoint of this name."""
    endpoint = EndpointManager(session).find(name)
    if endpoint is None:
        raise NotFoundError(f"there is no endpoint '{name}' in {session.region}", hint="`llmdeploy list` shows them.")
    components = InferenceComponentManager(session).owned(name)
    return DeploymentStatus(
        name=name,
        status=endpoint.status,
        reason=endpoint.reason,
        endpoint_type=endpoint.tags.get(TAG_ENDPOINT_TYPE, "unknown"),
        model=endpoint.tags.get(TAG_MODEL, "unknown"),
        config=endpoint.properties.get("EndpointConfigName", "unknown"),
        created_at=endpoint.created_at,
        instances=machines(session, endpoint),
        components=tuple(_component(found) for found in components),
        notes={
            key: value
            for found in (endpoint, *components)
            for key, value in found.tags.items()
            if key.startswith("aws:")
        },
        stack=stack_of(endpoint.tags),
        expires_at=expiry(session, endpoint, now()),
    )


def _expires_at(session: Session, name: str, tags: Mapping[str, str]) -> datetime | None:
    """Only a deployment with a ttl is looked at more closely than the list does."""
    endpoint = EndpointManager(session).find(name) if ttl_s(tags) is not None else None
    return expiry(session, endpoint, now()) if endpoint else None


def _component(found: Found) -> ComponentStatus:
    runtime = found.properties["RuntimeConfig"]
    current, desired = runtime.get("CurrentCopyCount", 0), runtime.get("DesiredCopyCount", 0)
    return ComponentStatus(found.name, found.status, current, desired, found.reason)


def _listed(
    session: Session, verb: str, noun: str, without: frozenset[str] | set[str] = frozenset()
) -> list[tuple[str, str, str, datetime]]:
    """Name, ARN, status and age of every object of a kind; `without`: not those on endpoints of these names."""
    with aws_errors(f"list {verb.replace('_', ' ')}s"):
        pages = session.client("sagemaker").get_paginator(f"list_{verb}s").paginate()
        items = [item for page in pages for item in page[f"{noun}s"]]
    return [
        (item[f"{noun}Name"], item[f"{noun}Arn"], item[f"{noun}Status"], item["CreationTime"])
        for item in items
        if item.get("EndpointName") not in without or verb == "endpoint"
    ]


def _tags(session: Session, arn: str) -> dict[str, str]:
    """An object's tags; none where it is gone or its tags may not be read.

    The deploy identity of `create-roles` reads the tags of what has its prefix and is refused for all else in the
    account, so a refusal says that the object is not one of its own.
    """
    try:
        return tags_of(session, arn)
    except (AccessDeniedError, NotFoundError) as error:
        LOG.debug("%s is taken for somebody else's: %s", arn, error)
        return {}
