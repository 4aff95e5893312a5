"""The counters of several workers, told by any of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from llm_deploy.gateway.metrics import Metrics, Record
from llm_deploy.gateway.together import Together
from llm_deploy.tracing.counts import Counts


def test_any_worker_tells_the_sum_of_all(tmp_path: Path) -> None:
    """Counters of the dead stay, so that sums never fall; what they had in flight does not."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    workers = [Together(tmp_path, Metrics(), pid) for pid in (os.getpid(), os.getppid(), ended.pid)]
    for number, worker in enumerate(workers, start=1):
        record = Record("/rag", "r", 0.0, model="twin", status=200, refused="timeout", first_s=0.25, total_s=0.5)
        record.prompt_tokens = 5
        for _ in range(number):
            worker.metrics.count(record)
        worker.metrics.upstream_failures["twin", "a", "UnreachableError"] += 1
        worker.metrics.in_flight = number
        worker.metrics.spans = lambda: {"local": Counts(1, 2, 3)}

    async def go() -> list[str]:
        for worker in workers:
            await worker.share()
        return [(await worker.summed()).text().decode() for worker in workers[:2]]

    first, second = asyncio.run(go())
    assert sorted(first.splitlines()) == sorted(second.splitlines())
    assert 'requests_total{model="twin",route="/rag",status="200"} 6.0' in first
    assert 'tokens_total{direction="prompt",model="twin"} 30.0' in first
    assert 'first_token_seconds_count{model="twin",route="/rag"} 6.0' in first
    assert 'spans_total{exporter="local",outcome="failed"} 6.0' in first
    assert "llmdeploy_gateway_in_flight 3.0" in first
