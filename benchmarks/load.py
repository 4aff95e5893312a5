"""A load generator that costs little: closed-loop calls, and streams whose tokens are timed by the stub's clock marks.

Run: `python -m benchmarks.load calls|streams URL PATH --body FILE --callers 64 --seconds 2` or, for streams that all
begin within a time, `--once --within 1`. The last line it prints is JSON. One request is made beforehand and sent again
and again over kept connections; answers are looked at just enough to know that they are whole and right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.stub_bodies import MARK

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MARKS = re.compile(rb"(?<= )[0-9a-f]{%d}\b" % len(MARK % 0))
_TOKEN = re.compile(rb'"(?:content|text)": ?" (?:tok|[0-9a-f])')
STREAM_LIMIT_S = 60.0


@dataclass
class Tally:
    """What all callers saw. Times are nanoseconds."""

    added: list[int] = field(default_factory=list)
    took: list[int] = field(default_factory=list)
    token_added: list[int] = field(default_factory=list)
    done: int = 0
    failed: int = 0
    tokens: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def fail(self, why: str) -> None:
        """Count a failure."""
        self.failed += 1
        self.failures[why] = self.failures.get(why, 0) + 1


class Caller(asyncio.Protocol):
    """One kept connection. `again` says whether another request follows an answer."""

    def __init__(self, request: bytes, tally: Tally, *, streams: bool) -> None:
        self._request = request
        self._tally = tally
        self._streams = streams
        self._parts: list[bytes] = []
        self.until = 0.0
        self.idle: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # a stream's is one

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that was not whole is a failure."""
        if self.idle and not self.idle.done():
            self._tally.fail(f"connection lost: {exc}")
            self.idle.set_result(None)

    def send(self) -> None:
        """Ask once."""
        self._parts, self._rest, self._first = [], b"", True
        self._started_ns = time.monotonic_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole."""
        if self._streams:
            self._stream_part(data)
            return
        self._parts.append(data)
        answer = data if len(self._parts) == 1 else b"".join(self._parts)
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        found = _LENGTH.search(answer, 0, head)
        whole = len(answer) >= head + 4 + int(found[1]) if found else answer.endswith(b"0\r\n\r\n")
        if whole:
            self._answered(answer, time.monotonic_ns() - self._started_ns)

    def _answered(self, answer: bytes, took_ns: int) -> None:
        if not answer.startswith(b"HTTP/1.1 200"):
            self._tally.fail(answer[9:12].decode("latin-1"))
        else:
            arrived, sent = (int(mark, 16) for mark in _MARKS.findall(answer, answer.find(b"\r\n\r\n"))[:2])
            self._tally.added.append(took_ns - (sent - arrived))
            self._tally.took.append(took_ns)
            self._tally.done += 1
        self._next()

    def _stream_part(self, data: bytes) -> None:
        now = time.monotonic_ns()
        text = self._rest + data if self._rest else data
        end = text.rfind(b"\n") + 1
        whole, self._rest = text[:end], text[end:]
        tally = self._tally
        tally.tokens += len(_TOKEN.findall(whole))
        marks = _MARKS.findall(whole)
        if marks and self._first:
            self._first = False
            arrived, sent = int(marks[0], 16), int(marks[1], 16)
            tally.added.append(now - self._started_ns - (sent - arrived))
            marks = marks[2:]
        tally.token_added.extend(now - int(mark, 16) for mark in marks)
        if text.endswith(b"0\r\n\r\n"):
            tally.took.append(now - self._started_ns)
            tally.done += 1
            self._next()
        elif text.startswith(b"HTTP/1.1 ") and not text.startswith(b"HTTP/1.1 200"):
            tally.fail(text[9:12].decode("latin-1"))
            self._transport.close()

    def _next(self) -> None:
        if time.monotonic() < self.until:
            self.send()
        elif self.idle and not self.idle.done():
            self.idle.set_result(None)

    def run(self, until: float) -> asyncio.Future[None]:
        """Ask until then; done when the last answer is whole."""
        self.until = until
        self.idle = asyncio.get_running_loop().create_future()
        self.send()
        return self.idle

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def request_of(url: str, path: str, body: bytes, headers: list[str]) -> bytes:
    """The one request, ready to send."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def load(url: str, request: bytes, callers: int, *, streams: bool, seconds: float, within: float) -> Tally:
    """Connect all, then run them for so long; with `seconds` 0 each asks once, beginning within so many seconds."""
    loop, place, tally = asyncio.get_running_loop(), urlsplit(url), Tally()
    host, port = place.hostname or "127.0.0.1", place.port or 80
    protocols = []
    for _ in range(callers):
        _, protocol = await loop.create_connection(lambda: Caller(request, tally, streams=streams), host, port)
        protocols.append(protocol)
    end = time.monotonic() + seconds
    waiting = []
    for number, protocol in enumerate(protocols):
        if within:
            await asyncio.sleep(max(0.0, end + number * within / callers - time.monotonic()))
        waiting.append(protocol.run(end))
    _, late = await asyncio.wait(waiting, timeout=seconds + within + STREAM_LIMIT_S)
    for _ in late:
        tally.fail("not finished in time")
    for protocol in protocols:
        protocol.idle = None
        protocol.close()
    return tally


def report(tally: Tally, wall_s: float) -> dict[str, object]:
    """The figures of a run; latencies in milliseconds."""
    figures: dict[str, object] = {
        "done": tally.done,
        "failed": tally.failed,
        "failures": tally.failures,
        "tokens": tally.tokens,
        "wall_s": wall_s,
        "per_s": tally.done / wall_s,
    }
    for name, values in (("added", tally.added), ("took", tally.took), ("token_added", tally.token_added)):
        if len(values) >= 2:
            cuts = statistics.quantiles(values, n=100)
            figures |= {f"{name}_p50_ms": cuts[49] / 1e6, f"{name}_p99_ms": cuts[98] / 1e6}
    return figures


def main() -> None:
    """Read the arguments, load, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["calls", "streams"])
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("--body", type=Path, required=True, help="file with the request's body")
    parser.add_argument("--header", action="append", default=[], help="'Name: value'; may be repeated")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--once", action="store_true", help="each caller asks once")
    parser.add_argument("--within", type=float, default=0.0, help="seconds over which the callers begin")
    chosen = parser.parse_args()
    request = request_of(chosen.url, chosen.path, chosen.body.read_bytes(), chosen.header)
    seconds = 0.0 if chosen.once else chosen.seconds
    started = time.monotonic()
    tally = uvloop.run(
        load(
            chosen.url,
            request,
            chosen.callers,
            streams=chosen.what == "streams",
            seconds=seconds,
            within=chosen.within,
        )
    )
    print(json.dumps(report(tally, time.monotonic() - started)))


if __name__ == "__main__":
    main()
