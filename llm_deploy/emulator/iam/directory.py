"""IAM as the services of the cloud see it: a copy of what the backend keeps, a little late.

At AWS what is changed in IAM reaches other services after some seconds, and until then a new role cannot be assumed.
So each state of the account becomes visible a while after it was made (ledger: `access.consistency`). Sessions are not
late: STS's credentials work at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from llm_deploy.emulator import ledger
from llm_deploy.emulator.clock import Clock
from llm_deploy.emulator.iam.evaluation import Policies
from llm_deploy.emulator.iam.identity import Account, Credential, Principal, Record, root
from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from llm_deploy.emulator.store import Document

Fetch = Callable[[], Awaitable[Document]]
"""Asks for everything: `users`, `roles`, `keys` and `sessions`, each by name or id."""

_ROOT = Credential(ROOT_ACCESS_KEY, ROOT_SECRET_KEY)


class Directory:
    """Users, roles, access keys and sessions of the account.

    Args:
        fetch: `None` when there is no IAM: then only the root has credentials.
    """

    def __init__(self, account: str, clock: Clock, fetch: Fetch | None) -> None:
        self._clock = clock
        self._fetch = fetch
        self._root = root(account)
        self._visible = Account(account)
        self._newest = self._visible
        self._coming: deque[tuple[float, Account]] = deque()
        self._sessions: dict[str, Record] = {}
        self._changed_at: float | None = None
        self._fetching_since: float | None = None
        self._known: str | None = None
        self._fetched = False
        self._fetching: asyncio.Task[None] | None = None

    def notice(self, version: str) -> None:
        """Hear of IAM's state, which the backend names in each answer; a new one is fetched."""
        if version != self._known:
            self._known = version
            self._changed_at = self._clock.now()
            self._begin()

    @property
    def is_known(self) -> bool:
        """Whether IAM has been heard of since the start."""
        return self._fetched

    async def settle(self) -> None:
        """Wait for what must be visible by now; returns at once when that is known."""
        if self._fetch is None:
            return
        if not self._fetched:
            self._begin()
        if self._fetching is not None and (not self._fetched or self._is_overdue()):
            await asyncio.shield(self._fetching)

    def account(self) -> Account:
        """The account as services see it now."""
        while self._coming and self._coming[0][0] <= self._clock.now():
            self._visible = self._coming.popleft()[1]
        return self._visible

    def newest(self) -> Account:
        """The account as IAM itself sees it."""
        return self._newest

    async def credential(self, access_key: str) -> Credential | None:
        """The secret of an access key; `None` when no such key is active."""
        if access_key == ROOT_ACCESS_KEY:
            return _ROOT
        await self.settle()
        found = self._credential(access_key)
        if found is None and self._fetch is not None:
            await self._now()
            found = self._credential(access_key)
        return found

    def principal(self, access_key: str) -> Principal | None:
        """Whose access key it is; `None` when its user or role is gone."""
        if access_key == ROOT_ACCESS_KEY:
            return self._root
        session = self._sessions.get(access_key)
        if session is None:
            return self.account().key_owner(access_key)
        found = self.account().session_owner(session)
        if found is None and (new := self._newest.session_owner(session)) is not None:
            return replace(new, policies=Policies())  # a session of a role whose policies nobody has heard of yet
        return found

    def _credential(self, access_key: str) -> Credential | None:
        session = self._sessions.get(access_key)
        if session is not None:
            return Credential(access_key, session["secret"], session["token"], session["expires_at"])
        key = self.account().keys.get(access_key)
        return Credential(access_key, key["secret"]) if key is not None and key["active"] else None

    async def refresh(self) -> None:
        """Fetch a state that is not older than this call."""
        self._changed_at = self._clock.now()
        await self._now()

    async def _now(self) -> None:
        """Fetch a state that is not older than this call."""
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        self._begin()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    def _begin(self) -> None:
        if self._fetch is not None and self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._take(self._fetch))
            self._fetching.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and task.exception() is None and self._changed_at is not None:
            self._begin()  # it changed while it was being fetched

    async def _take(self, fetch: Fetch) -> None:
        changed_at, self._changed_at = self._changed_at, None
        self._fetching_since = changed_at
        document = await fetch()
        self._sessions = document["sessions"]
        kinds = {kind: document[kind] for kind in ("users", "roles", "keys")}
        account = Account(self._visible.id, **kinds)
        if not self._fetched:
            self._fetched = True
            self._visible = account  # what a restart finds has been there for long
        elif account != self._newest:
            self._coming.append((self._visible_at(self._clock.now() if changed_at is None else changed_at), account))
        self._newest = account

    def _is_overdue(self) -> bool:
        moments = [moment for moment in (self._changed_at, self._fetching_since) if moment is not None]
        return any(self._visible_at(moment) <= self._clock.now() for moment in moments)

    def _visible_at(self, changed_at: float) -> float:
        now = self._clock.now()
        return changed_at + self._clock.deadline(ledger.duration_s("access.consistency")) - now
