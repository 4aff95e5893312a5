"""Our clients beside boto3 and aiobotocore on one stub server: `make bench-client` (twelve minutes, a quiet machine).

Run: `python -m benchmarks.client_calls [--rounds 7] [--quick]`. Every measurement is a process of its own; in each
round all of them take turns. All clients get the same endpoint, sign, send JSON, and hand out the text; the
asynchronous ones run on uvloop. CPU is the client's process alone. `Added` latency is what a call took less what the
stub held it. Peers are pinned in `benchmarks/requirements/aws.txt` and installed into an environment of their own; for
the cold start boto3 runs from our own environment, so that both import from the same folder.
"""

from __future__ import annotations

import argparse
import compileall
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.client_adapters import COMPONENT, PARAMETERS, PROMPT
from benchmarks.contest import (
    ROOT,
    Figures,
    Line,
    Measurement,
    column,
    in_turns,
    plain_environment,
    stub,
    table,
)
from benchmarks.import_time import compile_packages
from benchmarks.rounds import Contender, Sample, interleaved, machine
from benchmarks.stub_sigv4 import ACCESS_KEY, REGION, SECRET_KEY
from tests.clients import environments

IDEAL_PER_S = 64 / 0.020
"""64 callers, each waiting for 20 ms."""
SYNC_PAIR, LOOP_PAIR = ("ours", "boto3"), ("ours_async", "aiobotocore")
LONG, SHORT = 400, 16
"""Tokens of the two burst streams; the slope between them is a token's cost without the call's."""

COLD = {
    "bare": "pass",
    "boto3": f"import boto3; client = boto3.Session(region_name={REGION!r}).client('sagemaker-runtime')",
    "ours": "from llm_deploy import LLMInferenceSagemakerEndpoint;"
    f"model = LLMInferenceSagemakerEndpoint('now', {{'parameters': {PARAMETERS}}}, {COMPONENT!r}, dialect='tgi',"
    f" region={REGION!r})",
}
FIRST_ANSWER = {
    "bare": "",
    "boto3": f"; import json; body = json.dumps({{'inputs': {PROMPT!r}, 'parameters': {PARAMETERS}}});"
    f"answer = client.invoke_endpoint(EndpointName='now', InferenceComponentName={COMPONENT!r}, Body=body,"
    " ContentType='application/json'); json.loads(answer['Body'].read())[0]['generated_text']",
    "ours": f"; model.set_payload({PROMPT!r}); model.inference().text",
}


@dataclass(frozen=True)
class Bench:
    """Where the stubs are and how long a measurement takes."""

    url: str
    tls_url: str
    certificate: str
    seconds: float
    peers: Path

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """Of a client: static credentials, and the stub for AWS."""
        found = plain_environment(
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            AWS_REGION=REGION,
            AWS_DEFAULT_REGION=REGION,
            AWS_ENDPOINT_URL=self.tls_url if tls else self.url,
        )
        return found | ({"AWS_CA_BUNDLE": self.certificate} if tls else {})

    def take(self, client: str, what: str, endpoint: str, callers: int, *, tls: bool = False) -> Measurement:
        """One measurement of one client."""
        python = self.peers if client in {"boto3", "aiobotocore"} else Path(sys.executable)
        url = self.tls_url if tls else self.url
        module: list[str | Path] = [python, "-m", "benchmarks.client_worker"]
        command = [*module, client, what, url, endpoint, "--callers", str(callers)]
        name = case(client, what, endpoint, callers, tls=tls)
        return Measurement(name, [*command, "--seconds", str(self.seconds)], self.environment(tls=tls))

    def measurements(self) -> list[Measurement]:
        """All of them: neighbours in this list are neighbours in time."""
        both, pairs = SYNC_PAIR, (SYNC_PAIR, LOOP_PAIR)
        return [
            *(self.take(client, "call", "now", 1) for client in both),
            *(self.take(client, "call", "now", 1, tls=True) for client in both),
            *(self.take(client, "call", "now", 64) for pair in pairs for client in pair),
            *(self.take(client, "call", "now", 256) for client in pairs[1]),
            *(self.take(client, "call", "d20", 64) for pair in pairs for client in pair),
            *(self.take(client, "stream", f"b{n}", 1) for pair in pairs for n in (SHORT, LONG) for client in pair),
            *(self.take(client, "stream", "p40-5", 8) for pair in pairs for client in pair),
        ]


def case(client: str, what: str, endpoint: str, callers: int, *, tls: bool = False) -> str:
    """A measurement's name."""
    return f"{client} {what} {endpoint} {callers}{' tls' if tls else ''}"


Taken = Mapping[str, list[Figures]]
Sides = tuple[list[float], list[float]]


def sides(taken: Taken, pair: tuple[str, str], rest: tuple[str, str, int], figure: str) -> Sides:
    """Our figure and the peer's, round by round."""
    ours, peer = (column(taken, case(name, *rest), figure) for name in pair)
    return ours, peer


