"""Who asks: users, roles and sessions as IAM and STS keep them, made into principals with their policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from llm_deploy.emulator.iam.conditions import Keys
from llm_deploy.emulator.iam.evaluation import Naming, Policies
from llm_deploy.emulator.iam.policy import Statement, Statements, statements_of

Record = dict[str, Any]
"""A user, a role, an access key or a session; the backend writes them, in its module `account`."""

Records = Mapping[str, Record]


class PrincipalKind(StrEnum):
    """Values of the condition key aws:PrincipalType."""

    ROOT = "Account"
    USER = "User"
    ROLE = "AssumedRole"
    FEDERATED = "FederatedUser"
    SERVICE = "Service"
    ANONYMOUS = "Anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who makes requests.

    Attributes:
        arn: As AWS's error texts have it: of a role the session's ARN; of a service its name.
        policies: `None`: everything is allowed, nothing is asked.
        role_arn: Of a session, the role.
        keys: What policies may ask about it.
    """

    arn: str
    kind: PrincipalKind
    account: str
    policies: Policies | None = None
    role_arn: str | None = None
    keys: Keys = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key with what is needed to check a signature.

    Attributes:
        expires_at: Seconds since the epoch; `None` for keys that do not expire.
    """

    access_key: str
    secret: str
    token: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """IAM at one moment.

    Attributes:
        users, roles: By name.
        keys: Access keys of users, by id.
    """

    id: str
    users: Records = field(default_factory=dict)
    roles: Records = field(default_factory=dict)
    keys: Records = field(default_factory=dict)

    def role(self, arn: str) -> Record | None:
        """The role of an ARN."""
        found = self.roles.get(arn.rpartition("/")[2])
        return found if found is not None and found["arn"] == arn else None

    def key_owner(self, access_key: str) -> Principal | None:
        """The user of an access key."""
        user = self.users.get(self.keys.get(access_key, {}).get("user", ""))
        return None if user is None else user_principal(self.id, user)

    def session_owner(self, session: Record) -> Principal | None:
        """The principal of a session; `None` when its role or its user is gone."""
        if session["role"] is not None:
            role = self.roles.get(session["role"])
            return None if role is None else role_principal(self.id, role, session)
        if session["user"] is None:
            return root(self.id)
        user = self.users.get(session["user"])
        return None if user is None else _session_of_user(self.id, user, session)


def root(account: str) -> Principal:
    """The account itself: whoever owns it may do everything. Ledger: `access.root`."""
    arn = f"arn:aws:iam::{account}:root"
    keys = _keys(arn, account, PrincipalKind.ROOT, account)
    return Principal(arn, PrincipalKind.ROOT, account, keys=keys)


def service(name: str, account: str) -> Principal:
    """A service of AWS that acts of its own accord, for example `sagemaker.amazonaws.com`."""
    keys = {
        "aws:principalisawsservice": ("true",),
        "aws:principalservicename": (name,),
        "aws:principaltype": (PrincipalKind.SERVICE.value,),
    }
    return Principal(name, PrincipalKind.SERVICE, account, policies=Policies(), keys=keys)


def anonymous() -> Principal:
    """Nobody in particular."""
    keys = {"aws:principaltype": (PrincipalKind.ANONYMOUS.value,)}
    return Principal("anonymous", PrincipalKind.ANONYMOUS, "", policies=Policies(), keys=keys)


def user_principal(account: str, user: Record) -> Principal:
    """A user, with its own policies and its groups'."""
    keys = {
        **_keys(user["arn"], account, PrincipalKind.USER, user["id"]),
        **_tag_keys(user["tags"]),
        "aws:username": (user["name"],),
    }
    return Principal(user["arn"], PrincipalKind.USER, account, policies_of(user, None), keys=keys)


