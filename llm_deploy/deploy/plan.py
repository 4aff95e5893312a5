"""What has to change: a pure function of what is wanted and what was found. The plan printed is the plan applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from llm_deploy.deploy import generations
from llm_deploy.deploy.generations import Generation
from llm_deploy.deploy.inventory import Found, Inventory, State
from llm_deploy.errors import ConflictError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    IMMUTABLE_KINDS,
    INFERENCE_COMPONENT,
    MANAGED_POLICY,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_CONTENT,
    TAG_PREVIOUS,
    TAG_REACHED,
    Ref,
    Resource,
    in_dependency_order,
    owner,
)

_SCALING_KINDS = frozenset({SCALABLE_TARGET, SCALING_POLICY})
"""Removed before what they scale changes, since AWS refuses the change otherwise."""

_ATTACHED_KINDS = IMMUTABLE_KINDS | {MANAGED_POLICY}
"""What names one of these is pointed at the new one; it does not go with the old one."""


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

    @property
    def moves(self) -> bool:
        """Whether the cloud works on the object itself; an update may change no more than what its tags say."""
        if self.action is not Action.UPDATE:
            return self.action is not Action.KEEP
        mixed = self.found is not None and self.found.state is State.MIXED
        return mixed or any(map(_is_of_the_object, self.differences))


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


def plan(wanted: Sequence[Resource], inventory: Inventory, *, goal: str | None = None) -> Plan:
    """The changes that turn what was found into what is wanted.

    Args:
        wanted: Everything that is to be there.
        inventory: Everything that is there.
        goal: What a move to another generation is remembered by; by default what is wanted.

    Raises:
        ConflictError: A name is taken by something that is not ours, or a change cannot be made in place.
    """
    refuse_what_a_stack_holds(inventory)
    ordered = in_dependency_order(wanted)
    changes: dict[str, Change] = {}
    for resource in ordered:
        change = decide(resource, inventory.get(resource), inventory.deployment)
        changes[resource.id] = _with_what_it_stands_on(change, resource, changes)
    left, goal = None, goal or generations.goal_of(ordered)
    if any(_moves_on(change) for change in changes.values()):
        left, marks = generations.leaving(inventory, goal, generations.wanted(ordered))
        changes = {name: _tagged(change, {**marks, TAG_REACHED: goal}) for name, change in changes.items()}
    elif any(change.found is not None and _is_on_its_way(change.found, goal) for change in changes.values()):
        changes = {name: _tagged(change, {TAG_REACHED: goal}) for name, change in changes.items()}
    first, last = _removals(ordered, inventory, left)
    return Plan(inventory.deployment, (*first, *changes.values(), *last))


def plan_deletion(inventory: Inventory, order: Sequence[str]) -> Plan:
    """The changes towards the empty list; `order` names the kinds as they are made, so deletion goes backwards."""
    refuse_what_a_stack_holds(inventory)
    return Plan(inventory.deployment, tuple(deletion(found) for found in in_deletion_order(inventory.ours(), order)))


def in_deletion_order(objects: Iterable[Found], order: Sequence[str]) -> list[Found]:
    """Backwards through the kinds as they are made, and what is built on another object of its kind before that."""
    rank = {kind: position for position, kind in enumerate(order)}
    return sorted(objects, key=lambda found: (-rank[found.kind], not _stands_on_its_kind(found), found.name))


def deletion(found: Found, note: str = "") -> Change:
    """The change that removes an object; the note is its status unless another is given."""
    return Change(Action.DELETE, found.kind, found.name, found=found, note=note or found.status)


def _stands_on_its_kind(found: Found) -> bool:
    """Whether a component is an adapter: its base cannot go before it."""
    return bool(found.properties.get("Specification", {}).get("BaseInferenceComponentName"))


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
    refuse_what_cannot_change(resource, differences)
    if found.state is State.MIXED:
        note = f"{found.status}: serves a mix of old and new, which another update mends; {resource.rollout}"
        return Change(Action.UPDATE, resource.kind, resource.name, resource, found, differences, note)
    if any(difference.path.removeprefix("Tags.") in resource.replace_on for difference in differences):
        note = "removed first and made again after: AWS changes no machine of a variant that may scale"
        return Change(Action.REPLACE, resource.kind, resource.name, resource, found, differences, note)
    action = Action.UPDATE if differences else Action.KEEP
    waited = f"{found.status}, waited for" if found.state is State.BUSY else ""
    rollout = resource.rollout if any(map(is_of_the_version, differences)) else ""
    note = "; ".join(part for part in (waited, rollout) if part)
    return Change(action, resource.kind, resource.name, resource, found, differences, note)


def compare(resource: Resource, found: Found) -> tuple[Difference, ...]:
    """The wanted properties and tags that differ. What AWS adds by itself (defaults, `aws:` tags) is no difference."""
    everything = _differences("", resource.properties, found.properties)
    differences = [difference for difference in everything if not _is_below(difference.path, resource.write_only)]
    for key, value in resource.tags.items():
        if found.tags.get(key) != value:
            differences.append(Difference(f"Tags.{key}", found.tags.get(key), value))
    return tuple(differences)


def not_ours(found: Found, deployment: str, *, way_out: str | None = None) -> ConflictError:
    """The error for an object that stands where we want ours; `way_out` where that is not another name."""
    who = f"it belongs to deployment '{found.owned_by}'" if found.owned_by else "it carries no tag of llmdeploy"
    return ConflictError(
        f"{short_kind(found.kind)} '{found.name}' exists already and is not ours: {who}.",
        hint=way_out or f"Choose another name than '{deployment}', or remove the object with the tool that made it.",
    )


def refuse_what_a_stack_holds(inventory: Inventory) -> None:
    """Raise ConflictError where a stack holds any of it: a change beside the stack would be a drift that it undoes."""
    for stack in sorted(inventory.stacks):
        raise ConflictError(
            f"CloudFormation stack '{stack}' holds objects of '{inventory.deployment}'; they are changed through it.",
            hint="Deploy with `--via cloudformation`, which updates the stack, or remove the deployment with "
            "`llmdeploy delete-endpoint`, which deletes it.",
        )


def short_kind(kind: str) -> str:
    """`AWS::SageMaker::EndpointConfig` → `EndpointConfig`."""
    return kind.rsplit("::", 1)[-1]


def _is_below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith((f"{root}.", f"{root}[")) for root in roots)


def _is_of_the_object(difference: Difference) -> bool:
    """Whether a difference is more than a tag; the hash of a component's content stands for the content."""
    return not difference.path.startswith("Tags.") or difference.path == f"Tags.{TAG_CONTENT}"


