"""Policy documents, read into statements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

VARIABLES_SINCE = "2012-10-17"
"""Documents of older versions, and without one, have no variables."""


class MalformedPolicyError(Exception):
    """The document is no policy; the text says why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a Condition block.

    Attributes:
        operator: In lower case, with its prefix and suffix: `foranyvalue:stringlikeifexists`.
        key: In lower case.
    """

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Attributes:
        negated_actions, negated_resources, negated_principals: The element was NotAction, NotResource, NotPrincipal.
        resources: `None` in a trust policy, which is about the role it belongs to.
        principals: `(type, name)`, for example `("AWS", "arn:...")`; `None` in an identity-based policy.
        has_variables: `${...}` are variables.
    """

    sid: str
    allows: bool
    actions: tuple[str, ...]
    negated_actions: bool
    resources: tuple[str, ...] | None
    negated_resources: bool
    conditions: tuple[Condition, ...]
    principals: tuple[tuple[str, str], ...] | None
    negated_principals: bool
    has_variables: bool


Statements = tuple[Statement, ...]


def statements_of(document: str) -> Statements:
    """The statements of a document; of one that cannot be read none: it grants nothing.

    Such a document never gets into an AWS account; the backend keeps any text.
    """
    try:
        return parse(document)
    except MalformedPolicyError:
        return ()


@lru_cache(maxsize=1024)
def parse(document: str) -> Statements:
    """The statements of a policy document.

    Raises:
        MalformedPolicyError: It is not a policy.
    """
    try:
        raw = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyError("The policy is not JSON.") from error
    if not isinstance(raw, dict):
        raise MalformedPolicyError("The policy is not an object.")
    has_variables = raw.get("Version") == VARIABLES_SINCE
    return tuple(_statement(each, has_variables=has_variables) for each in _as_list(raw.get("Statement", [])))


def _statement(raw: Any, *, has_variables: bool) -> Statement:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(raw, dict) or raw.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError("A statement needs the Effect Allow or Deny.")
    actions, negated_actions = _either(raw, "Action")
    if actions is None:
        raise MalformedPolicyError("A statement needs Action or NotAction.")
    resources, negated_resources = _either(raw, "Resource")
    negated_principals = "NotPrincipal" in raw
    principals = raw.get("NotPrincipal" if negated_principals else "Principal")
    return Statement(
        sid=str(raw.get("Sid", "")),
        allows=raw["Effect"] == "Allow",
        actions=actions,
        negated_actions=negated_actions,
        resources=resources,
        negated_resources=negated_resources,
        conditions=tuple(_conditions(raw.get("Condition", {}))),
        principals=None if principals is None else tuple(_principals(principals)),
        negated_principals=negated_principals,
        has_variables=has_variables,
    )


def _either(raw: dict[str, Any], name: str) -> tuple[tuple[str, ...] | None, bool]:
    negated = f"Not{name}" in raw
    if negated and name in raw:
        raise MalformedPolicyError(f"A statement has {name} or Not{name}, not both.")
    value = raw.get(f"Not{name}" if negated else name)
    return (None if value is None else tuple(_texts(value))), negated


def _conditions(raw: Any) -> list[Condition]:  # noqa: ANN401 - as above
    if not isinstance(raw, dict) or not all(isinstance(block, dict) for block in raw.values()):
        raise MalformedPolicyError("A Condition is an object of objects.")
    return [
        Condition(operator.lower(), key.lower(), tuple(_texts(values)))
        for operator, block in raw.items()
        for key, values in block.items()
    ]


def _principals(raw: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - as above
    if raw == "*":
        return [("AWS", "*")]
    if not isinstance(raw, dict):
        raise MalformedPolicyError("A Principal is * or an object.")
    return [(kind, name) for kind, names in raw.items() for name in _texts(names)]


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - as above
    """Numbers and booleans count as their JSON text."""
    return [each if isinstance(each, str) else json.dumps(each) for each in _as_list(value)]


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - one or many everywhere
    return value if isinstance(value, list) else [value]
