"""A change set as lines of a plan. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import Action, Change, Difference
from llm_deploy.resource import Resource
from llm_deploy.targets.stack.stacks import Member, object_name

Document = Mapping[str, Any]

REPLACED = "a new one is made, and the old one goes when all is done"
PERHAPS_REPLACED = "replaced if what it refers to is"
TAKEN_IN = "taken into the stack as it is"
_ACTIONS = {"Add": Action.CREATE, "Remove": Action.DELETE, "Import": Action.KEEP}
_REPLACEMENTS = {"True": (Action.REPLACE, REPLACED), "Conditional": (Action.UPDATE, PERHAPS_REPLACED)}


def plan_lines(changes: Sequence[Document], wanted: Sequence[Resource]) -> tuple[Change, ...]:
    """What a change set does to each wanted resource, in their order, and then what it removes.

    Args:
        changes: The `Changes` of DescribeChangeSet, with property values where the cloud tells them.
        wanted: The resources that the template was rendered from.
    """
    by_id = {change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"] for change in changes}
    lines = [_line(resource, by_id.pop(resource.id, None)) for resource in wanted]
    return (*lines, *(_removal(change) for change in by_id.values()))


def is_member(found: Found, members: Sequence[Member]) -> bool:
    """Whether a stack holds an object."""
    key = (found.kind, found.name.lower())
    return any((member.kind, member.name.lower()) == key for member in members)


def _line(resource: Resource, change: Document | None) -> Change:
    if change is None:
        return Change(Action.KEEP, resource.kind, resource.name, resource)
    note = TAKEN_IN if change["Action"] == "Import" else ""
    action = _ACTIONS.get(change["Action"], Action.UPDATE)
    if change["Action"] == "Modify":
        action, note = _REPLACEMENTS.get(change.get("Replacement", ""), (Action.UPDATE, ""))
    found = None if action is Action.CREATE else Found(resource.kind, resource.name)
    differences = tuple(_differences(change)) if change["Action"] == "Modify" else ()
    return Change(action, resource.kind, resource.name, resource, found, differences, note)


def _removal(change: Document) -> Change:
    kind, physical_id = change["ResourceType"], change.get("PhysicalResourceId", change["LogicalResourceId"])
    name = object_name(kind, physical_id)
    return Change(Action.DELETE, kind, name, found=Found(kind, name))


def _differences(change: Document) -> Iterator[Difference]:
    """Leaf by leaf where the cloud tells properties before and after; else the names of what changes."""
    before, after = _context(change, "BeforeContext"), _context(change, "AfterContext")
    if before or after:
        yield from _leaves("", before, after)
        return
    for detail in change.get("Details", ()):
        target = detail["Target"]
        yield Difference(target.get("Name", target["Attribute"]), None, None)


def _context(change: Document, side: str) -> dict[str, Any]:
    """What is compared: properties with tags by their key, and the resource's own attributes."""
    try:
        read = json.loads(change.get(side) or "{}")
    except ValueError:
        return {}
    properties = dict(read.pop("Properties", {}))
    if isinstance(properties.get("Tags"), list):
        properties["Tags"] = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
    return {**{key: value for key, value in read.items() if isinstance(value, str)}, **properties}


def _leaves(path: str, before: object, after: object) -> Iterator[Difference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _leaves(f"{path}.{key}" if path else str(key), before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _leaves(f"{path}[{position}]", old, new)
    else:
        yield Difference(path, before, after)
