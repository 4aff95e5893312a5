"""The deploy role with one grant less, and what must then be refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

import pytest

from llm_deploy.errors import AccessDeniedError
from llm_deploy.spec import Place
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.statements import policy, statements
from tests.functional.enforcement.conftest import PREFIX, Account, wait_for_iam

Document = dict[str, Any]
WISH = iam.RolesWish(Place(region="eu-central-1", account="000000000000"), PREFIX)
GRANTED = {name: statements(name, iam.scope(WISH)) for name in iam.DEPLOY_POLICIES}
_NOTHING = {"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"}
"""IAM takes no policy without a statement; this needs no permission at all."""


@dataclass(frozen=True)
class Role:
    """The deploy role, whose policies can be made smaller for a while."""

    account: Account
    connection: Connection

    @contextmanager
    def without(self, sid: str, action: str | None) -> Iterator[None]:
        """A statement, or one action of it, is taken out of its policy."""
        name = next(name for name, found in GRANTED.items() if any(each["Sid"] == sid for each in found))
        with self.instead(name, _without(GRANTED[name], sid, action)):
            yield

    @contextmanager
    def instead(self, name: str, found: Sequence[Document]) -> Iterator[None]:
        """A policy has other statements; none at all is possible too."""
        self._put(name, found or [_NOTHING])
        try:
            yield
        finally:
            self._put(name, GRANTED[name])

    def _put(self, name: str, found: Sequence[Document]) -> None:
        """Another document for a policy, in force when this returns; the old one makes room."""
        client, arn = self.account.client("iam"), WISH.policy_arn(name)
        old = client.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        client.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy(found)), SetAsDefault=True)
        client.delete_policy_version(PolicyArn=arn, VersionId=old)
        wait_for_iam()


At = TypeVar("At", bound=Role)


@dataclass(frozen=True)
class Case(Generic[At]):
    """A grant, and what of the product it stops when it is not there.

    Attributes:
        action: One action of the statement, where another statement grants it too; else the whole statement goes.
        before: Done first, with everything granted.
    """

    sid: str
    step: Callable[[At], None]
    action: str | None = None
    before: Callable[[At], None] = lambda _: None

    def __str__(self) -> str:
        return f"{self.sid}-{self.action}" if self.action else self.sid


def check(case: Case[At], role: At) -> None:
    """A real call of the product is denied, and the denied action is one that was taken away."""
    case.before(role)
    with role.without(case.sid, case.action), pytest.raises(AccessDeniedError) as denied:
        case.step(role)
    taken = {case.action} if case.action else set(_statement(case.sid)["Action"])
    assert any(action in denied.value.message for action in taken), denied.value.message


def sids(names: Iterable[str]) -> set[str]:
    """The statements of templates."""
    return {statement["Sid"] for name in names for statement in GRANTED[name]}


def unused(record: Sequence[Document], names: Iterable[str]) -> list[tuple[str, str]]:
    """Statement and action of each grant that was never used on a resource that the statement covers."""
    used = {(entry["action"], entry["resource"]) for entry in record if entry["allowed"]}
    return [
        (statement["Sid"], action)
        for name in names
        for statement in GRANTED[name]
        for action in statement["Action"]
        if not any(action == other and _covers(statement, resource) for other, resource in used)
    ]


def _statement(sid: str) -> Document:
    return next(each for found in GRANTED.values() for each in found if each["Sid"] == sid)


def _without(found: list[Document], sid: str, action: str | None) -> list[Document]:
    """The statements without one, or with one that lacks an action."""
    if action is None:
        return [each for each in found if each["Sid"] != sid]
    kept = [each for each in _statement(sid)["Action"] if each != action]
    return [{**each, "Action": kept} if each["Sid"] == sid else each for each in found]


def _covers(statement: Document, resource: str) -> bool:
    patterns = statement["Resource"]
    return any(fnmatchcase(resource, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))
