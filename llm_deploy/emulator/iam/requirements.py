"""What an operation needs: actions on resources, with the condition keys of the request.

Read from `data/authorization.yaml`, whose head explains its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE_FILE = Path(__file__).parent.parent / "data" / "authorization.yaml"

Document = dict[str, Any]
Keys = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one resource.

    Attributes:
        own: It is the operation's own action; others a service looks for on the caller's behalf.
        keys: Condition keys that come from the request; names in lower case.
    """

    action: str
    resource: str
    keys: Keys = field(default_factory=dict)
    own: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """Where values come from; see the head of the table."""

    of: str
    part: int | None = None
    starts: str = ""
    arn: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Also:
    """A further action."""

    action: str
    on: Mapping[str, Source]
    when: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one operation needs.

    Attributes:
        on: Resources by name; empty: `*`.
        source, grade: Who says so, as in the ledger.
    """

    on: Mapping[str, Source] = field(default_factory=dict)
    keys: Mapping[str, Source] = field(default_factory=dict)
    tags: str | None = None
    request_tags: str | None = None
    tag_keys: str | None = None
    passes: str | None = None
    service_linked_role: str | None = None
    also: tuple[Also, ...] = ()
    source: str = "Service authorization reference"
    grade: str = "D"


@dataclass(frozen=True, slots=True)
class Service:
    """The operations of one service.

    Attributes:
        namespace: What stands before the colon of its actions.
        tagging: What a Create with tags needs as well, and the condition key that names the Create.
        passed_to: Whom it hands roles to.
    """

    namespace: str
    resources: Mapping[str, str]
    operations: Mapping[str, Rule]
    tagging: Mapping[str, str] = field(default_factory=dict)
    passed_to: str = ""


@cache
def table() -> dict[str, Service]:
    """The whole table by botocore's names of the services.

    Raises:
        TypeError: An entry has a word that is not known.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    raw: dict[str, Document] = yaml.load(TABLE_FILE.read_text("utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    return {name: _service(fields) for name, fields in raw.items()}


def service_linked_role(name: str, operation: str) -> str | None:
    """The service whose role the first call of an operation makes. Ledger: `access.service-linked-role`."""
    return table()[name].operations[operation].service_linked_role


def needs_beside(name: str, operation: str, params: Document, place: Mapping[str, str]) -> list[Need]:
    """What a request needs to tag and to hand roles over; nothing for operations that the table lacks."""
    service = table()[name]
    rule = service.operations.get(operation)
    if rule is None:
        return []
    tagged = _resources(service, rule.on, params, place) if rule.tags and params.get(rule.tags) else []
    keys = _keys(service, rule, params, place)
    tagging = [need for resource in tagged for need in _tagging(service, rule, operation, resource, keys)]
    return [*tagging, *_passing(service, rule, params)]


def needs_of(name: str, operation: str, params: Document, place: Mapping[str, str]) -> list[Need]:
    """What a request needs, its own action first. `name` is botocore's of the service, `place` has region and account.

    Raises:
        LookupError: The table lacks the operation.
    """
    service = table()[name]
    rule = service.operations[operation]
    keys = _keys(service, rule, params, place)
    action = f"{service.namespace}:{operation}"
    own = [Need(action, resource, keys) for resource in _resources(service, rule.on, params, place) or ["*"]]
    tagging = _tagging(service, rule, operation, own[0].resource, keys) if rule.tags and params.get(rule.tags) else []
    return [*own, *tagging, *_passing(service, rule, params), *_further(service, rule, params, place)]


def values(params: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - a document, or what is in one
    """The values of a member (`VpcConfig.Subnets[]`), as text."""
    if not path:
        if isinstance(params, bool):
            yield str(params).lower()
        elif isinstance(params, (str, int, float)):
            yield str(params)
        return
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    value = params.get(name) if isinstance(params, dict) else None
    for each in value if head.endswith("[]") and isinstance(value, list) else [value]:
        yield from values(each, rest)


def _tagging(service: Service, rule: Rule, operation: str, resource: str, keys: Keys) -> list[Need]:
    """Ledger: `access.add-tags`."""
    of_tags = ("aws:requesttag/", "aws:tagkeys")
    tag_keys = {name: value for name, value in keys.items() if name.startswith(of_tags)}
    if name := service.tagging.get("key"):
        tag_keys[name.lower()] = (operation,)
    return [Need(service.tagging["action"], resource, tag_keys)] if rule.tags else []


def _passing(service: Service, rule: Rule, params: Document) -> list[Need]:
    """Ledger: `access.pass-role`."""
    roles = values(params, rule.passes) if rule.passes else ()
    return [Need("iam:PassRole", role, {"iam:passedtoservice": (service.passed_to,)}) for role in roles]


def _further(service: Service, rule: Rule, params: Document, place: Mapping[str, str]) -> list[Need]:
    return [
        Need(also.action, resource, own=False)
        for also in rule.also
        if all(params.get(name) == value for name, value in also.when.items())
        for resource in _resources(service, also.on, params, place)
    ]


def _resources(service: Service, on: Mapping[str, Source], params: Document, place: Mapping[str, str]) -> list[str]:
    return [
        value if kind == "arn" else _arn(service, kind, value, params, place)
        for kind, source in on.items()
        for value in _found(source, params)
    ]


def _arn(service: Service, kind: str, name: str, params: Document, place: Mapping[str, str]) -> str:
    if name.startswith("arn:"):
        return name
    texts = {key: value for key, value in params.items() if isinstance(value, str)}
    # SageMaker's ARNs have names in lower case. Ledger: `sm.arn.lower-case`.
    lower = ":sagemaker:" in service.resources[kind]
    return service.resources[kind].format(**{**texts, **place, "name": name.lower() if lower else name})


def _keys(service: Service, rule: Rule, params: Document, place: Mapping[str, str]) -> Keys:
    keys: dict[str, tuple[str, ...]] = {}
    for key, source in rule.keys.items():
        found = tuple(_found(source, params))
        if source.arn is not None:
            found = tuple(_arn(service, source.arn, name, params, place) for name in found)
        if found:
            keys[key.lower()] = found
    tags = _tags(params.get(rule.tags or rule.request_tags or "") or {})
    keys |= {f"aws:requesttag/{name}".lower(): (value,) for name, value in tags.items()}
    tag_keys = tuple(tags) or tuple(values(params, rule.tag_keys) if rule.tag_keys else ())
    return keys | ({"aws:tagkeys": tag_keys} if tag_keys else {})


def _tags(raw: Any) -> dict[str, str]:  # noqa: ANN401 - both forms that AWS has
    if isinstance(raw, dict):
        return {str(name): str(value) for name, value in raw.items()}
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in raw}


def _found(source: Source, params: Document) -> list[str]:
    found = [value for value in values(params, source.of) if value.startswith(source.starts)]
    if source.part is not None:
        found = [value.split("/")[source.part] for value in found if value.count("/") >= source.part]
    if not found and source.default is not None:
        return [source.default]
    return found


def _service(fields: Document) -> Service:
    operations = {name: _rule(rule) for name, rule in fields.pop("operations").items()}
    return Service(operations=operations, **fields)


def _rule(fields: Document) -> Rule:
    raw = dict(fields)
    on = raw.pop("resource")
    return Rule(
        on={} if on == "*" else _sources(on),
        keys=_sources(raw.pop("keys", {})),
        also=tuple(
            Also(each["action"], _sources(each["resource"]), each.get("when", {})) for each in raw.pop("also", ())
        ),
        **raw,
    )


def _sources(raw: Document) -> dict[str, Source]:
    return {name: Source(of=where) if isinstance(where, str) else Source(**where) for name, where in raw.items()}
