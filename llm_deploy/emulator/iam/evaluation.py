"""AWS's evaluation of one request against all policies that apply, within one account.

An explicit deny anywhere wins. Otherwise an identity-based policy must allow, and so must the permissions boundary and
the session policies where there are any; or the resource's own policy allows, by naming who asks.
Source: IAM user guide, "Policy evaluation logic".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from llm_deploy.emulator.iam.conditions import Keys, holds
from llm_deploy.emulator.iam.patterns import Lookup, matches
from llm_deploy.emulator.iam.policy import Statement, Statements


class PolicyKind(StrEnum):
    """Where a decision comes from, in the words of AWS's error texts."""

    IDENTITY = "identity-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"
    RESOURCE = "resource-based policy"


class Naming(StrEnum):
    """How a resource's policy names who asks."""

    NOT_AT_ALL = "not at all"
    ACCOUNT = "account"
    """Only its account: whether it may is left to its own policies."""
    ROLE = "role"
    DIRECTLY = "directly"
    """As a user, a session or a service."""


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody wants to do.

    Attributes:
        action: `sagemaker:CreateModel`.
        resource: An ARN, or `*` for actions that have no resource.
    """

    action: str
    resource: str
    keys: Keys

    def lookup(self, key: str) -> str | None:
        """A condition key's value for a policy variable."""
        values = self.keys.get(key.lower(), ())
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of a principal.

    Attributes:
        identity: Its own statements and its groups'.
        boundary, session: `None` when there is none; an empty one allows nothing.
    """

    identity: Statements = ()
    boundary: Statements | None = None
    session: Statements | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome.

    Attributes:
        explicit: A statement decided, rather than the lack of one.
        kind: The policy that decided.
    """

    allowed: bool
    explicit: bool
    kind: PolicyKind


ALLOWED = Decision(allowed=True, explicit=True, kind=PolicyKind.IDENTITY)


def decide(access: Access, policies: Policies, named: Iterable[tuple[Statement, Naming]] = ()) -> Decision:
    """Decide about a request; `named` are the statements of the resource's own policy that name who asks, and how."""
    own = {
        PolicyKind.IDENTITY: policies.identity,
        PolicyKind.BOUNDARY: policies.boundary,
        PolicyKind.SESSION: policies.session,
    }
    resource = [(statement, naming) for statement, naming in named if applies(statement, access)]
    for kind, statements in own.items():
        if any(not each.allows and applies(each, access) for each in statements or ()):
            return Decision(allowed=False, explicit=True, kind=kind)
    if any(not statement.allows for statement, _ in resource):
        return Decision(allowed=False, explicit=True, kind=PolicyKind.RESOURCE)
    namings = {naming for statement, naming in resource if statement.allows}
    if Naming.DIRECTLY in namings:
        return Decision(allowed=True, explicit=True, kind=PolicyKind.RESOURCE)
    for kind, statements in own.items():
        by_resource = kind is PolicyKind.IDENTITY and Naming.ROLE in namings
        if statements is not None and not by_resource and not _allowed(statements, access):
            return Decision(allowed=False, explicit=False, kind=kind)
    return ALLOWED


def applies(statement: Statement, access: Access) -> bool:
    """Whether a statement is about this request; who asks is not looked at."""
    lookup = access.lookup if statement.has_variables else None
    return (
        _about_action(statement, access.action)
        and _about_resource(statement, access.resource, lookup)
        and all(holds(condition, access.keys, lookup) for condition in statement.conditions)
    )


def _allowed(statements: Statements, access: Access) -> bool:
    return any(each.allows and applies(each, access) for each in statements)


def _about_action(statement: Statement, action: str) -> bool:
    found = any(matches(pattern, action, ignore_case=True) for pattern in statement.actions)
    return found is not statement.negated_actions


def _about_resource(statement: Statement, resource: str, lookup: Lookup | None) -> bool:
    if statement.resources is None:
        return True
    found = any(matches(pattern, resource, lookup) for pattern in statement.resources)
    return found is not statement.negated_resources
