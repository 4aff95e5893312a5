"""CloudWatch Logs: what containers write, and what clients put there."""

from __future__ import annotations

import itertools

from llm_deploy.emulator.logs.events import Events
from llm_deploy.emulator.logs.groups import Groups, given_group
from llm_deploy.emulator.logs.storage import Event, EventStorage
from llm_deploy.emulator.service import Cloud, JsonService
from llm_deploy.emulator.store import Document

FILE = "log-lines.sqlite"
FLUSH_EVERY_S = 0.25
"""Real seconds of lines that a SIGKILL may cost."""

FLUSHES_PER_EXPIRY = 240


def install(cloud: Cloud) -> None:
    """Answer CloudWatch Logs, and take the containers' output."""
    cloud.settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage = EventStorage(cloud.settings.state_dir / FILE)
    groups = Groups(cloud, storage)
    operations = groups.operations() | Events(cloud, groups, storage).operations()

    def implied(operation: str, params: Document) -> Document:
        del operation
        return {"GroupName": given_group(params)}

    cloud.implied["logs"] = implied
    cloud.tags["logs"] = groups.tags_of
    cloud.registry.add_json(JsonService("logs", "Logs_20140328", operations))

    def write_log(group: str, stream: str, line: str) -> None:
        if line:  # CloudWatch Logs has no empty events
            groups.ensure(group, stream)
            now_ms = int(cloud.clock.now() * 1000)
            storage.add(group, Event(stream, now_ms, now_ms, line))

    async def begin() -> None:
        cloud.spawn(_keep(cloud, groups, storage), "logs")

    async def end() -> None:
        storage.close()

    cloud.hooks.write_log = write_log
    cloud.counters["dropped_log_lines"] = lambda: storage.dropped
    cloud.at_start.append(begin)
    cloud.at_stop.append(end)


async def _keep(cloud: Cloud, groups: Groups, storage: EventStorage) -> None:
    """Write and expire in the background."""
    for turn in itertools.count():
        await cloud.clock.until(cloud.clock.deadline(0.0, least_real_s=FLUSH_EVERY_S))
        storage.flush()
        if turn % FLUSHES_PER_EXPIRY == 0:
            groups.expire()
