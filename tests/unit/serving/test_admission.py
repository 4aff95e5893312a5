"""The bounded queue."""

from __future__ import annotations

import asyncio

import pytest

from llm_deploy.errors import OverloadedError
from llm_deploy.serving.admission import Admission


def test_no_more_run_than_there_are_slots_and_no_more_wait_than_there_is_room() -> None:
    """Two run, one waits, the fourth is sent away; places come back."""

    async def scenario() -> None:
        admission = Admission(parallel=2, capacity=3)
        release = asyncio.Event()

        async def work() -> None:
            with admission.admitted():
                async with admission.slot():
                    await release.wait()

        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (2, 1)
        with pytest.raises(OverloadedError), admission.admitted():
            pass
        release.set()
        await asyncio.gather(*tasks)
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_one_who_leaves_the_queue_frees_the_place() -> None:
    """A request that is cancelled while it waits, or while it runs, leaves nothing behind."""

    async def scenario() -> None:
        admission = Admission(parallel=1, capacity=2)

        async def work() -> None:
            with admission.admitted():
                async with admission.slot():
                    await asyncio.Event().wait()

        running, waiting = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(0)
        for task in (waiting, running):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert (admission.running, admission.waiting) == (0, 0)
        async with asyncio.timeout(1), admission.slot():
            assert admission.running == 1

    asyncio.run(scenario())
