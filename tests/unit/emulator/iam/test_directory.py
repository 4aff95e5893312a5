"""The account as services see it: late, but not for ever, and never newer than it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.clock import ManualClock
from llm_deploy.emulator.iam.directory import Directory
from llm_deploy.emulator.iam.evaluation import Access, decide
from llm_deploy.emulator.iam.identity import PrincipalKind, Record
from llm_deploy.emulator.settings import ROOT_ACCESS_KEY

ACCOUNT = "000000000000"
LATE_S = ledger.duration_s("access.consistency")


def role(name: str, *actions: str) -> Record:
    """A role whose policy allows some actions."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    return {
        "name": name,
        "arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "id": "AROA1",
        "policies": [json.dumps(document)],
        "boundary": None,
        "tags": {},
        "trust": "{}",
    }


def session(role_name: str) -> Record:
    """A session of a role."""
    return {
        "secret": "s",
        "token": "t",
        "expires_at": 2e9,
        "issued_at": 1e9,
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role_name}/x",
        "user_id": "AROA1:x",
        "role": role_name,
        "user": None,
        "policies": None,
        "tags": {},
    }


@dataclass
class Iam:
    """What the backend keeps, and a directory of it."""

    clock: ManualClock = field(default_factory=ManualClock)
    records: dict[str, dict[str, Record]] = field(
        default_factory=lambda: {"users": {}, "roles": {}, "keys": {}, "sessions": {}}
    )
    fetches: int = 0
    version: int = 0

    def __post_init__(self) -> None:
        self.directory = Directory(ACCOUNT, self.clock, self.fetch)

    async def fetch(self) -> dict[str, Any]:
        """All of it, as it is now."""
        self.fetches += 1
        await asyncio.sleep(0)
        copy: dict[str, Any] = json.loads(json.dumps(self.records))
        return copy

    def change(self) -> None:
        """Say that something has changed."""
        self.version += 1
        self.directory.notice(str(self.version))

    def may(self, key: str, action: str) -> bool:
        """Whether the owner of a key may do something now."""
        principal = self.directory.principal(key)
        assert principal is not None
        assert principal.policies is not None
        return decide(Access(action, "*", {}), principal.policies).allowed


def tell(story: Callable[[Iam], Awaitable[None]]) -> None:
    """Run a story on a loop."""

    async def run() -> None:
        await story(Iam())

    asyncio.run(run())


def test_a_new_role_is_not_there_for_a_while() -> None:
    """Ledger: access.consistency."""

    async def story(iam: Iam) -> None:
        await iam.directory.settle()
        iam.records["roles"]["new"] = role("new", "s3:GetObject")
        iam.change()
        await iam.clock.advance(LATE_S - 1)
        await iam.directory.settle()
        assert iam.directory.account().role(role("new")["arn"]) is None
        assert "new" in iam.directory.newest().roles
        await iam.clock.advance(1)
        await iam.directory.settle()
        assert iam.directory.account().role(role("new")["arn"]) is not None

    tell(story)


def test_changes_become_visible_one_after_the_other() -> None:
    """Each its own while after it was made; none is skipped because another follows."""

    async def story(iam: Iam) -> None:
        iam.records["roles"]["r"] = role("r", "a:One")
        iam.records["sessions"]["ASIA"] = session("r")
        await iam.directory.settle()
        for action in ("a:Two", "a:Three"):
            iam.records["roles"]["r"] = role("r", action)
            iam.change()
            await iam.clock.advance(LATE_S / 2)
        assert [iam.may("ASIA", f"a:{name}") for name in ("One", "Two", "Three")] == [False, True, False]
        await iam.clock.advance(LATE_S / 2)
        assert [iam.may("ASIA", f"a:{name}") for name in ("One", "Two", "Three")] == [False, False, True]

    tell(story)


def test_what_was_there_at_the_start_is_visible_at_once() -> None:
    """A restart is no change."""

    async def story(iam: Iam) -> None:
        iam.records["roles"]["old"] = role("old", "a:One")
        await iam.directory.settle()
        assert iam.directory.account().role(role("old")["arn"]) is not None

    tell(story)


def test_sessions_work_at_once_and_their_new_role_allows_nothing_yet() -> None:
    """STS's credentials are good immediately; what their role may is not known yet."""

    async def story(iam: Iam) -> None:
        await iam.directory.settle()
        iam.records["roles"]["new"] = role("new", "a:One")
        iam.records["sessions"]["ASIA"] = session("new")
        iam.change()
        found = await iam.directory.credential("ASIA")
        assert found is not None
        assert (found.secret, found.token) == ("s", "t")
        assert not iam.may("ASIA", "a:One")
        await iam.clock.advance(LATE_S)
        assert iam.may("ASIA", "a:One")

    tell(story)


def test_a_new_access_key_is_unknown_for_a_while_and_an_inactive_one_for_good() -> None:
    """As at AWS, where CreateAccessKey's keys are refused for some seconds."""

    async def story(iam: Iam) -> None:
        iam.records["users"]["u"] = {**role("u"), "arn": f"arn:aws:iam::{ACCOUNT}:user/u"}
        iam.records["keys"]["AKIAOLD"] = {"secret": "o", "user": "u", "active": False}
        await iam.directory.settle()
        iam.records["keys"]["AKIANEW"] = {"secret": "n", "user": "u", "active": True}
        iam.change()
        assert await iam.directory.credential("AKIANEW") is None
        await iam.clock.advance(LATE_S)
        assert await iam.directory.credential("AKIANEW") is not None
        assert await iam.directory.credential("AKIAOLD") is None

    tell(story)


def test_the_root_needs_no_question() -> None:
    """Ledger: access.root. Its requests are never slower for IAM."""

    async def story(iam: Iam) -> None:
        assert await iam.directory.credential(ROOT_ACCESS_KEY) is not None
        principal = iam.directory.principal(ROOT_ACCESS_KEY)
        assert principal is not None
        assert principal.kind is PrincipalKind.ROOT
        assert principal.policies is None
        assert iam.fetches == 0

    tell(story)


def test_an_unchanged_state_is_not_fetched_again() -> None:
    """The backend names its state in every answer; asking costs something."""

    async def story(iam: Iam) -> None:
        iam.records["sessions"]["ASIA"] = session("r")
        iam.directory.notice("1")
        await iam.directory.settle()
        for _ in range(5):
            iam.directory.notice("1")
            await iam.directory.credential("ASIA")
        assert iam.fetches == 1

    tell(story)
