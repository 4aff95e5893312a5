"""Two runs at once on one deployment: who holds it, who has lost, and what may not be removed.

AWS has no lock, but CreateEndpoint refuses a second time and UpdateEndpoint refuses while another update runs, and the
same holds for components. So whoever's call is taken first has the deployment; whoever comes second looks at what the
first one is about. If that is what he wants too, he waits with him; else he stops, and removes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.deploy.claims import Key, named_by
from llm_deploy.deploy.inventory import Found, KindManager, Managers, State, Watching
from llm_deploy.deploy.plan import Action, Change, Difference, decide, short_kind
from llm_deploy.errors import ConflictError, LlmDeployError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    IMMUTABLE_KINDS,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_BY,
    Resource,
)

LOCK_KINDS = frozenset({ENDPOINT, INFERENCE_COMPONENT})
"""Whose create and update AWS takes from one run at a time."""

AT_ONCE = frozenset({MODEL, ENDPOINT_CONFIG, SCALABLE_TARGET, SCALING_POLICY})
"""Whose deletion is done when it is answered: nothing has to be waited for."""


def clashed(change: Change, resource: Resource, standing: Found, deployment: str) -> Change:
    """What is left to do when the name of something new turns out to be taken.

    By ourselves in most cases: the answer of a call that took effect was lost, or another run of the same spec was a
    little quicker.

    Raises:
        ConflictError: It is not ours, or another run makes something else there.
    """
    again = decide(resource, standing, deployment)
    if again.kind in LOCK_KINDS and (standing.state is State.DELETING or again.action is Action.UPDATE):
        raise lost(change, standing)
    return again


def moved(change: Change, resource: Resource, fresh: Found | None, deployment: str) -> Change:
    """What is left to do for an update that was planned a while ago, now that we have looked again.

    Raises:
        ConflictError: Another run has changed the object since into something else, or removed it.
    """
    if fresh is None:
        raise removed(change)
    again = decide(resource, fresh, deployment)
    if again.action is Action.KEEP or _document(again) == _document(change):
        return again
    raise lost(change, fresh)


def settled(change: Change, resource: Resource, standing: Found, deployment: str) -> Change:
    """What is left to do when an update that AWS refused, because one was running, is over.

    That one may have been ours, its answer lost: then the object is as wanted, or as before because AWS took it back.

    Raises:
        ConflictError: It is neither.
    """
    again = moved(change, resource, standing, deployment)
    return Change(Action.KEEP, again.kind, again.name, again.resource, standing, again.differences, again.note)


def elsewhere(resource: Resource, standing: Found) -> bool:
    """Whether an endpoint that is being updated goes to another config than the wanted one, as far as AWS tells."""
    pending = standing.properties.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    return pending is not None and pending != resource.properties.get("EndpointConfigName")


def check_still_ours(change: Change, resource: Resource, found: Found) -> None:
    """Raise ConflictError when an object that we changed came to rest as neither what it was nor what we wanted."""
    before = change.found
    mine, now = set(named_by(Found(resource.kind, resource.name, resource.properties))), set(named_by(found))
    if change.kind in LOCK_KINDS and now != mine and (before is None or now != set(named_by(before))):
        raise lost(change, found)


def check_unused(change: Change, deployment: str, wanted: Mapping[str, Resource], managers: Managers) -> None:
    """Look right before a model or config is removed: nothing may use it, and the deployment must still be ours.

    Args:
        change: The removal.
        deployment: Whose object it is.
        wanted: The endpoint and component of the plan by kind; none when the plan removes the deployment.
        managers: By kind.

    Raises:
        ConflictError: Another run has moved the deployment on, or has made it again from what is to be removed.
    """
    if change.kind not in IMMUTABLE_KINDS or ENDPOINT not in managers:
        return
    endpoint = _look(managers[ENDPOINT], deployment)
    if endpoint is None:
        return
    if ENDPOINT not in wanted:
        _check_not_among(change, _in_use(endpoint, deployment, managers))
        return
    for kind, resource in wanted.items():
        standing = endpoint if kind == ENDPOINT else _look(managers[kind], resource.name)
        goal = Found(kind, resource.name, resource.properties)
        if standing is None or set(named_by(standing)) != set(named_by(goal)):
            raise lost(change, managers[kind].find(resource.name) or endpoint)


def lost(change: Change, standing: Found) -> ConflictError:
    """The error of the run that came second."""
    by = standing.tags.get(TAG_BY)
    who = f", by {by} as its tag says" if by else ""
    return ConflictError(
        f"another run changes {short_kind(standing.kind)} '{standing.name}' at the same time{who}; it is "
        f"{standing.status or 'there'} with {_goal(standing)}. This run stopped at "
        f"{short_kind(change.kind)} '{change.name}' and removed nothing of it.",
        hint=f"`llmdeploy status {standing.name}` shows when that run is done. The same command then starts from what "
        "is there.",
    )


def removed(change: Change) -> ConflictError:
    """The error when something that the plan builds on is gone."""
    return ConflictError(
        f"{short_kind(change.kind)} '{change.name}' is gone: another run removed it after this one had made its plan.",
        hint="If that was meant, `llmdeploy delete-endpoint` removes the rest; otherwise run the same command again.",
    )


def pulled_away(change: Change, error: LlmDeployError) -> ConflictError:
    """The error when what an object needs, and what stood there a moment ago, is not found by the cloud."""
    return ConflictError(
        f"another run removed what {short_kind(change.kind)} '{change.name}' needs: {error.message}",
        hint="If that was meant, `llmdeploy delete-endpoint` removes the rest; otherwise run the same command again.",
    )


def _goal(found: Found) -> str:
    pending = found.properties.get("PendingDeploymentSummary", {})
    names = [name for _, name in named_by(Found(found.kind, found.name, pending or found.properties))]
    return f"{', '.join(names) or 'another document'}"


def _document(change: Change) -> tuple[Difference, ...]:
    return tuple(difference for difference in change.differences if not difference.path.startswith("Tags."))


def _check_not_among(change: Change, used: Mapping[Key, Found]) -> None:
    user = used.get((change.kind, change.name))
    if user is not None:
        raise ConflictError(
            f"{short_kind(change.kind)} '{change.name}' is in use again, by {short_kind(user.kind)} '{user.name}': "
            "another run deploys from it. It was not removed.",
            hint="Wait until that run is done; what is then to be removed is shown by running the same command again.",
        )


def _in_use(endpoint: Found, deployment: str, managers: Managers) -> dict[Key, Found]:
    """What an endpoint, its configs and its components name, and which of them does."""
    configs = [found for kind, name in named_by(endpoint) if (found := _look(managers[kind], name)) is not None]
    components = managers[INFERENCE_COMPONENT].owned(deployment) if INFERENCE_COMPONENT in managers else ()
    return {key: user for user in (endpoint, *configs, *components) for key in named_by(user)}


def _look(manager: KindManager, name: str) -> Found | None:
    return manager.watch(name) if isinstance(manager, Watching) else manager.find(name)