def is_of_the_version(difference: Difference) -> bool:
    """Whether a difference is one of what answers, not of how many or of what is said about it."""
    return difference.path == "EndpointConfigName" or _is_below(
        difference.path, ("Specification", f"Tags.{TAG_CONTENT}")
    )


def _moves_on(change: Change) -> bool:
    """Whether a change takes an endpoint or a component to another generation."""
    serving = change.kind in {ENDPOINT, INFERENCE_COMPONENT} and change.action is Action.UPDATE
    return serving and any(map(is_of_the_version, change.differences))


def _is_on_its_way(found: Found, goal: str) -> bool:
    """Whether an endpoint's move to this goal was cut off before anybody said that it was over."""
    return found.kind == ENDPOINT and generations.under_way(found) == goal


def _tagged(change: Change, tags: Mapping[str, str]) -> Change:
    """The endpoint's change with what the endpoint is to remember; it comes before the component's."""
    if change.kind != ENDPOINT or change.resource is None or change.action not in {Action.KEEP, Action.UPDATE}:
        return change
    resource = replace(change.resource, tags={**change.resource.tags, **tags})
    note = change.note or "remembers the generation before, for rollback"
    return replace(change, action=Action.UPDATE, resource=resource, note=note)


def _with_what_it_stands_on(change: Change, resource: Resource, others: Mapping[str, Change]) -> Change:
    """What hangs on an object that is made anew is made anew as well: its old self hangs on nothing."""
    if change.found is None or change.action is Action.REPLACE:
        return change
    for needed in (others[name] for name in resource.depends_on):
        if needed.kind not in _ATTACHED_KINDS and needed.action in {Action.CREATE, Action.REPLACE}:
            return replace(change, action=Action.REPLACE, note=f"its {short_kind(needed.kind)} is made anew")
    return change


def refuse_what_cannot_change(resource: Resource, differences: Iterable[Difference]) -> None:
    """Raise ConflictError for a difference in what AWS does not change on an object that exists."""
    for difference in differences:
        if difference.path in resource.create_only and difference.found is not None:
            what = difference.path.removeprefix("Tags.llmdeploy:")
            raise ConflictError(
                f"{short_kind(resource.kind)} '{resource.name}' has {what} '{difference.found}'; AWS cannot change it "
                f"to '{difference.wanted}' in place.",
                hint="Deploy under another name and move the callers, or `llmdeploy delete-endpoint` and deploy again "
                "(no answers in between).",
            )


def _removals(
    wanted: Sequence[Resource], inventory: Inventory, left: Generation | None
) -> tuple[list[Change], list[Change]]:
    """What our tags claim and nobody wants any more: scaling rules to remove before everything else, the rest after."""
    names = {(resource.kind, resource.name) for resource in wanted}
    spare = [found for found in inventory.ours() if found.key not in names and _is_tagged(found, inventory)]
    kept = previous_generation(spare, inventory, left)
    first: list[Change] = []
    last: list[Change] = []
    for found in sorted(spare, key=lambda item: (item.kind in IMMUTABLE_KINDS, item.kind, item.name)):
        if found.key in kept:
            note = "previous generation, kept for rollback"
            last.append(Change(Action.KEEP, found.kind, found.name, found=found, note=note))
        else:
            (first if found.kind in _SCALING_KINDS else last).append(deletion(found))
    return sorted(first, key=lambda change: change.kind == SCALABLE_TARGET), last


def _is_tagged(found: Found, inventory: Inventory) -> bool:
    """Whether an object is ours by its own tag, not only by what it hangs on: others may have put a rule there."""
    return owner(found.tags) == inventory.deployment


def previous_generation(
    spare: Sequence[Found], inventory: Inventory, left: Generation | None = None
) -> set[tuple[str, str]]:
    """The objects among the spare ones that are kept to go back to: what is `left`, else what served before.

    A generation is a config and the models that it, or the component, names: age alone would keep an update that
    failed and remove what serves. Only where the endpoint says nothing (it is gone, or its marks are) age decides.
    """
    left = left or generations.previous(inventory)
    if left is not None:
        return generations.objects_of(left, spare)
    endpoint = generations.only(inventory, ENDPOINT)
    if endpoint is not None and TAG_PREVIOUS in endpoint.tags:
        return set()
    config = _newest(spare, ENDPOINT_CONFIG)
    if generations.only(inventory, INFERENCE_COMPONENT) is not None or config is None:
        return {found.key for found in (config, _newest(spare, MODEL)) if found is not None}
    return generations.objects_of(Generation(config.name), spare)


def _newest(spare: Iterable[Found], kind: str) -> Found | None:
    return max((found for found in spare if found.kind == kind), key=_age, default=None)


def _age(found: Found) -> datetime:
    return found.created_at or datetime.min.replace(tzinfo=UTC)


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