def calls(taken: Taken) -> list[Line]:
    """The lines about whole answers."""
    one, over_tls = ("call", "now", 1), [f"{name} call now 1 tls" for name in SYNC_PAIR]
    tls = column(taken, over_tls[0], "cpu_us_per_call"), column(taken, over_tls[1], "cpu_us_per_call")
    added = sides(taken, SYNC_PAIR, one, "added_p50_us")
    found = [
        Line("sync call, 1 in flight, CPU", *sides(taken, SYNC_PAIR, one, "cpu_us_per_call"), "boto3", "us", 0.15),
        Line("... over TLS", *tls, "boto3", "us", 0.18),
        Line("... added latency, p50", *added, "boto3", "us", 0.20),
    ]
    for what, pair, callers in (
        ("sync, 64 threads", SYNC_PAIR, 64),
        ("asyncio, 64 in flight", LOOP_PAIR, 64),
        ("asyncio, 256 in flight", LOOP_PAIR, 256),
    ):
        rates = sides(taken, pair, ("call", "now", callers), "calls_per_s")
        found.append(Line(what, *rates, pair[1], "/s", 10, "at least"))
    return [*found, *(share(taken, kind, pair) for kind, pair in (("threads", SYNC_PAIR), ("tasks", LOOP_PAIR)))]


def share(taken: Taken, kind: str, pair: tuple[str, str]) -> Line:
    """64 callers on a model that takes 20 ms: how much of what is possible they get."""
    ours, peer = sides(taken, pair, ("call", "d20", 64), "calls_per_s")
    beside = f"the ideal; {pair[1]} reaches {100 * median(peer) / IDEAL_PER_S:.0f} %"
    return Line(f"64 {kind}, a model of 20 ms", ours, [IDEAL_PER_S] * len(ours), beside, "/s", 0.90, "at least")


def streams(taken: Taken) -> list[Line]:
    """The lines about streams."""
    found: list[Line] = []
    for kind, pair, target in (("sync", SYNC_PAIR, 0.25), ("asyncio", LOOP_PAIR, 0.20)):
        burst = per_token_us(taken, pair[0]), per_token_us(taken, pair[1])
        added = sides(taken, pair, ("stream", "p40-5", 8), "added_p50_us")
        found.append(Line(f"{kind} stream, CPU a token in a burst", *burst, pair[1], "us", target))
        found.append(Line(f"{kind}, 8 streams at once, added first-token time, p50", *added, pair[1], "us", 0.15))
    return found


def per_token_us(taken: Taken, client: str) -> list[float]:
    """CPU of one more token: the slope between a long and a short stream, round by round."""
    long, short = (column(taken, case(client, "stream", f"b{n}", 1), "cpu_us_per_call") for n in (LONG, SHORT))
    return [(more - less) / (LONG - SHORT) for more, less in zip(long, short, strict=True)]


def cold(bench: Bench, rounds: int) -> list[Line]:
    """The lines about a process that begins: its CPU over the bare interpreter's."""
    compile_packages()
    compileall.compile_dir(ROOT / "llm_deploy", quiet=2)
    statements = {(name, "made"): code for name, code in COLD.items()}
    statements |= {(name, "answered"): COLD[name] + FIRST_ANSWER[name] for name in ("boto3", "ours")}
    environment = bench.environment()
    contenders = [
        Contender(" ".join(key), [sys.executable, "-c", code], environment, Path("/"))
        for key, code in statements.items()
    ]
    samples = interleaved(contenders, rounds)
    bare = samples["bare made"]

    def over(name: str) -> list[float]:
        return [own.cpu_ms - floor.cpu_ms for own, floor in zip(samples[name], bare, strict=True)]

    return [
        Line(
            "import and construct, CPU over the bare interpreter",
            over("ours made"),
            over("boto3 made"),
            "boto3",
            "ms",
            0.25,
        ),
        Line("import to first answer, CPU, whole process", *_cpu(samples, "answered"), "boto3", "ms", 0.45),
    ]


def _cpu(samples: Mapping[str, list[Sample]], what: str) -> tuple[list[float], list[float]]:
    ours, boto3 = ([sample.cpu_ms for sample in samples[f"{name} {what}"]] for name in ("ours", "boto3"))
    return ours, boto3


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.2, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.5 s: about two minutes")
    chosen = parser.parse_args()
    rounds, seconds = (3, 0.5) if chosen.quick else (chosen.rounds, chosen.seconds)
    peers = environments.python("aws", ROOT / "benchmarks" / "requirements")
    with stub() as (url, _), stub("--tls") as (tls_url, certificate):
        bench = Bench(url, tls_url, certificate or "", seconds, peers)
        taken = in_turns(bench.measurements(), rounds)
        lines = [*calls(taken), *streams(taken), *cold(bench, 2 * rounds)]
    print(f"{machine()}; {rounds} rounds of {seconds:g} s (cold start: {2 * rounds}), medians\n\n{table(lines)}")


if __name__ == "__main__":
    main()
