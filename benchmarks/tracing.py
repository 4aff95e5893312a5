"""What traces cost: microseconds of CPU for one request of two spans, in the thread that answers and in the process.

Each case is a process of its own; cases take turns and the figures are medians. The spans are those of a chat through a
gateway: 700 characters of prompt, 200 of answer. The process's figure includes the exporter's thread: redaction, JSON,
SQLite. Prints a Markdown table.

    python -m benchmarks.tracing [ROUNDS]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llm_deploy.tracing import conventions, span

REQUESTS = 3000
CASES: dict[str, dict[str, Any] | None] = {
    "nobody listens": None,
    "local store": {},
    "local store, content captured": {"capture_content": True},
    "nothing sampled, errors kept": {"sample_ratio": 0.0},
    "nothing sampled, errors not kept": {"sample_ratio": 0.0, "keep_errors": False},
}
MESSAGES = [
    {"role": "system", "content": "Be brief. " * 15},
    {"role": "user", "content": "What is the capital of France, and why do people ask? " * 10},
]


def request() -> None:
    """One request as the gateway and the client record it."""
    with span("POST /v1/chat/completions", kind="server", **{"http.request.method": "POST"}) as whole:
        about = conventions.request("chat", "twin", provider=conventions.SAGEMAKER, temperature=0.5)
        with span("chat twin", kind="client", **about) as call:
            call.set(**conventions.prompt(messages=MESSAGES))
            call.set(**conventions.answer(text="Paris. " * 30, finish_reason="eos", input_tokens=170, output_tokens=60))
        whole.set(**{"http.response.status_code": 200})


def measure(section: dict[str, Any] | None) -> tuple[float, float]:
    """Microseconds of CPU a request: this thread's, and the process's until everything is written."""
    tracing = None
    if section is not None:
        from llm_deploy.tracing import setup  # noqa: PLC0415 - the case without it shall not import it
        from llm_deploy.tracing.config import TracingConfig  # noqa: PLC0415 - as above

        roomy = section | {"queue": {"spans": 1_000_000, "mib": 4096, "flush_s": 60}}
        state_dir = Path(tempfile.mkdtemp(prefix="llmdeploy-bench-"))
        tracing = setup.configure(TracingConfig.model_validate(roomy), state_dir=state_dir, environment={})
    for _ in range(100):
        request()
    thread_s, process_s = time.thread_time(), time.process_time()
    for _ in range(REQUESTS):
        request()
    thread_s = time.thread_time() - thread_s
    if tracing is not None:
        tracing.close()
    return thread_s / REQUESTS * 1e6, (time.process_time() - process_s) / REQUESTS * 1e6


def main(rounds: int) -> None:
    """Measure in turns and print the table."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name in CASES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.tracing", "--case", name], check=True, capture_output=True, text=True
            )
            found[name].append(tuple(json.loads(done.stdout)))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds, medians\n")
    print("| | answering thread, us a request | process, us a request |")
    print("|---|---:|---:|")
    for name, figures in found.items():
        thread, process = (statistics.median(each) for each in zip(*figures, strict=True))
        print(f"| {name} | {thread:.0f} | {process:.0f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(measure(CASES[sys.argv[2]])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
