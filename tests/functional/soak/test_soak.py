"""Ten minutes of mixed traffic: memory, descriptors, threads and tasks stay flat, and all slots are free at the end.

`SOAK_SECONDS` shortens it for a try: a minute says little about memory.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from llm_deploy.serving import models
from tests.functional.serving.servers import running
from tests.functional.soak.places import Place, gateway, settled, stub
from tests.functional.soak.traffic import Traffic
from tests.functional.soak.vitals import Vitals, growth, read

DURATION_S = float(os.environ.get("SOAK_SECONDS", "600"))
SAMPLES = 60
CALLERS = 4
"""Of each model."""
PAUSE_S = 0.03
"""Between two requests of one caller of the quick model: 100 requests a second or so, for the slow tier to bear."""
ALLOWED_MIB = 8.0
"""Of growth after the warm-up. Ten minutes are some 50,000 requests: 200 bytes of each would be seen."""
ALLOWED_MORE = 3
"""Descriptors, threads or tasks; while requests are under way they come and go."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(int(DURATION_S) + 400), pytest.mark.xdist_group("soak")]


class Watch:
    """Samples processes at even times, in a thread of its own."""

    def __init__(self, place: Place, others: dict[str, int]) -> None:
        self.place, self.others = place, others
        self.samples: dict[str, list[Vitals]] = {"gateway": [], **{name: [] for name in others}}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        start = time.monotonic()
        while not self._stop.wait(DURATION_S / SAMPLES):
            at_s = time.monotonic() - start
            self.samples["gateway"].append(self.place.vitals(at_s))
            for name, pid in self.others.items():
                self.samples[name].append(read(pid, at_s))


def grown(samples: list[Vitals]) -> list[str]:
    """What grew too much."""
    times_s = [one.at_s for one in samples]
    found = []
    for name, allowed in (("rss_mib", ALLOWED_MIB), *((n, ALLOWED_MORE) for n in ("descriptors", "threads", "tasks"))):
        values = [float(getattr(one, name)) for one in samples]
        if growth(times_s, values).above(allowed):
            found.append(f"{name}: {growth(times_s, values)} of {values[:: max(1, len(values) // 12)]}")
    return found


async def all_of(traffic: list[Traffic]) -> None:
    """All callers at once."""
    async with asyncio.TaskGroup() as group:
        for one in traffic:
            group.create_task(one.run(DURATION_S, CALLERS))


def test_a_gateway_before_a_real_model_stays_as_it_is(tmp_path: Path) -> None:
    """Plain answers, streams, leavers, wrong keys and nonsense: nothing grows, and every answer is the expected one."""
    with (
        tempfile.TemporaryDirectory(prefix="soak") as short,  # the engine's socket is in it: 108 bytes at most
        running(models.pull("smollm2"), Path(short), "--parallel", "4", "--served-model-name", "tiny") as model,
        stub("p8-5") as quick,
        gateway(tmp_path, {"tiny": model.url, "quick": quick}) as place,
    ):
        traffic = [Traffic(place.url, place.key, "tiny"), Traffic(place.url, place.key, "quick", PAUSE_S)]
        before = place.vitals(0)
        with Watch(place, {"model server": model.process.pid}) as watch:
            asyncio.run(all_of(traffic))
        settled(lambda: place.gauge("in_flight") == 0 and place.gauge("streams_open") == 0)
        settled(lambda: model.busy_slots() == 0)
        settled(lambda: place.vitals(0).tasks <= before.tasks + ALLOWED_MORE)
        spans = place.told()["spans"]
    ends = {name: (samples[SAMPLES // 4], samples[-1]) for name, samples in watch.samples.items()}
    for one in traffic:
        print(f"\n{one.model}: {sum(one.seen.values())} requests {dict(sorted(one.seen.items()))}")  # noqa: T201 - for who reads the log
        assert one.wrong == []
        kinds = ("plain 200", "stream 200", "cancelled 200", "stranger 401", "too large 413")
        assert min(one.seen[kind] for kind in kinds) > 0
    print(f"after the warm-up and at the end: {ends}\nspans: {spans}")  # noqa: T201 - as above
    assert {name: grown(samples) for name, samples in watch.samples.items() if grown(samples)} == {}
    assert spans["exported"] > 0
    assert spans["failed"] == spans["dropped"] == 0
    assert "Traceback" not in place.log


def test_the_soak_sees_a_leak(tmp_path: Path) -> None:
    """A gateway that keeps something of each request is caught, so that silence means something."""
    with stub("now") as model, gateway(tmp_path, {"quick": model}, SOAK_LEAK_BYTES="200000") as place:
        samples = []
        for number in range(16):
            asyncio.run(Traffic(place.url, place.key, "quick").run(0.5, 4))
            samples.append(place.vitals(float(number)))
    assert any(line.startswith("rss_mib") for line in grown(samples))
