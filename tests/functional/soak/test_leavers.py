"""Ten thousand clients that leave early: in the middle of their request, before the answer, in a stream."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.functional.soak.places import Place, gateway, settled, stub
from tests.functional.soak.traffic import Traffic
from tests.functional.soak.vitals import Vitals

CLIENTS = 10_000
AT_ONCE = 200
ROUNDS = 10
ALLOWED_MIB = 6.0
BODY = {"model": "slow", "max_tokens": 60, "stream": True, "messages": [{"role": "user", "content": "hi " * 50}]}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("soak")]


@pytest.fixture
def slow() -> Iterator[str]:
    """A model that streams for six seconds."""
    with stub("p60-100") as url:
        yield url


def open_streams(slow: str) -> int:
    """Streams that the model server still sends."""
    origin = slow.rpartition("/")[0]
    return int(httpx.get(f"{origin}/stats", timeout=30).json()["open_streams"])


async def leave(place: Place, chance: random.Random) -> None:
    """One client: it sends part or all of its request, maybe reads a little, and is gone."""
    host, _, port = place.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(BODY).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {place.key}\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    manner = chance.random()
    try:
        writer.write(whole[: chance.randrange(len(whole))] if manner < 0.3 else whole)
        await writer.drain()
        if manner > 0.6:
            async with asyncio.timeout(10):
                await reader.read(chance.randrange(1, 2000))
        elif manner > 0.45:
            await asyncio.sleep(chance.random() / 20)
        if chance.random() < 0.5:
            writer.close()
        else:
            writer.transport.abort()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()


async def crowd(place: Place, count: int, seed: int) -> None:
    """So many clients, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            await leave(place, random.Random(seed * CLIENTS + number))  # noqa: S311 - not for secrets

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


def rested(place: Place, slow: str) -> Vitals:
    """What the gateway holds when everybody has gone."""
    settled(lambda: place.gauge("in_flight") == 0 and place.gauge("streams_open") == 0)
    settled(lambda: open_streams(slow) == 0)
    return place.vitals(0)


def test_ten_thousand_clients_that_leave_early_leave_nothing_behind(tmp_path: Path, slow: str) -> None:
    """Their streams end at the model server, permits, descriptors, tasks and memory come back, others are answered."""
    with gateway(tmp_path, {"slow": slow}) as place:
        asyncio.run(crowd(place, 500, 0))
        seen = [rested(place, slow)]
        for number in range(1, ROUNDS + 1):
            asyncio.run(crowd(place, CLIENTS // ROUNDS, number))
            seen.append(rested(place, slow))
        traffic = Traffic(place.url, place.key, "slow")
        asyncio.run(traffic.run(1, 4))
        log = place.log
    print(f"\nMiB {[round(one.rss_mib, 1) for one in seen]}, descriptors {[one.descriptors for one in seen]}")  # noqa: T201 - for who reads the log
    assert traffic.wrong == []
    assert max(one.descriptors for one in seen) <= seen[0].descriptors + 4
    assert max(one.tasks for one in seen) <= seen[0].tasks + 2
    assert max(one.threads for one in seen) <= seen[0].threads + 1
    assert seen[-1].rss_mib - seen[1].rss_mib < ALLOWED_MIB
    assert "Traceback" not in log
    assert "Task exception was never retrieved" not in log
