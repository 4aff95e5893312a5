"""Our gateway beside FastAPI + aiobotocore and LiteLLM's proxy: `make bench-gateway` (twelve minutes, a quiet machine).

Run: `python -m benchmarks.gateway [--rounds 5] [--quick] [--without-litellm]`. In each round every gateway is started
anew, one worker each, in front of the same stub; a load generator of our own asks it in OpenAI's words. CPU is the
gateway's processes', from /proc; requests per core-second are requests by that CPU, so they do not depend on what else
the two cores are doing. Streams of ours are measured on `/v1/completions`, where TGI's events become OpenAI's chunks;
the peer relays what it gets. LiteLLM is left out of the 1,000 streams, which take it a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import ROOT, Figures, Line, column, figure, plain_environment, stub, table
from benchmarks.gateways import CHAT, COMPLETIONS, FASTAPI, LITELLM, OURS, Gateway, Running, body, running
from benchmarks.rounds import machine, markdown_table

LONG, SHORT = 400, 16
STREAMS, TOKENS, WITHIN_S = 1000, 60, 1.0
IDEAL_S = 6.9
"""The last of 1,000 streams begins after a second; its 60 tokens are 100 ms apart."""


def load(gateway: Running, path: str, model: str, *, stream: bool, options: Sequence[str]) -> dict[str, Any]:
    """Run the load generator once; its report, with the gateway's CPU in that time.

    Raises:
        SystemExit: A request failed where none may.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(body(path, model, stream=stream))
        file.flush()
        headers = [word for header in gateway.headers for word in ("--header", header)]
        what = "streams" if stream else "calls"
        command = [sys.executable, "-m", "benchmarks.load", what, gateway.url, path, "--body", file.name, *headers]
        before = gateway.cpu_s()
        done = subprocess.run([*command, *options], cwd=ROOT, env=plain_environment(), check=True, capture_output=True)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report["cpu_us"] = 1e6 * (gateway.cpu_s() - before)
    if not report["done"]:
        raise SystemExit(f"{gateway.url}{path} {model}: {report}")
    return report


def measure(kind: Gateway, stub_url: str, seconds: float) -> Figures:
    """One round of one gateway."""
    with tempfile.TemporaryDirectory(prefix="llmdeploy-bench-") as folder, running(kind, Path(folder), stub_url) as one:
        figures = {"boot_s": one.boot_s, "idle_mib": one.resident_mib()}
        load(one, CHAT, "now", stream=False, options=_for(8, 0.5))
        figures |= _calls(one, seconds) | _bursts(one, seconds, CHAT if kind is LITELLM else COMPLETIONS)
        if kind is not LITELLM:
            figures |= _many(one)
        return figures


def _for(callers: int, seconds: float) -> list[str]:
    return ["--callers", str(callers), "--seconds", str(seconds)]


def _calls(one: Running, seconds: float) -> Figures:
    many = load(one, CHAT, "now", stream=False, options=_for(64, seconds))
    alone = load(one, CHAT, "now", stream=False, options=_for(1, seconds))
    slow = load(one, CHAT, "d20", stream=False, options=_for(64, seconds))
    return {
        "cpu_us": many["cpu_us"] / many["done"],
        "per_core_s": 1e6 * many["done"] / many["cpu_us"],
        "per_s": many["per_s"],
        "added_p50_ms": alone["added_p50_ms"],
        "added_p99_ms": alone["added_p99_ms"],
        "slow_added_p50_ms": slow["added_p50_ms"],
        "slow_added_p99_ms": slow["added_p99_ms"],
        "calls_failed": many["failed"] + alone["failed"] + slow["failed"],
    }


def _bursts(one: Running, seconds: float, path: str) -> Figures:
    """CPU of one more token: the slope between streams of two lengths, eight at once."""
    long, short = (load(one, path, f"b{n}", stream=True, options=_for(8, seconds)) for n in (LONG, SHORT))
    for report, tokens in ((long, LONG), (short, SHORT)):
        if report["tokens"] != tokens * report["done"]:
            raise SystemExit(f"{one.url}: streams of {tokens} tokens gave {report}")
    a_stream = [each["cpu_us"] / each["done"] for each in (long, short)]
    return {
        "token_us": (a_stream[0] - a_stream[1]) / (LONG - SHORT),
        "streams_failed": long["failed"] + short["failed"],
    }


