"""What it costs to have the client: `from llm_deploy import InferenceExecutor` against `import boto3`.

Fresh interpreters in turns (bare, ours, boto3, ...), all byte-compiled beforehand; the figures are the wall time from
before the import to after it inside the interpreter, and of the whole process. Prints a Markdown table.

    python benchmarks/import_time.py [ROUNDS]
"""

from __future__ import annotations

import compileall
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = {
    "bare interpreter": "pass",
    "from llm_deploy import InferenceExecutor": "from llm_deploy import InferenceExecutor",
    "... and LLMInferenceSagemakerEndpoint": "from llm_deploy import InferenceExecutor, LLMInferenceSagemakerEndpoint",
    "import boto3": "import boto3",
}
BASE = "import boto3"
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
WARM_UP_ROUNDS = 2


def compile_packages() -> None:
    """Byte-compile what is imported, so that no side pays for that."""
    for name in ("llm_deploy", "boto3", "botocore", "urllib3", "s3transfer", "jmespath", "dateutil"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            compileall.compile_dir(Path(spec.origin).parent, quiet=2)


def measure(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of the import and of the whole process."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], check=True, capture_output=True, text=True, env=environment
    )
    return float(done.stdout) * 1000, (time.perf_counter() - start) * 1000


def main(rounds: int) -> None:
    """Measure in turns and print the table."""
    compile_packages()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for turn in range(rounds + WARM_UP_ROUNDS):
        for name, statement in CASES.items():
            figures = measure(statement, environment)
            if turn >= WARM_UP_ROUNDS:
                found[name].append(figures)
    imports = {name: statistics.median(each for each, _ in figures) for name, figures in found.items()}
    wholes = {name: statistics.median(each for _, each in figures) for name, figures in found.items()}
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds, medians\n")
    print("| | import, ms | of boto3's | process, ms | of boto3's |")
    print("|---|---:|---:|---:|---:|")
    for name in CASES:
        ratio, whole = imports[name] / imports[BASE], wholes[name] / wholes[BASE]
        print(f"| `{name}` | {imports[name]:.1f} | {ratio:.2f}x | {wholes[name]:.1f} | {whole:.2f}x |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
