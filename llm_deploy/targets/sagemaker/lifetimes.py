"""How old deployments are, how long they are to live, and what they have cost: for `reap`, `list` and `status`.

A `ttl` is a span and no moment, so that the strategy stays pure and a template says the same. It counts from the last
deploy, which AWS does not write down. `LastModifiedTime` is not that moment: scaling and AWS's own upkeep move it, so
that an endpoint in use would never expire. Two things tell, and the later one counts. What a deploy makes anew are
config, component or model, which AWS never changes the time of; so the youngest of those that serve. And whoever goes
back to a generation that is kept makes nothing, but signs endpoint or component with the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from llm_deploy.aws import Session
from llm_deploy.deploy.claims import named_by
from llm_deploy.deploy.inventory import Found
from llm_deploy.errors import AccessDeniedError
from llm_deploy.resource import ENDPOINT_CONFIG, TAG_BY, TAG_TTL
from llm_deploy.spec import durations
from llm_deploy.targets.sagemaker.hosting import (
    EndpointConfigManager,
    EndpointManager,
    HostingManager,
    InferenceComponentManager,
    ModelManager,
)
from llm_deploy.targets.sagemaker.machines import machines, usd_per_hour

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead a signature's time may be: clocks differ, and AWS refuses requests from those that are further off."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One deployment's time and money.

    Attributes:
        expires_at: The end of its ttl; `None` without one.
        usd_per_hour: What its machines bill now, at list price; `None` when unknown.
        usd_so_far: The same price over its whole age: scaling up and down in between is not in it.
    """

    name: str
    status: str
    created_at: datetime
    expires_at: datetime | None
    age_s: float
    left_s: float | None
    usd_per_hour: float | None
    usd_so_far: float | None


def lifetime(session: Session, endpoint: Found, now: datetime) -> Lifetime:
    """The time and the money of a deployment whose endpoint is given."""
    created_at = endpoint.created_at or now
    expires_at = expiry(session, endpoint, now)
    cost = usd_per_hour(machines(session, endpoint), session.region)
    age_s = max((now - created_at).total_seconds(), 0.0)
    return Lifetime(
        name=endpoint.name,
        status=endpoint.status,
        created_at=created_at,
        expires_at=expires_at,
        age_s=age_s,
        left_s=(expires_at - now).total_seconds() if expires_at else None,
        usd_per_hour=cost,
        usd_so_far=None if cost is None else cost * age_s / 3600,
    )


def lifetimes(session: Session, names: Iterator[str], at: datetime) -> Iterator[Lifetime]:
    """The lifetimes of deployments by name; what is gone by now is passed over."""
    for name in names:
        endpoint = EndpointManager(session).find(name)
        if endpoint is not None:
            yield lifetime(session, endpoint, at)


def expiry(session: Session, endpoint: Found, now: datetime) -> datetime | None:
    """When the ttl of a deployment ends; `None` without one, or where its tag is no span of time."""
    span_s = ttl_s(endpoint.tags)
    if span_s is None or endpoint.created_at is None:
        return None
    return max((endpoint.created_at, *_deployed(session, endpoint, now))) + timedelta(seconds=span_s)


def ttl_s(tags: Mapping[str, str]) -> int | None:
    """The span in the tag of a ttl; `None` where there is none, or what somebody wrote there is no span."""
    try:
        return durations.seconds(tags.get(TAG_TTL, ""))
    except ValueError:
        return None


def signed_at(tags: Mapping[str, str], now: datetime) -> datetime | None:
    """When a run last began to change what carries these tags; `None` where they do not say.

    Anybody may write a tag, so a time that is yet to come does not count: it would keep a deployment for ever.
    """
    written = re.search(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", tags.get(TAG_BY, ""), re.ASCII)
    try:
        at = datetime.fromisoformat(written[0]) if written else None
    except ValueError:
        return None
    return None if at is None or at > now + CLOCK_SKEW else at


def remaining(left_s: float) -> str:
    """Time left, in words: `2h5m left`, `expired 3d ago`."""
    if left_s > 0:
        return f"{rough(left_s)} left"
    return f"expired {rough(-left_s)} ago"


def rough(span_s: float) -> str:
    """A span to the minute, or to the second below one."""
    return durations.text(span_s if span_s < 60 else span_s // 60 * 60)  # noqa: PLR2004 - a minute


def now() -> datetime:
    """The time here. AWS refuses requests from clocks that are more than minutes off, so it is the cloud's as well."""
    return datetime.now(UTC)


def _deployed(session: Session, endpoint: Found, now: datetime) -> Iterator[datetime]:
    """When the config, the components and the models that serve were made, and when what serves was signed."""
    components = InferenceComponentManager(session).owned(endpoint.name)
    models = {str(found.properties["Specification"]["ModelName"]) for found in components if _has_model(found)}
    configs = [name for kind, name in named_by(endpoint) if kind == ENDPOINT_CONFIG]
    named = [
        *((EndpointConfigManager(session), name) for name in configs),
        *((ModelManager(session), name) for name in sorted(models)),
    ]
    for found in (*components, *(_readable(manager, name) for manager, name in named)):
        if found is not None and found.created_at is not None:
            yield found.created_at
    yield from (at for found in (endpoint, *components) if (at := signed_at(found.tags, now)) is not None)


def _readable(manager: HostingManager, name: str) -> Found | None:
    try:
        return manager.find(name)
    except AccessDeniedError:
        return None  # of another prefix than this identity's: it was not made by one of our deploys


def _has_model(component: Found) -> bool:
    return "ModelName" in component.properties.get("Specification", {})
