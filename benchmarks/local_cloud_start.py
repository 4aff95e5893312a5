"""Time until the local cloud answers, after a first start: the command that a person types, and the process alone.

Run: `python -m benchmarks.local_cloud_start [--rounds 15]` (Linux; about a minute). The model and the backend have been
fetched before; the state folder exists and holds no endpoint. The command is timed to its end, which comes when the
cloud has answered; the process, started with the very arguments that the command gives it, to its first answers to
AWS's own requests, asked every 5 ms: SageMaker's `ListEndpoints`, which the cloud answers itself, and then STS's
`GetCallerIdentity`, which its backend does. CPU and memory are those of both processes after that.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.local_cloud import LLMDEPLOY, ROOT, LocalCloud, byte_compile, stopped_cloud
from benchmarks.rounds import Contender, machine, markdown_table, run_once, spread, verdict
from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY

READY_TARGET_S = 2.0
REGION = "eu-central-1"
LONGEST_START_S = 30.0
POLL_S = 0.005


@dataclass(frozen=True)
class Question:
    """A request that needs no state, as AWS's own clients write it."""

    service: str
    body: str
    headers: Mapping[str, str]


OURS = Question(
    "sagemaker", "{}", {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.ListEndpoints"}
)
BACKENDS = Question(
    "sts",
    "Action=GetCallerIdentity&Version=2011-06-15",
    {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
)


@dataclass(frozen=True)
class Start:
    """One start of the process: seconds to each first answer, and what both processes have used by the second."""

    ready_s: float
    backend_ready_s: float
    cpu_s: float
    resident_mib: float


def by_command(cloud: LocalCloud) -> float:
    """`llmdeploy local up`, from its start to its end, in seconds."""
    command: list[str | Path] = [LLMDEPLOY, "local", "up", "--port", "0"]
    sample = run_once(Contender("llmdeploy local up", command, cloud.environment, cloud.folder))
    cloud.llmdeploy("local", "down")
    return sample.wall_ms / 1000


def by_process(cloud: LocalCloud, command: Sequence[str]) -> Start:
    """The cloud's process, from its start to its first answers."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=cloud.environment, cwd=cloud.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            ready_s, backend_ready_s = (wait_for(cloud, each, process, started) for each in (OURS, BACKENDS))
            family = [process.pid, *children(process.pid)]
            return Start(ready_s, backend_ready_s, sum(map(cpu_s, family)), sum(map(resident_mib, family)))
        finally:
            process.terminate()


def wait_for(cloud: LocalCloud, question: Question, process: subprocess.Popen[bytes], started: float) -> float:
    """Seconds from the start until the question is answered."""
    while not answers(cloud, question):
        if process.poll() is not None or time.perf_counter() - started > LONGEST_START_S:
            raise SystemExit(f"the local cloud did not answer for {question.service}")
        time.sleep(POLL_S)
    return time.perf_counter() - started


def answers(cloud: LocalCloud, question: Question) -> bool:
    """Whether the cloud has announced its port, and answers there."""
    try:
        port = json.loads((cloud.folder / "cloud" / "cloud.json").read_text("utf-8"))["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/", question.body, signed(question, f"http://127.0.0.1:{port}/"))
        return connection.getresponse().status == 200
    except (OSError, ValueError):
        return False


def signed(question: Question, url: str) -> Mapping[str, str]:
    """The headers of a question, signed as the account's root."""
    request = AWSRequest("POST", url, data=question.body, headers=dict(question.headers))
    SigV4Auth(Credentials(ROOT_ACCESS_KEY, ROOT_SECRET_KEY), question.service, REGION).add_auth(request)
    return dict(request.headers)


def command_of(pid: int) -> list[str]:
    """The arguments of a running process."""
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def children(pid: int) -> list[int]:
    """The processes that it has started, and theirs."""
    direct = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*direct, *(below for each in direct for below in children(each))]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory that a process holds, shared pages included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def row(name: str, times_s: Sequence[float], started: Sequence[Start] = ()) -> list[str]:
    """One line of the table: medians."""
    ready = statistics.median(times_s)
    cpu = f"{statistics.median(start.cpu_s for start in started):.2f}" if started else ""
    resident = f"{statistics.median(start.resident_mib for start in started):.0f}" if started else ""
    return [name, f"**{ready:.2f}**", spread(times_s), cpu, resident, verdict(ready, READY_TARGET_S)]


def main() -> None:
    """Start once for the files and the arguments, then measure in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    byte_compile([Path(sysconfig.get_path("purelib")), ROOT / "llm_deploy"])
    with stopped_cloud() as cloud:
        command = command_of(int(cloud.up()["pid"]))
        cloud.llmdeploy("local", "down")
        by_command(cloud)  # warms up
        typed, alone = list[float](), list[Start]()
        for _ in range(rounds):
            typed.append(by_command(cloud))
            alone.append(by_process(cloud, command))
    print(f"{rounds} rounds, medians; {machine()}\n")
    rows = [
        row("`llmdeploy local up` returns", typed),
        row("the process alone answers for SageMaker", [start.ready_s for start in alone]),
        row("... and for STS, by its backend", [start.backend_ready_s for start in alone], alone),
    ]
    print(markdown_table(["start", "s", "quartiles", "CPU, s", "resident, MiB", "target, s"], rows))


if __name__ == "__main__":
    main()
