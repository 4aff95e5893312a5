"""The queues of asynchronous endpoints: kept in the store, worked on as far as the copies allow.

Requests outlive the cloud's process: what was noted and is not done when it ends is done, or done again, when it runs
the next time (ledger: `runtime.async.at-least-once`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.runtime.target import async_config
from llm_deploy.emulator.sagemaker.endpoint_life import owner_of
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.store import Document

ASYNC_INVOCATION = "sagemaker:async-invocation"
MOST_WAITING = 10_000
"""Requests that may wait at one endpoint. Ledger: `runtime.async.full`."""

_LOOK_S = 0.1
"""Real seconds between two looks at whether a copy has become ready."""

_AT_ONCE = 4
"""Requests at a time on each copy when the config does not say. Ledger: `runtime.async.concurrency`."""

Work = Callable[[Document], Coroutine[Any, Any, None]]
"""Answers one request, whatever happens; must not raise."""


@dataclass(slots=True)
class _Queue:
    """Names of requests in the store, with the moments at which they expire."""

    waiting: deque[tuple[str, float]] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reported_at: float = 0.0


class Backlog:
    """One queue for each endpoint, with a task that empties it while there is anything in it."""

    def __init__(self, hosting: Hosting, work: Work) -> None:
        self._hosting = hosting
        self._work = work
        self._queues: dict[str, _Queue] = {}
        self._noted = 0

    def add(self, noted: Document) -> bool:
        """Keep a request; `False` when too many wait already."""
        queue = self._queues.get(noted["EndpointName"])
        if queue is not None and len(queue.waiting) >= MOST_WAITING:
            return False
        self._noted += 1
        name = f"{noted['EndpointName']}/{noted['received']:.3f}/{self._noted:09}"
        self._hosting.cloud.store.put(ASYNC_INVOCATION, name, {**noted, "name": name})
        self._enqueue(noted["EndpointName"], name, noted["expires"])
        return True

    def resume(self) -> None:
        """Go on with what an earlier process of this cloud has noted."""
        for noted in self._hosting.cloud.store.all(ASYNC_INVOCATION):
            self._enqueue(noted["EndpointName"], noted["name"], noted["expires"])

    def _enqueue(self, endpoint: str, name: str, expires: float) -> None:
        queue = self._queues.get(endpoint)
        if queue is None:
            queue = self._queues[endpoint] = _Queue()
            self._hosting.cloud.spawn(self._empty(endpoint, queue), f"async requests of {endpoint}")
        queue.waiting.append((name, expires))
        queue.changed.set()

    async def _empty(self, endpoint: str, queue: _Queue) -> None:
        try:
            while queue.waiting or queue.running:
                self._start_what_may_run(endpoint, queue)
                self._report(endpoint, queue)
                queue.changed.clear()
                if queue.waiting or queue.running:
                    await self._something(queue)
        finally:
            del self._queues[endpoint]
            for task in queue.running:
                task.cancel()

    async def _something(self, queue: _Queue) -> None:
        """Wait until a request comes or ends, or it is time to look at the copies again."""
        change = asyncio.create_task(queue.changed.wait())
        look = _LOOK_S if queue.waiting else None
        await asyncio.wait({change, *queue.running}, timeout=look, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        queue.running = {task for task in queue.running if not task.done()}

    def _start_what_may_run(self, endpoint: str, queue: _Queue) -> None:
        document = self._hosting.find_endpoint(endpoint)
        if document is None:
            self._forget(queue)
            return
        self._expire(queue)
        room = self._room(document) - len(queue.running)
        for _ in range(min(room, len(queue.waiting))):
            self._start(queue, queue.waiting.popleft()[0])

    def _start(self, queue: _Queue, name: str, **more: object) -> None:
        noted = self._hosting.cloud.store.get(ASYNC_INVOCATION, name)
        if noted is not None:
            task = asyncio.create_task(self._run({**noted, **more}), name=f"async {noted['InferenceId']}")
            queue.running.add(task)

    async def _run(self, noted: Document) -> None:
        await self._work(noted)
        self._hosting.cloud.store.delete(ASYNC_INVOCATION, noted["name"])

    def _room(self, endpoint: Document) -> int:
        """How many requests may be worked on at a time. Ledger: `runtime.async.concurrency`."""
        config = async_config(endpoint) or {}
        each = int(config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", _AT_ONCE))
        owners = [owner_of(endpoint["EndpointName"], variant["VariantName"]) for variant in endpoint["variants"]]
        fleets = [self._hosting.fleets.serving(owner) for owner in owners]
        return each * sum(fleet.ready_count() for fleet in fleets if fleet is not None)

    def _expire(self, queue: _Queue) -> None:
        """Let those go that have waited too long; they are told so as a failure. Ledger: `runtime.async.expired`."""
        now = self._hosting.cloud.clock.now()
        late = [each for each in queue.waiting if each[1] <= now]
        for each in late:
            queue.waiting.remove(each)
            self._start(queue, each[0], expired=True)

    def _forget(self, queue: _Queue) -> None:
        """The endpoint is gone, and what waited with it. Ledger: `runtime.async.deleted`."""
        for name, _ in queue.waiting:
            self._hosting.cloud.store.delete(ASYNC_INVOCATION, name)
        queue.waiting.clear()

    def _report(self, endpoint: str, queue: _Queue) -> None:
        """The metrics that autoscaling of asynchronous endpoints looks at. Ledger: `runtime.async.metrics`."""
        clock, metric = self._hosting.cloud.clock, self._hosting.cloud.hooks.metric
        pause_s = clock.deadline(ledger.duration_s("runtime.async.metrics")) - clock.now()
        if clock.now() < queue.reported_at + pause_s:
            return
        queue.reported_at = clock.now()
        document = self._hosting.find_endpoint(endpoint)
        instances = sum(len(each["instances"]) for each in document["variants"]) if document else 0
        size, named = len(queue.waiting) + len(queue.running), {"EndpointName": endpoint}
        metric("ApproximateBacklogSize", named, size, "Count")
        if instances:
            metric("ApproximateBacklogSizePerInstance", named, size / instances, "Count")
        metric("HasBacklogWithoutCapacity", named, float(size > 0 and not instances), "Count")
