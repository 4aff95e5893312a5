"""What carries our tags and no deployment claims, and taking it away: `llmdeploy gc`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.apply import Step
from llm_deploy.deploy.claims import Unclaimed, unclaimed
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Change, Plan, deletion, in_deletion_order
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S, DeploymentService
from llm_deploy.errors import AccessDeniedError, ConflictError, LlmDeployError
from llm_deploy.resource import ENDPOINT_CONFIG, INFERENCE_COMPONENT, MODEL
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import logs
from llm_deploy.targets.sagemaker.alarms import AlarmManager
from llm_deploy.targets.sagemaker.leftovers import by_owner, dangling_targets, listed

Named = Mapping[str, Iterable[str]]
"""Names of objects by kind."""

_NOUNS = {MODEL: "Model", ENDPOINT_CONFIG: "EndpointConfig", INFERENCE_COMPONENT: "InferenceComponent"}


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        older_than_s: What is younger is spared: somebody may be deploying it.
        prefix: Deployments whose name begins with it.
        logs: Log groups of what is gone as well.
    """

    connection: Connection
    older_than_s: float
    prefix: str = ""
    logs: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """What one deployment left.

    Attributes:
        named: Names of what carries its tag, by kind, as the lists of the region gave them.
        plan: What would be removed, in order.
        spared: What nobody claims either and stays all the same.
        problem: Why it could not be judged; `None` when it was.
    """

    deployment: str
    named: Named
    plan: Plan
    spared: tuple[Unclaimed, ...]
    problem: LlmDeployError | None = None


def search(what: Search) -> list[Garbage]:
    """Everything with our tags that no deployment claims, by deployment. Reads the tags of the whole region."""
    found = (_judged(what, name, named) for name, named in sorted(_by_deployment(what).items()))
    return [garbage for garbage in found if garbage.plan.changes or garbage.spared or garbage.problem]


def remove(what: Search, garbage: Garbage, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[Step]:
    """Remove what was shown and is garbage still: what somebody deploys from meanwhile is claimed again.

    Raises:
        LlmDeployError: It cannot be judged any more, or not be removed.
    """
    still = {(change.kind, change.name) for change in _still(what, garbage)}
    changes = tuple(change for change in garbage.plan.changes if (change.kind, change.name) in still)
    service = _service(what, garbage.deployment)
    yield from service.apply(Plan(garbage.deployment, changes), timeout_s=timeout_s)


def standing(what: Search, garbage: Garbage) -> tuple[Found, ...]:
    """What of the garbage is still garbage: the proof when empty. Raises LlmDeployError where that cannot be told."""
    planned = {(change.kind, change.name) for change in garbage.plan.changes}
    left = (change.found for change in _still(what, garbage))
    return tuple(found for found in left if found is not None and found.key in planned)


def _still(what: Search, garbage: Garbage) -> tuple[Change, ...]:
    """What would be removed by now."""
    now = _judged(what, garbage.deployment, garbage.named)
    if now.problem is not None:
        raise now.problem
    return now.plan.changes


def _by_deployment(what: Search) -> dict[str, dict[str, list[str]]]:
    """What the tags of the region say: by deployment and kind, the names."""
    session = what.connection.session
    found: dict[str, dict[str, list[str]]] = {}
    for kind, noun in _NOUNS.items():
        for name, names in by_owner(session, listed(session, noun)).items():
            found.setdefault(name, {})[kind] = names
    logged = _logged(what) if what.logs and what.prefix else ()
    for name in (*dangling_targets(session), *AlarmManager(session).owners(what.prefix), *logged):
        found.setdefault(name, {})
    return {name: named for name, named in found.items() if name.startswith(what.prefix)}


def _judged(what: Search, name: str, named: Named) -> Garbage:
    service = _service(what, name)
    managers = service.resource_manager.managers
    try:
        inventory = service.inventory(name)
        more = (managers[kind].find(each) for kind, names in named.items() for each in names)
        ours = {item.key: item for item in more if item is not None} | dict(inventory.found)
        whole = service.with_released(Inventory(name, ours, inventory.released))
    except (AccessDeniedError, ConflictError) as error:
        return Garbage(name, named, Plan(name, ()), (), problem=error)
    rest = unclaimed(whole, datetime.now(UTC), what.older_than_s)
    whys = {item.found.key: item.why for item in rest}
    doomed = in_deletion_order((item.found for item in rest if not item.spared), tuple(managers))
    changes = tuple(deletion(found, whys[found.key]) for found in doomed)
    return Garbage(name, named, Plan(name, changes), tuple(item for item in rest if item.spared))


def _service(what: Search, name: str) -> DeploymentService:
    return deployment.removal_service(name, what.connection, logs=what.logs)


def _logged(what: Search) -> Iterator[str]:
    """Names of endpoints and components that are gone and whose log groups begin with the prefix.

    A log group carries no tag, so only a prefix that was asked for says whose it is.
    """
    session = what.connection.session
    for start, noun in ((logs.ENDPOINTS, "Endpoint"), (logs.COMPONENTS, "InferenceComponent")):
        there = listed(session, noun)
        yield from (name for name in _groups(session, start, what.prefix) if name not in there)


def _groups(session: Session, start: str, prefix: str) -> list[str]:
    with aws_errors("list log groups"):
        pages = session.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=start + prefix)
        return [group["logGroupName"].removeprefix(start) for page in pages for group in page["logGroups"]]
