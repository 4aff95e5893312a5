"""`Access` with a database behind it: answers from memory, and a task that writes and reads beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, time
from typing import Final, TypeVar

from llm_deploy.errors import LlmDeployError, StateError
from llm_deploy.gateway.accounts import Sharing
from llm_deploy.gateway.admission import Admission, Clock
from llm_deploy.gateway.bookkeeping import Bookkeeping
from llm_deploy.gateway.state.config import StateConfig, resolved_url
from llm_deploy.gateway.state.store import Store

SHORTEST_PAUSE_S: Final = 0.02
"""Between two exchanges, when requests on credit ask for the next one at once."""
LONGEST_PAUSE_S: Final = 10.0
"""Between two tries while the database does not answer."""
LAST_WORDS_S: Final = 10.0
"""How long an ending gateway tries to write what is pending."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class StoredAccess:
    """`access.Access`, from a `StateConfig`; `open_access` makes one.

    `caller` and `admit` belong to the event loop's thread and return at once. A change of a key takes effect within
    `write_every_s` and the time of one exchange.
    """

    def __init__(self, config: StateConfig, *, monotonic_s: Clock = monotonic, wall_s: Clock = time) -> None:
        kept = {"usage_hours_days": config.usage_hours_days, "usage_days": config.usage_days}
        self._store = Store(resolved_url(config), wall_s, **kept)
        self._every_s = config.write_every_s
        self._admission = Admission(Sharing(sole=self._store.sole), monotonic_s=monotonic_s, wall_s=wall_s)
        self._books = Bookkeeping(self._admission, wall_s, config.keys_usable_s)
        self._thread = ThreadPoolExecutor(1, "gateway-state")
        self._wanted = asyncio.Event()
        self._one_exchange = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.caller = self._admission.caller
        self.admit = self._admission.admit

    @property
    def healthy(self) -> bool:
        """Whether the database answered the last time. While it does not, requests are answered all the same."""
        return self._books.healthy

    async def start(self) -> None:
        """Bring the tables up to date, load every key, and begin to write behind. Once in the life of this object.

        Raises:
            ConflictError: The tables are newer than this code, or another gateway has the SQLite file.
            StateError: The database does not answer.
        """
        try:
            await self._beside(self._store.open)
            self._books.accept(None, await self._beside(self._store.load, self._admission.today()))
        except LlmDeployError:
            self._let_go()
            raise
        if not self._store.sole:  # who is alone needs no grant
            self._admission.sharing.wake = self._wanted.set
        self._task = asyncio.create_task(self._keep_writing(), name="gateway-state")
        self._task.add_done_callback(self._notice_end)

    async def aclose(self) -> None:
        """Write what is pending, for ten seconds at most, and let go of the database. Safe to call again."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._task = None
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._finish()
        except (StateError, TimeoutError) as error:
            _log.error("the last usage of this gateway was not written: %s", error)
        self._let_go()

    async def exchange(self, *, last: bool = False) -> None:
        """Tell the database what there is to tell, now, one exchange at a time. Failure is remembered, not raised."""
        async with self._one_exchange:
            work = self._books.work(last=last)
            try:
                answer = await self._beside(self._store.exchange, work)
                if answer.fenced:
                    self._books.begin_again()
                    await self._beside(self._store.register)
                else:
                    self._books.accept(work, answer)
            except StateError as error:
                self._books.fail(error.message)

    async def _keep_writing(self) -> None:
        pause_s = self._every_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
                    await asyncio.sleep(SHORTEST_PAUSE_S)
            self._wanted.clear()
            await self.exchange()
            if self.healthy and self._books.unwritten:
                await self.exchange()  # what was counted during an outage, behind the batch that it had held up
            pause_s = self._every_s if self.healthy else min(2 * pause_s, LONGEST_PAUSE_S)

    async def _finish(self) -> None:
        """Two exchanges: the first may end one that had been cut off, the second tells what came since."""
        for _ in range(2):
            await self.exchange(last=True)
        if not self.healthy or self._books.unwritten:
            raise StateError("the database does not answer")
        await self._beside(self._store.sign_off)

    async def _beside(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        """A defect of ours must not end the writing unseen; usage is still counted, and written at the end."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._books.fail(f"the task that writes has ended: {error!r}")

    def _let_go(self) -> None:
        self._store.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
