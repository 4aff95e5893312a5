"""How long the local cloud takes until it answers, after the first start has fetched what it needs.

Run: `python -m benchmarks.local_cloud_start [--rounds 15]` (Linux; half a minute). Each round starts a cloud that is
down with `llmdeploy local up`, asks it one question, and stops it; the state folder stays, as a person's does.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from pathlib import Path

from benchmarks.local_cloud import LocalCloud, stopped_cloud
from benchmarks.rounds import machine, markdown_table, spread, verdict

TARGET_S = 2.0


def started(cloud: LocalCloud) -> tuple[float, float, float]:
    """Seconds until `local up` returned, seconds until a question was answered, MiB of the cloud's process."""
    began = time.perf_counter()
    announced = cloud.up()
    up_s = time.perf_counter() - began
    connection = http.client.HTTPConnection("127.0.0.1", announced["port"], timeout=10)
    connection.request("GET", "/_local/health")
    connection.getresponse().read()
    answered_s = time.perf_counter() - began
    status = Path(f"/proc/{announced['pid']}/status").read_text("utf-8").splitlines()
    resident_kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    cloud.llmdeploy("local", "down")
    return up_s, answered_s, resident_kib / 1024


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with stopped_cloud() as cloud:
        started(cloud)
        measured = [started(cloud) for _ in range(rounds)]
    up_s, answered_s, mib = ([sample[column] for sample in measured] for column in range(3))
    rows = [
        ["`llmdeploy local up` returns", f"{statistics.median(up_s):.2f}", spread(up_s), "", ""],
        [
            "first answer",
            f"{statistics.median(answered_s):.2f}",
            spread(answered_s),
            verdict(statistics.median(answered_s), TARGET_S),
            f"{statistics.median(mib):.0f}",
        ],
    ]
    print(f"{rounds} rounds, medians; {machine()}\n")
    print(markdown_table(["", "s", "quartiles", "target, s", "cloud's memory, MiB"], rows))


if __name__ == "__main__":
    main()