def role_principal(account: str, role: Record, session: Record) -> Principal:
    """A session of a role."""
    keys = {
        **_keys(role["arn"], account, PrincipalKind.ROLE, session["user_id"]),
        **_tag_keys({**role["tags"], **session["tags"]}),
        **_session_keys(session),
    }
    policies = policies_of(role, session["policies"])
    return Principal(session["arn"], PrincipalKind.ROLE, account, policies, role_arn=role["arn"], keys=keys)


def _session_of_user(account: str, user: Record, session: Record) -> Principal:
    """GetSessionToken's credentials are the user; GetFederationToken's a federated user with the user's policies."""
    owner = user_principal(account, user)
    if session["arn"] == user["arn"]:
        return Principal(owner.arn, owner.kind, account, owner.policies, keys={**owner.keys, **_session_keys(session)})
    keys = {
        **_keys(session["arn"], account, PrincipalKind.FEDERATED, session["user_id"]),
        **_tag_keys(session["tags"]),
        **_session_keys(session),
    }
    # A federated user without session policies may nothing.
    policies = policies_of(user, session["policies"] or [])
    return Principal(session["arn"], PrincipalKind.FEDERATED, account, policies, keys=keys)


def policies_of(entity: Record, session_policies: list[str] | None) -> Policies:
    """The policies of a user or a role, within those of a session."""
    boundary = entity["boundary"]
    return Policies(
        identity=_joined(entity["policies"]),
        boundary=None if boundary is None else statements_of(boundary),
        session=None if session_policies is None else _joined(session_policies),
    )


def naming(statement: Statement, principal: Principal) -> Naming:
    """How a statement of a resource's policy names a principal."""
    named = _named(statement, principal)
    if statement.negated_principals:
        return Naming.DIRECTLY if named is Naming.NOT_AT_ALL else Naming.NOT_AT_ALL
    return named


def naming_statements(document: str, principal: Principal) -> list[tuple[Statement, Naming]]:
    """The statements of a resource's policy that name a principal."""
    found = [(statement, naming(statement, principal)) for statement in statements_of(document)]
    return [(statement, how) for statement, how in found if how is not Naming.NOT_AT_ALL]


def _named(statement: Statement, principal: Principal) -> Naming:
    found = {_naming(kind, name, principal) for kind, name in statement.principals or ()}
    for how in (Naming.DIRECTLY, Naming.ROLE, Naming.ACCOUNT):
        if how in found:
            return how
    return Naming.NOT_AT_ALL


def _naming(kind: str, name: str, principal: Principal) -> Naming:
    if kind == "AWS" and name == "*":
        return Naming.DIRECTLY
    if kind == "Service":
        same = principal.kind is PrincipalKind.SERVICE and name == principal.arn
        return Naming.DIRECTLY if same else Naming.NOT_AT_ALL
    if kind != "AWS" or principal.kind in {PrincipalKind.SERVICE, PrincipalKind.ANONYMOUS}:
        return Naming.NOT_AT_ALL
    if name == principal.arn:
        return Naming.DIRECTLY
    if name == principal.role_arn:
        return Naming.ROLE
    return (
        Naming.ACCOUNT if name in {principal.account, f"arn:aws:iam::{principal.account}:root"} else Naming.NOT_AT_ALL
    )


def _joined(documents: list[str]) -> Statements:
    return tuple(statement for document in documents for statement in statements_of(document))


def _keys(arn: str, account: str, kind: PrincipalKind, user_id: str) -> dict[str, tuple[str, ...]]:
    return {
        "aws:principalarn": (arn,),
        "aws:principalaccount": (account,),
        "aws:principaltype": (kind.value,),
        "aws:principalisawsservice": ("false",),
        "aws:userid": (user_id,),
    }


def _tag_keys(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"aws:principaltag/{name}".lower(): (value,) for name, value in tags.items()}


def _session_keys(session: Record) -> dict[str, tuple[str, ...]]:
    issued = datetime.fromtimestamp(session["issued_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"aws:tokenissuetime": (issued,), "aws:multifactorauthpresent": ("false",)}
