"""CPU per token of the model server against the bare engine's own HTTP server: same model, slots, thread, parameters.

Run: `python benchmarks/serving_overhead.py [--rounds 12] [--tokens 48]` (Linux; about six minutes). Both servers are
up all the time and take turns in the order ABBA; the bare engine gets the very document that the server sends to its
own engine, and an answer of another length than asked for ends the run. CPU is that of each server's whole process,
from /proc; the load generator's is not counted. Wall time is left out: it says more about the neighbours.

Even CPU time per token moves by a fifth with what runs on the other hyperthread, so the ratio of two whole processes
needs many rounds. The last column is steadier: the CPU of the server's main thread, which runs its event loop. The
engine has threads of its own on both sides, so this is what the server adds, measured directly.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from llm_deploy.serving import models
from llm_deploy.serving.engine import Sampling, Task
from llm_deploy.serving.llamacpp import LlamaCpp

BARE = """
import signal, sys
from pathlib import Path
from llm_deploy.serving.llamacpp import LlamaCpp
engine = LlamaCpp(Path(sys.argv[1]))
engine.load()
partial = Path(sys.argv[2] + ".partial")
partial.write_text(str(engine.socket))
partial.rename(sys.argv[2])
sys.stdin.read()
engine.close()
"""
PROMPT = "1, 2, 3, 4, 5, 6, 7, 8,"  # greedy, it counts on for ever: every answer has the full length
STREAMS = (1, 4)


@dataclass(frozen=True)
class Server:
    """A running server: its process, and where it listens (a port, or a unix socket)."""

    pid: int
    address: int | str

    def cpu_s(self) -> float:
        """CPU seconds of the process so far, all threads, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def front_cpu_s(self) -> float:
        """CPU seconds of the main thread alone, which runs the event loop."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def connect(self) -> None:
        """Open the socket that the host name stands for."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@dataclass(frozen=True)
class Contest:
    """One kind of request, as each side wants it."""

    name: str
    bare: tuple[str, dict[str, object]]
    ours: tuple[str, dict[str, object]]


def contests(engine: LlamaCpp, prompt: list[int], tokens: int) -> list[Contest]:
    """The two kinds: with each token's probability (TGI always), and without."""
    greedy = Sampling(temperature=0)
    with_, without = (
        engine.document(Task(prompt=prompt, max_new_tokens=tokens, sampling=greedy, probabilities=count))
        for count in (1, 0)
    )
    completion: dict[str, object] = {"prompt": PROMPT, "max_tokens": tokens, "temperature": 0, "stream": True}
    generate: dict[str, object] = {"inputs": PROMPT, "parameters": {"max_new_tokens": tokens}}
    return [
        Contest("TGI stream", ("/completion", with_), ("/generate_stream", generate)),
        Contest("OpenAI stream", ("/completion", without), ("/v1/completions", completion)),
    ]


@contextlib.contextmanager
def running(command: list[str], ready_file: Path) -> Iterator[Server]:
    """Start a server that ends with its standard input, and wait for its address."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"a server did not start: {command}")
                time.sleep(0.05)
            text = ready_file.read_text().strip()
            yield Server(process.pid, int(text) if text.isdecimal() else text)
        finally:
            process.kill()


def connect(server: Server) -> http.client.HTTPConnection:
    """Open a connection of the kind that the address says."""
    if isinstance(server.address, int):
        return http.client.HTTPConnection("127.0.0.1", server.address, timeout=120)
    return UnixConnection(server.address, timeout=120)


def post(server: Server, request: tuple[str, dict[str, object]]) -> bytes:
    """Send one request and read its answer to the end."""
    connection = connect(server)
    connection.request("POST", request[0], json.dumps(request[1]), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{request[0]}: {answer.status} {body[:200]!r}")
    return body


def tokens_in(body: bytes) -> int:
    """Count the tokens of a streamed answer, of any of the three shapes."""
    events = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:") and b"[DONE]" not in line]
    if "choices" in events[0]:
        return sum(bool(event["choices"][0]["text"]) for event in events)
    return int(events[-1].get("tokens_predicted") or events[-1]["details"]["generated_tokens"])


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds a token: of the whole process, and of its main thread."""

    whole: float
    front: float


def cost(server: Server, request: tuple[str, dict[str, object]], streams: int, tokens: int) -> Cost:
    """Run so many streams at the same time and divide the CPU they took by the tokens they gave."""
    whole, front = server.cpu_s(), server.front_cpu_s()
    with ThreadPoolExecutor(streams) as pool:
        bodies = list(pool.map(lambda _: post(server, request), range(streams)))
    whole, front = server.cpu_s() - whole, server.front_cpu_s() - front
    counts = [tokens_in(body) for body in bodies]
    if counts != [tokens] * streams:
        raise SystemExit(f"{request[0]} gave {counts} tokens instead of {tokens} each: nothing to compare")
    return Cost(1000 * whole / (streams * tokens), 1000 * front / (streams * tokens))


def wait_until_loaded(server: Server) -> None:
    """Poll `/ping`."""
    for _ in range(600):
        connection = connect(server)
        connection.request("GET", "/ping")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.1)
    raise SystemExit("the model did not load")


def measure(ours: Server, bare: Server, kinds: list[Contest], rounds: int, tokens: int) -> None:
    """Take turns and print the table."""
    print(
        "| request | streams | bare engine, ms/token | model server, ms/token | ratio | quartiles | added by itself |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind in kinds:
        for streams in STREAMS:
            costs: dict[Server, list[Cost]] = {bare: [], ours: []}
            sides = [(bare, kind.bare), (ours, kind.ours)]
            for server, request in sides:
                cost(server, request, streams, tokens)  # warms up
            for _ in range(rounds):
                for server, request in [*sides, *reversed(sides)]:
                    costs[server].append(cost(server, request, streams, tokens))
            print(row(kind.name, streams, costs[bare], costs[ours]))
            sys.stdout.flush()


def row(name: str, streams: int, bare: list[Cost], ours: list[Cost]) -> str:
    """One line of the table: medians, and the quartiles of the ratios of neighbouring runs."""
    theirs, own = (statistics.median(cost.whole for cost in side) for side in (bare, ours))
    low, middle, high = statistics.quantiles([b.whole / a.whole for a, b in zip(bare, ours, strict=True)], n=4)
    front = statistics.median(cost.front for cost in ours)
    added = f"{front:.2f} ms ({100 * front / theirs:.1f} %)"
    return f"| {name} | {streams} | {theirs:.2f} | {own:.2f} | **{middle:.3f}** | {low:.2f} to {high:.2f} | {added} |"


def main() -> None:
    """Start both servers and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    model = str(models.pull("smollm2"))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        server = [sys.executable, "-m", "llm_deploy.serving", "--model", model, "--port", "0", "--exit-with-parent"]
        server += ["--port-file", str(folder / "port")]
        with (
            running([sys.executable, "-c", BARE, model, str(folder / "socket")], folder / "socket") as bare,
            running(server, folder / "port") as ours,
        ):
            wait_until_loaded(ours)
            ids = json.loads(post(bare, ("/tokenize", {"content": PROMPT})))["tokens"]
            kinds = contests(LlamaCpp(Path(model)), ids, options.tokens)
            measure(ours, bare, kinds, options.rounds, options.tokens)


if __name__ == "__main__":
    main()
