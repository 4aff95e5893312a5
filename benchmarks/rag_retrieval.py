"""How long retrieval takes in embedded Qdrant, embedding left out: `python -m benchmarks.rag_retrieval`.

Vectors are random, of MiniLM's length; texts are random words with a natural language's frequencies (Zipf), as long as
real passages, with real payloads; so the work of a search is real and its results are not. For each size: the time to
write, to open, and p50 and p99 of a search by vectors, by vectors and words, and with a filter; with the longest time
that the event loop did not come round while they ran. Both embedded engines are measured; the local mode of Qdrant's
Python client only up to 20,000 passages, above which a search takes seconds.

`--size=N` and `--engine=NAME` choose, `--url=URL` takes a server instead. All of it takes about five
minutes on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llm_deploy.rag.config import StoreConfig
from llm_deploy.rag.connection import Engine, connect
from llm_deploy.rag.index import Entry, PassageIndex, Question
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.words import query_vector

SIZES: dict[Engine, tuple[int, ...]] = {"edge": (5_000, 20_000, 100_000), "local": (5_000, 20_000)}
QUERIES: dict[Engine, int] = {"edge": 200, "local": 20}
DIMENSIONS = 384
VOCABULARY = 30_000
PASSAGE_WORDS, QUERY_WORDS = 110, 7
PASSAGES_EACH = 20
BATCH = 500
CANDIDATES = 24
BEAT_S = 0.001


class Texts:
    """Random passages and queries; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._words = np.array(_vocabulary(seed))
        weights = 1 / np.arange(1, VOCABULARY + 1)
        self._weights = weights / weights.sum()

    def passage(self, number: int) -> Passage:
        """The passage of this number, with a plausible payload."""
        document, ordinal = divmod(number, PASSAGES_EACH)
        text = " ".join(self._random.choice(self._words, PASSAGE_WORDS, p=self._weights))
        kinds = ("markdown", "html", "pdf", "code", "text")
        return Passage(
            text,
            f"corpus/{document % 97}/{document}.md",
            f"Document {document}",
            f"Section {ordinal}",
            page=ordinal + 1,
            ordinal=ordinal,
            modified=f"2026-{document % 12 + 1:02}-01T00:00:00+00:00",
            kind=kinds[document % 5],
            tags=(f"tag{document % 10}",),
        )

    def query(self) -> str:
        """Words of middling frequency: the commonest are left out, as stop words would be."""
        return " ".join(self._random.choice(self._words[50:5000], QUERY_WORDS))

    def vectors(self, number: int) -> list[list[float]]:
        """So many directions."""
        found = self._random.standard_normal((number, DIMENSIONS)).astype(np.float32)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).tolist()  # type: ignore[no-any-return]


def _vocabulary(seed: int) -> list[str]:
    letters = random.Random(seed)  # noqa: S311 - made-up words
    return ["".join(letters.choices("abcdefghiklmnoprstuvwy", k=letters.randint(3, 9))) for _ in range(VOCABULARY)]


@asynccontextmanager
async def watched(longest: list[float]) -> AsyncIterator[None]:
    """Note the longest time between two rounds of the event loop, less the pause that was asked for."""

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.perf_counter()
            longest[0] = max(longest[0], now - last - BEAT_S)
            last = now

    beating = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating


async def measure(size: int, store: StoreConfig, queries: int) -> dict[str, Any]:
    """Fill a collection, open it again, and search it."""
    texts = Texts(size)
    index = _index(store)
    await index.ensure()
    started_s = time.perf_counter()
    for start in range(0, size, BATCH):
        count = min(BATCH, size - start)
        passages = [texts.passage(number) for number in range(start, start + count)]
        entries = [Entry(*pair) for pair in zip(passages, texts.vectors(count), strict=True)]
        await index.write(entries, digest=f"digest{start}", whole=PASSAGES_EACH)
    written_s = time.perf_counter() - started_s
    await index.connection.aclose()
    index = _index(store)
    started_s = time.perf_counter()
    await index.check()
    opened_s = time.perf_counter() - started_s
    found: dict[str, Any] = {
        "passages": size,
        "engine": "server" if store.url else store.engine,
        "write_s": written_s,
        "open_s": opened_s,
    }
    for name, words, filters in (
        ("vectors", False, None),
        ("vectors and words", True, None),
        ("filtered", True, {"kind": ["pdf", "code"]}),
    ):
        found[name] = await _searches(index, texts, queries, words=words, filters=filters)
    await index.drop()
    await index.connection.aclose()
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


async def _searches(
    index: PassageIndex, texts: Texts, number: int, *, words: bool, filters: Mapping[str, Any] | None
) -> dict[str, float]:
    questions = [
        Question(vector, query_vector(texts.query()) if words else None) for vector in texts.vectors(number + 2)
    ]
    taken: list[float] = []
    longest = [0.0]
    async with watched(longest):
        for question in questions:
            started_s = time.perf_counter()
            hits = await index.search([question], CANDIDATES, filters)
            taken.append(time.perf_counter() - started_s)
            if len(hits) != CANDIDATES:
                raise SystemExit(f"{len(hits)} hits instead of {CANDIDATES}")
    timed = sorted(taken[2:])  # the first ones fill caches
    return {
        "p50_ms": 1000 * statistics.median(timed),
        "p99_ms": 1000 * timed[min(len(timed) - 1, int(len(timed) * 0.99))],
        "longest_stall_ms": 1000 * longest[0],
    }


def _index(store: StoreConfig) -> PassageIndex:
    return PassageIndex(connect(store), "benchmark", embedding="random", dimensions=DIMENSIONS, store=store)


def show(reports: Sequence[Mapping[str, Any]]) -> None:
    """As a table of Markdown."""
    print(
        "| engine | passages | search | p50 ms | p99 ms | longest stall of the loop ms | write s | open s | peak MiB |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for report in reports:
        whole = f"{report['write_s']:.0f} | {report['open_s']:.1f} | {report['peak_mib']:.0f}"
        for name in ("vectors", "vectors and words", "filtered"):
            each = report[name]
            figures = f"{each['p50_ms']:.1f} | {each['p99_ms']:.1f} | {each['longest_stall_ms']:.1f}"
            print(f"| {report['engine']} | {report['passages']:,} | {name} | {figures} | {whole} |")


def _apart(engine: Engine, size: int, given: list[str]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.rag_retrieval"]
    kept = [each for each in given if each.startswith(("--queries=", "--url="))]
    one = ["--json", f"--engine={engine}", f"--size={size}"]
    done = subprocess.run([*command, *kept, *one], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main() -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="passages; may be repeated")
    parser.add_argument("--engine", choices=tuple(SIZES), action="append")
    parser.add_argument("--queries", type=int, help="searches of each kind")
    parser.add_argument("--url", help="a Qdrant server")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reports = []
    engines: list[Engine] = options.engine or (["edge"] if options.url else list(SIZES))
    jobs = [(engine, size) for engine in engines for size in options.size or SIZES[engine]]
    for engine, size in jobs:
        if len(jobs) > 1:  # each in a process of its own, for its memory
            reports += _apart(engine, size, sys.argv[1:])
            continue
        with tempfile.TemporaryDirectory() as folder:
            store = StoreConfig(url=options.url, path=Path(folder), engine=engine)
            reports.append(asyncio.run(measure(size, store, options.queries or QUERIES[engine])))
    print(json.dumps(reports, indent=2)) if options.json else show(reports)


if __name__ == "__main__":
    main()
