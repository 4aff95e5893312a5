"""What has to change: a pure function of what is wanted and what was found. The plan printed is the plan applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.errors import ConflictError
from llm_deploy.resource import ENDPOINT, IMMUTABLE_KINDS, TAG_ENDPOINT_TYPE, Ref, Resource, in_dependency_order

KEPT_GENERATIONS = 2
"""How many generations of an immutable object stay: the one in use and the one to go back to."""


class Action(Enum):
    """What happens to an object; the value is the symbol that is printed."""

    CREATE = "+"
    UPDATE = "~"
    REPLACE = "±"
    DELETE = "-"
    KEEP = "="


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that is not as wanted; `path` is dotted."""

    path: str
    found: Any
    wanted: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan. `resource` is `None` for a deletion, `found` for a creation."""

    action: Action
    kind: str
    name: str
    resource: Resource | None = None
    found: Found | None = None
    differences: tuple[Difference, ...] = ()
    note: str = ""

    @property
    def purpose(self) -> str:
        """What the object is for, as far as the spec says."""
        return self.resource.purpose if self.resource else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run will do, in order."""

    deployment: str
    changes: tuple[Change, ...]

    @property
    def changing(self) -> tuple[Change, ...]:
        """The changes that do something."""
        return tuple(change for change in self.changes if change.action is not Action.KEEP)

    @property
    def pending(self) -> tuple[Change, ...]:
        """What is as wanted but has not settled yet, so that a run waits for it."""
        kept = (change for change in self.changes if change.action is Action.KEEP)
        return tuple(change for change in kept if change.found is not None and change.found.state is State.BUSY)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing to wait for."""
        return not self.changing and not self.pending


def plan(wanted: Sequence[Resource], inventory: Inventory) -> Plan:
    """The changes that turn what was found into what is wanted.

    Raises:
        ConflictError: A name is taken by something that is not ours, or a change cannot be made in place.
    """
    ordered = in_dependency_order(wanted)
    changes: dict[str, Change] = {}
    for resource in ordered:
        change = decide(resource, inventory.get(resource), inventory.deployment)
        changes[resource.id] = _with_what_it_stands_on(change, resource, changes)
    return Plan(inventory.deployment, (*changes.values(), *_removals(ordered, inventory)))


def plan_deletion(inventory: Inventory, order: Sequence[str]) -> Plan:
    """The changes towards the empty list; `order` names the kinds as they are made, so deletion goes backwards."""
    rank = {kind: position for position, kind in enumerate(order)}
    ours = sorted(inventory.ours(), key=lambda found: (-rank[found.kind], found.name))
    return Plan(inventory.deployment, tuple(_deletion(found) for found in ours))


def decide(resource: Resource, found: Found | None, deployment: str) -> Change:
    """What one resource needs, given what stands in its place."""
    if found is None:
        return Change(Action.CREATE, resource.kind, resource.name, resource)
    if found.owned_by != deployment:
        raise not_ours(found, deployment)
    if found.state in {State.FAILED, State.DELETING}:
        note = f"{found.status}: {found.reason}" if found.reason else found.status
        return Change(Action.REPLACE, resource.kind, resource.name, resource, found, note=note)
    differences = () if resource.immutable else compare(resource, found)
    _refuse_what_cannot_change(resource, found)
    action = Action.UPDATE if differences else Action.KEEP
    note = f"{found.status}, waited for" if found.state is State.BUSY else ""
    return Change(action, resource.kind, resource.name, resource, found, differences, note)


def compare(resource: Resource, found: Found) -> tuple[Difference, ...]:
    """The wanted properties and tags that differ. What AWS adds by itself (defaults, `aws:` tags) is no difference."""
    everything = _differences("", resource.properties, found.properties)
    differences = [difference for difference in everything if difference.path not in resource.write_only]
    for key, value in resource.tags.items():
        if found.tags.get(key) != value:
            differences.append(Difference(f"Tags.{key}", found.tags.get(key), value))
    return tuple(differences)


def not_ours(found: Found, deployment: str) -> ConflictError:
    """The error for an object that stands where we want ours."""
    who = f"it belongs to deployment '{found.owned_by}'" if found.owned_by else "it carries no tag of llmdeploy"
    return ConflictError(
        f"{short_kind(found.kind)} '{found.name}' exists already and is not ours: {who}.",
        hint=f"Choose another name than '{deployment}', or remove the object with the tool that made it.",
    )


def short_kind(kind: str) -> str:
    """`AWS::SageMaker::EndpointConfig` → `EndpointConfig`."""
    return kind.rsplit("::", 1)[-1]


def _with_what_it_stands_on(change: Change, resource: Resource, others: Mapping[str, Change]) -> Change:
    replaced = [needed for needed in resource.depends_on if others[needed].action is Action.REPLACE]
    if not replaced or change.found is None:
        return change
    return replace(change, action=Action.REPLACE, note=f"its {short_kind(others[replaced[0]].kind)} is replaced")


def _refuse_what_cannot_change(resource: Resource, found: Found) -> None:
    if resource.kind != ENDPOINT:
        return
    wanted_type = resource.tags.get(TAG_ENDPOINT_TYPE)
    found_type = found.tags.get(TAG_ENDPOINT_TYPE)
    if wanted_type and found_type and wanted_type != found_type:
        raise ConflictError(
            f"endpoint '{resource.name}' is {found_type}; AWS cannot turn it into {wanted_type} in place.",
            hint=f"Deploy under another name and move the callers, or `llmdeploy delete-endpoint {resource.name}` "
            "and deploy again (no answers in between).",
        )


def _removals(wanted: Sequence[Resource], inventory: Inventory) -> Iterable[Change]:
    names = {(resource.kind, resource.name) for resource in wanted}
    spare = [found for found in inventory.ours() if found.key not in names]
    kept = {found.key for found in _previous_generations(spare)}
    for found in sorted(spare, key=lambda item: (item.kind in IMMUTABLE_KINDS, item.kind, item.name)):
        if found.key in kept:
            yield Change(
                Action.KEEP, found.kind, found.name, found=found, note="previous generation, kept for rollback"
            )
        else:
            yield _deletion(found)


def _previous_generations(spare: Iterable[Found]) -> Iterable[Found]:
    for kind in IMMUTABLE_KINDS:
        generations = sorted((found for found in spare if found.kind == kind), key=_age, reverse=True)
        yield from generations[: KEPT_GENERATIONS - 1]


def _age(found: Found) -> datetime:
    return found.created_at or datetime.min.replace(tzinfo=UTC)


def _deletion(found: Found) -> Change:
    return Change(Action.DELETE, found.kind, found.name, found=found, note=found.status)


def _differences(path: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[Difference]:
    for key, value in wanted.items():
        where = f"{path}.{key}" if path else key
        yield from _value_differences(where, value, found.get(key))


def _value_differences(path: str, wanted: object, found: object) -> Iterable[Difference]:
    if isinstance(wanted, Ref):
        return
    if isinstance(wanted, Mapping):
        yield from _differences(path, wanted, found if isinstance(found, Mapping) else {})
    elif isinstance(wanted, list | tuple):
        others = list(found) if isinstance(found, list | tuple) else []
        if len(others) != len(wanted):
            yield Difference(path, found, wanted)
            return
        for position, (mine, theirs) in enumerate(zip(wanted, others, strict=True)):
            yield from _value_differences(f"{path}[{position}]", mine, theirs)
    elif wanted != found:
        yield Difference(path, found, wanted)
