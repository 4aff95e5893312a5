"""Two runs at once on one deployment: who holds it, who has lost, and what may not be removed.

AWS has no lock, but CreateEndpoint refuses a second time and UpdateEndpoint refuses while another update runs, and the
same holds for components. So the run whose call is taken first has the deployment; the one that comes second looks at
what the first is about. If that is what it wants too, it waits for it; else it stops, and removes nothing more. The
endpoint outranks the component: a run that moves the endpoint brings the component in line, whatever was done to it
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from llm_deploy.deploy import generations
from llm_deploy.deploy.claims import named_by
from llm_deploy.deploy.inventory import Found, KindManager, Listing, Managers, State, Watching
from llm_deploy.deploy.plan import Action, Change, Difference, Plan, compare, decide, is_of_the_version, short_kind
from llm_deploy.errors import ConflictError, LlmDeployError, NotFoundError
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

FOLLOWERS = frozenset({INFERENCE_COMPONENT, SCALABLE_TARGET, SCALING_POLICY})
"""What hangs on an endpoint. A run that has moved the endpoint looks at them again, for a run that came too late may
have changed them before it noticed: rules are removed before the move that they stand in the way of."""

RULES = frozenset({SCALABLE_TARGET, SCALING_POLICY})

AT_ONCE = frozenset({MODEL, ENDPOINT_CONFIG, SCALABLE_TARGET, SCALING_POLICY})
"""Whose deletion is done when it is answered: nothing has to be waited for."""

_REMOVED_HINT = "If that was meant, `llmdeploy delete-endpoint` removes the rest; otherwise run the same command again."


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


def known(planned: Found, watched: Found | None) -> Found | None:
    """A look without tags, completed with those that the plan was made from."""
    return None if watched is None else replace(watched, tags=planned.tags, owned_by=planned.owned_by)


def overtaken(change: Change, resource: Resource, fresh: Found | None, deployment: str) -> bool:
    """Whether another run has made something else of an object than what the plan was made from, or wants."""
    return fresh is not None and _document(decide(resource, fresh, deployment)) not in ((), _document(change))


def touched(change: Change, resource: Resource, fresh: Found | None) -> bool:
    """Whether another run has moved an object since the plan, wherever: then its tags are to be read again."""
    before = change.found
    return fresh is not None and before is not None and _distance(resource, fresh) != _distance(resource, before)


def moved(change: Change, resource: Resource, fresh: Found | None, deployment: str) -> Change:
    """What is left to do for an update that was planned a while ago, now that we have looked again.

    Raises:
        ConflictError: Another run has changed the object since into something else, or removed it, or has brought it
            where this one wants it as the first part of a move to something else.
    """
    if fresh is None:
        raise removed(change)
    if overtaken(change, resource, fresh, deployment) or _marked_otherwise(change, resource, fresh):
        raise lost(change, fresh)
    return decide(resource, fresh, deployment)


def settled(change: Change, resource: Resource, standing: Found, deployment: str) -> Change:
    """What is left to do when an update that AWS refused, because one was running, is over.

    That one may have been ours, its answer lost: then the object is as wanted but perhaps for its tags, or as before
    because AWS took the update back, which is not to be tried again by itself.

    Raises:
        ConflictError: It is neither.
    """
    again = moved(change, resource, standing, deployment)
    taken_back = bool(_document(again))
    return replace(again, action=Action.KEEP) if taken_back else again


def elsewhere(resource: Resource, standing: Found) -> bool:
    """Whether an endpoint that is being updated goes to another config than the wanted one, as far as AWS tells."""
    pending = standing.properties.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    return pending is not None and pending != resource.properties.get("EndpointConfigName")


def check_endpoint(change: Change, plan: Plan, managers: Managers) -> None:
    """Look at the endpoint right before its component is changed by a run that does not move the endpoint itself.

    Raises:
        ConflictError: Another run moves the endpoint, or has moved it, away from what this one planned with.
    """
    goal = locks(plan).get(ENDPOINT)
    if goal is None:
        return
    standing = _look(managers[ENDPOINT], goal.name)
    if standing is None or standing.state is State.DELETING:
        raise removed(Change(Action.KEEP, ENDPOINT, goal.name))
    if set(named_by(standing)) != set(named_by(_as_found(goal))):
        raise lost(change, managers[ENDPOINT].find(goal.name) or standing)


def check_standing(change: Change, managers: Managers) -> None:
    """Look at an endpoint or component that a plan keeps or moves: it must stand as the plan was made from, or goes to.

    Raises:
        ConflictError: Another run moves it, has moved it or has removed it.
    """
    standing = _look(managers[change.kind], change.name)
    gone = standing is None or standing.state is State.DELETING
    if change.found is None or change.resource is None or (gone and change.found.state is State.DELETING):
        return
    if standing is None or gone:
        raise removed(change)
    expected = {key for item in (change.found, _as_found(change.resource)) for key in named_by(item)}
    at_rest = _distance(change.resource, standing) in ((), _distance(change.resource, change.found))
    if not set(named_by(standing)) <= expected or (change.kind != ENDPOINT and not at_rest):
        raise lost(change, managers[change.kind].find(change.name) or standing)


def check_locks(plan: Plan, managers: Managers) -> None:
    """Do so for the endpoint and the component of a plan that builds on both; not for what the run makes anew."""
    for lock in plan.changes:
        if lock.kind in LOCK_KINDS and lock.action in {Action.KEEP, Action.UPDATE}:
            check_standing(lock, managers)


def check_before_rules(change: Change, plan: Plan, managers: Managers) -> None:
    """Look at what scales right before the first scaling rule of a run is put: putting one overwrites another run's.

    Raises:
        ConflictError: Another run has moved it away from what this one wants, or removed it.
    """
    first = next((item for item in plan.changes if item.kind in RULES and item.resource and item.moves), None)
    if first is None or first.name != change.name:
        return
    check_goals(change, plan, managers)


def check_goals(change: Change, plan: Plan, managers: Managers) -> None:
    """Look whether what a run has moved is where it moved it. Raises ConflictError when another run has it now."""
    for kind, goal in locks(plan).items():
        standing = _look(managers[kind], goal.name)
        if standing is None or standing.state is State.DELETING:
            raise removed(Change(Action.KEEP, kind, goal.name))
        if not _is_at(goal, standing):
            raise lost(change, managers[kind].find(goal.name) or standing)


def check_still_ours(change: Change, resource: Resource, found: Found, by: str) -> None:
    """Raise ConflictError when what we changed came to rest as something else than what it was, or signed by others.

    What it was before is no other run's doing, but AWS's, which takes an update back without an error. A signature
    that it carried before this run says nothing.
    """
    if change.kind not in LOCK_KINDS or _is_at(resource, found):
        return
    before = change.found
    foreign = bool(by) and found.tags.get(TAG_BY) not in {None, by, before.tags.get(TAG_BY) if before else None}
    if before is None or foreign or set(named_by(found)) != set(named_by(before)):
        raise lost(change, found)
    if _distance(resource, found) != _distance(resource, before):
        raise lost(change, found)


def check_unused(change: Change, plan: Plan, managers: Managers) -> None:
    """Look right before something is removed: nothing may use it, and the deployment must be ours still.

    Raises:
        ConflictError: Another run has moved the deployment on, or makes something from what is to be removed.
    """
    if change.kind == ENDPOINT:
        _check_bare(change, plan, managers)
    elif change.kind in RULES:
        check_locks(plan, managers)
    if change.kind not in IMMUTABLE_KINDS or ENDPOINT not in managers:
        return
    wanted = locks(plan)
    endpoint = _look(managers[ENDPOINT], plan.deployment)
    if ENDPOINT not in wanted:
        _check_not_among(change, [new] if (new := newly_named(change, plan, managers)) else ())
        _check_not_among(change, _serving(endpoint, plan, managers) if endpoint else ())
        return
    if endpoint is None:
        raise removed(Change(Action.KEEP, ENDPOINT, plan.deployment))
    for kind, resource in wanted.items():
        standing = endpoint if kind == ENDPOINT else _look(managers[kind], resource.name)
        if standing is None or not _is_at(resource, standing):
            raise lost(change, managers[kind].find(resource.name) or endpoint)


def newly_named(change: Change, plan: Plan, managers: Managers) -> Found | None:
    """A config that was made since the plan and names a model that is to be removed: its endpoint may come any moment.

    A deploy leaves the model to it; a deletion has to say that it cannot end.
    """
    manager = managers.get(ENDPOINT_CONFIG)
    if change.kind != MODEL or manager is None or not isinstance(manager, Listing):
        return None
    known = {known.name for known in plan.changes if known.kind == ENDPOINT_CONFIG}
    news = (_look(manager, name) for name in manager.named(plan.deployment) if name not in known)
    return next((found for found in news if found is not None and (MODEL, change.name) in named_by(found)), None)


def locks(plan: Plan) -> dict[str, Resource]:
    """The endpoint and component that a plan wants, by kind; none when it removes the deployment."""
    return {change.kind: change.resource for change in plan.changes if change.kind in LOCK_KINDS and change.resource}


def lost(change: Change, standing: Found) -> ConflictError:
    """The error of the run that came second."""
    by = standing.tags.get(TAG_BY)
    who = f", by {by} as its tag says" if by else ""
    return ConflictError(
        f"another run changes {short_kind(standing.kind)} '{standing.name}' at the same time{who}; it is "
        f"{standing.status or 'there'} with {_goal(standing)}. This run stopped at "
        f"{short_kind(change.kind)} '{change.name}' and removes nothing more.",
        hint=f"`llmdeploy status {standing.name}` shows when that run is done. The same command then starts from what "
        "is there.",
    )


def removed(change: Change) -> ConflictError:
    """The error when something that the plan builds on is gone."""
    return ConflictError(
        f"{short_kind(change.kind)} '{change.name}' is gone: another run removed it after this one had made its plan.",
        hint=_REMOVED_HINT,
    )


def check_ground(change: Change, plan: Plan, managers: Managers, error: LlmDeployError) -> None:
    """Tell a refusal because another run took away what is built on, from one that has other reasons.

    Raises:
        ConflictError: What the object needs stood there a moment ago and is gone, or is going.
    """
    if change.kind == INFERENCE_COMPONENT:
        check_endpoint(change, plan, managers)
    if isinstance(error, NotFoundError) and change.resource is not None and change.resource.depends_on:
        raise ConflictError(
            f"another run removed what {short_kind(change.kind)} '{change.name}' needs: {error.message}",
            hint=_REMOVED_HINT,
        ) from error


def _as_found(resource: Resource) -> Found:
    return Found(resource.kind, resource.name, resource.properties)


def _distance(resource: Resource, found: Found) -> tuple[Difference, ...]:
    """What of a version is not as wanted: all of what answers, not only which model; tags and copies aside."""
    differences = filter(is_of_the_version, compare(resource, found))
    return tuple(difference for difference in differences if not difference.path.startswith("Tags."))


def _is_at(goal: Resource, standing: Found) -> bool:
    """Whether what stands is the wanted version, and is on the way to no other as far as AWS tells."""
    return set(named_by(standing)) == set(named_by(_as_found(goal))) and not _distance(goal, standing)


def _marked_otherwise(change: Change, resource: Resource, standing: Found) -> bool:
    """Whether an endpoint says since the plan that it moves to another goal: its component is yet to follow."""
    ours = generations.goal_in(resource.tags)
    before = generations.goal_in(change.found.tags) if change.found else None
    return ours is not None and generations.goal_in(standing.tags) not in {ours, before}


def _goal(found: Found) -> str:
    pending = found.properties.get("PendingDeploymentSummary", {})
    names = [name for _, name in named_by(Found(found.kind, found.name, pending or found.properties))]
    return f"{', '.join(names) or 'another document'}"


def _document(change: Change) -> tuple[Difference, ...]:
    return tuple(difference for difference in change.differences if not difference.path.startswith("Tags."))


def _check_bare(change: Change, plan: Plan, managers: Managers) -> None:
    """AWS removes an endpoint without its components, which then stand for ever and block their names."""
    manager = managers.get(INFERENCE_COMPONENT)
    names: Sequence[str] = manager.named(plan.deployment) if isinstance(manager, Listing) else ()
    if manager is not None and any(_belongs(manager.find(name), plan.deployment) for name in names):
        raise ConflictError(
            f"another run has made a component of Endpoint '{change.name}' while this one removes it. The endpoint was "
            "not removed.",
            hint="Wait until that run is done, then run the same command again: it removes what is there then.",
        )


def _belongs(found: Found | None, deployment: str) -> bool:
    return found is not None and found.owned_by == deployment


def _check_not_among(change: Change, users: Iterable[Found]) -> None:
    user = next((user for user in users if (change.kind, change.name) in named_by(user)), None)
    if user is not None:
        raise ConflictError(
            f"{short_kind(change.kind)} '{change.name}' is in use again, by {short_kind(user.kind)} '{user.name}': "
            "another run deploys from it. It was not removed.",
            hint="Wait until that run is done; what is then to be removed is shown by running the same command again.",
        )


def _serving(endpoint: Found, plan: Plan, managers: Managers) -> Iterator[Found]:
    """An endpoint, its configs and the deployment's components."""
    yield endpoint
    for kind, name in named_by(endpoint):
        if (found := _look(managers[kind], name)) is not None:
            yield found
    yield from managers[INFERENCE_COMPONENT].owned(plan.deployment) if INFERENCE_COMPONENT in managers else ()


def _look(manager: KindManager, name: str) -> Found | None:
    return manager.watch(name) if isinstance(manager, Watching) else manager.find(name)