def _many(one: Running) -> Figures:
    """1,000 streams at once, and the memory that they take."""
    before = one.resident_mib()
    options = ["--callers", str(STREAMS), "--once", "--within", str(WITHIN_S)]
    report = load(one, COMPLETIONS, f"p{TOKENS}-100", stream=True, options=options)
    return {
        "many_failed": report["failed"],
        "many_wall_s": report["wall_s"],
        "many_first_p50_ms": report["added_p50_ms"],
        "many_first_p99_ms": report["added_p99_ms"],
        "many_token_p99_ms": report["token_added_p99_ms"],
        "many_token_us": report["cpu_us"] / max(1, report["tokens"]),
        "many_kib": 1024 * max(0.0, one.peak_mib() - before) / STREAMS,
    }


def lines(taken: dict[str, list[Figures]]) -> list[Line]:
    """The table of targets."""
    ours, peer = OURS.name, FASTAPI.name

    def beside(figure: str, name: str = peer) -> tuple[list[float], list[float]]:
        return column(taken, ours, figure), column(taken, name, figure)

    rounds = len(taken[ours])
    found = [
        Line("requests per core-second, 64 at once", *beside("per_core_s"), peer, "", 5, "at least"),
        Line(
            "... beside a fixed 5,000", column(taken, ours, "per_core_s"), [5000.0] * rounds, "fixed", "", 1, "at least"
        ),
        Line("burst of tokens, CPU a token", *beside("token_us"), peer, "us", 0.20),
        Line("added latency, 1 in flight, p50", *beside("added_p50_ms"), peer, "ms", 0.25),
        Line("added latency, 1 in flight, p99", *beside("added_p99_ms"), peer, "ms", 0.25),
        Line("added latency, 64 on a model of 20 ms, p50", *beside("slow_added_p50_ms"), peer, "ms", 0.25),
    ]
    if LITELLM.name in taken:
        slow = beside("per_core_s", LITELLM.name)
        found.insert(1, Line("... beside LiteLLM", *slow, LITELLM.name, "", 40, "at least"))
    return found


def many_table(taken: dict[str, list[Figures]]) -> str:
    """1,000 streams: what came of each gateway, and the targets."""
    names = ("many_failed", "many_wall_s", "many_first_p99_ms", "many_token_p99_ms", "many_kib", "many_token_us")
    headers = ["1,000 streams at once", "failed", f"wall, s ({IDEAL_S:g} is ideal)", "first token p99, ms"]
    headers += ["token p99, ms", "KiB a stream", "CPU us a token"]
    rows = [
        [kind.name, *(figure(median(column(taken, kind.name, name))) for name in names)]
        for kind in (OURS, FASTAPI)
        if kind.name in taken
    ]
    values = [median(column(taken, OURS.name, name)) for name in names[:5]]
    targets = (0.0, 7.1, 100.0, None, 30.0)
    verdicts = [
        "" if target is None else f"<= {target:g}: {'met' if value <= target else '**missed**'}"
        for value, target in zip(values, targets, strict=True)
    ]
    return markdown_table(headers, [*rows, ["target", *verdicts, ""]])


def in_turns(kinds: Sequence[Gateway], stub_url: str, rounds: int, seconds: float) -> dict[str, list[Figures]]:
    """Each once a round, every second round in the opposite order."""
    taken: dict[str, list[Figures]] = {kind.name: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            taken[kind.name].append(measure(kind, stub_url, seconds))
            print(f"  round {number + 1}, {kind.name}: {taken[kind.name][-1]}", file=sys.stderr, flush=True)
    return taken


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: about three minutes")
    parser.add_argument("--without-litellm", action="store_true", help="its environment takes half a gigabyte")
    parser.add_argument("--only", choices=["ours", "fastapi", "litellm"], help="measure one, print its figures")
    chosen = parser.parse_args()
    rounds, seconds = (2, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    with stub() as (url, _):
        if chosen.only:
            kind = {"ours": OURS, "fastapi": FASTAPI, "litellm": LITELLM}[chosen.only]
            print(json.dumps(measure(kind, url, seconds), indent=1))
            return
        taken = in_turns([OURS, FASTAPI, *([] if chosen.without_litellm else [LITELLM])], url, rounds, seconds)
    print(f"{machine()}; {rounds} rounds of {seconds:g} s, medians\n\n{table(lines(taken))}\n\n{many_table(taken)}")


if __name__ == "__main__":
    main()
