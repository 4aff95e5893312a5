"""A model that costs almost nothing: SageMaker's runtime, TGI's and OpenAI's paths, on one event loop.

Run: `python -m benchmarks.stub --port 0 [--tls] [--strict]`. It prints its address, with `--tls` also the file of its
throw-away certificate, and ends with its standard input (`--keep`: at a signal only).

The endpoint's name says what it does; plain HTTP has the name before the path (`/b400/v1/chat/completions`):

| name | behaviour |
| --- | --- |
| `now` | answers at once; a stream is 16 tokens at once |
| `d20` | answers after 20 ms; a stream is 16 tokens after 20 ms |
| `b400` | 400 tokens at once |
| `p60-100` | 60 tokens, the first at once, then one every 100 ms (fractions too: `p60-2.5`) |
| `cut5` | a stream's connection is cut after 5 tokens |
| `s503` | this status, with an error's body |
| `hang` | silence |

An `x-` before the name (any letter and a dash) is ignored, so that names can be told apart. `GET /stats` says what it
has seen. What the answers contain is in `stub_bodies.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from benchmarks import stub_bodies as bodies, stub_sigv4

MAX_REQUEST_BYTES = 64 * 1024 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NAME = re.compile(r"(?:[a-z]-)?(?P<kind>now|hang|cut|d|b|p|s)(?P<first>\d*)(?:-(?P<second>\d+(?:\.\d+)?))?")
_STREAM = re.compile(rb'"stream" *: *true')
_OK = b"HTTP/1.1 200 OK\r\nx-Amzn-Invoked-Production-Variant: AllTraffic\r\n"
_HEAD = _OK + b"Content-Type: application/json\r\nContent-Length: "
_STREAM_HEAD = _OK + b"Transfer-Encoding: chunked\r\nContent-Type: "
_END = b"0\r\n\r\n"
_ERROR = b'{"message":"the stub was told to fail","error":"stub","code":"stub"}'


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an endpoint's name asks for."""

    delay_s: float = 0.0
    tokens: int = 16
    gap_s: float = 0.0
    status: int = 200
    cut_after: int = 0
    silent: bool = False


@dataclass(slots=True)
class Stats:
    """What the stub has seen; `left` counts clients that went away in the middle of an answer."""

    connections: int = 0
    open_connections: int = 0
    requests: int = 0
    streams: int = 0
    open_streams: int = 0
    left: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0


def behaviour(name: str) -> Behaviour:
    """Read a name; an unknown one answers at once."""
    found = _NAME.fullmatch(name)
    if found is None:
        return Behaviour()
    number, gap_ms = int(found["first"] or 0), float(found["second"] or 0)
    table = {
        "d": Behaviour(delay_s=number / 1000),
        "b": Behaviour(tokens=max(1, number)),
        "p": Behaviour(tokens=max(2, number), gap_s=gap_ms / 1000),
        "cut": Behaviour(tokens=number + 1, cut_after=number),
        "s": Behaviour(status=number),
        "hang": Behaviour(silent=True),
    }
    return table.get(found["kind"], Behaviour())


class Stub(asyncio.Protocol):
    """One connection: requests one after the other, each answered before the next is looked at."""

    def __init__(self, stats: Stats, known: dict[str, Behaviour], *, strict: bool) -> None:
        self._stats = stats
        self._known = known
        self._strict = strict
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # a stream's is one
        self._loop = asyncio.get_running_loop()
        self._stats.connections += 1
        self._stats.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Stop what was being sent."""
        self._stats.open_connections -= 1
        self._stats.open_streams -= self._streaming
        if self._timer:
            self._stats.left += 1
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole."""
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        whole = end + 4 + (int(length[1]) if length else 0)
        if whole > MAX_REQUEST_BYTES:
            self._transport.close()
        if b"100-continue" in self._buffer[:end] and len(self._buffer) == end + 4:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._buffer) < whole:
            return
        head, body, self._buffer = self._buffer[:end], self._buffer[end + 4 : whole], self._buffer[whole:]
        self._stats.requests += 1
        self._request(head, body, time.monotonic_ns())

    def _request(self, head: bytes, body: bytes, arrived_ns: int) -> None:
        method, path, _ = head[: head.index(b"\r\n")].decode("latin-1").split(" ", 2)
        if path == "/stats":
            self._send_stats()
            return
        wrong = self._wrong_signature(method, path, head, body) if self._strict else None
        if wrong:
            self._stats.refused[wrong] = self._stats.refused.get(wrong, 0) + 1
            self._fail(403, json.dumps({"message": wrong}).encode())
            return
        name, framed, streams, shape = route(path, body)
        asked = self._known.get(name)
        if asked is None:
            asked = self._known[name] = behaviour(name)
        self._behave(asked, shape, arrived_ns, streams=streams, framed=framed)

    def _wrong_signature(self, method: str, path: str, head: bytes, body: bytes) -> str | None:
        lines = head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return stub_sigv4.objection(method, path, {name.lower(): value.strip() for name, _, value in pairs}, body)

    def _behave(self, asked: Behaviour, shape: bodies.Shape, arrived_ns: int, *, streams: bool, framed: bool) -> None:
        if asked.silent:
            return
        if asked.status != 200:
            self._fail(asked.status, _ERROR)
            return

        def go() -> None:
            self._timer = None
            if streams:
                self._stream(asked, shape, arrived_ns, framed=framed)
            else:
                self._answer(shape, arrived_ns)

        if asked.delay_s:
            self._timer = self._loop.call_later(asked.delay_s, go)
        else:
            go()

    def _answer(self, shape: bodies.Shape, arrived_ns: int) -> None:
        body = bodies.answer(shape, bodies.marked(arrived_ns))
        self._transport.write(b"%s%d\r\n\r\n%s" % (_HEAD, len(body), body))

    def _stream(self, asked: Behaviour, shape: bodies.Shape, arrived_ns: int, *, framed: bool) -> None:
        wrap = bodies.framed_chunk if framed else bodies.chunk
        head = b"%s%s\r\n\r\n" % (_STREAM_HEAD, bodies.EVENT_STREAM if framed else b"text/event-stream")
        self._stats.streams += 1
        if asked.gap_s:
            self._pace(asked, shape, arrived_ns, wrap, head)
            return
        body = bodies.burst(shape, asked.tokens, wrap)
        if asked.cut_after:
            events = [bodies.event(shape, index, f" tok{index}") for index in range(1, asked.cut_after + 1)]
            self._transport.write(head + b"".join(map(wrap, events)))
            self._transport.close()
            return
        self._transport.write(b"%s%s%s" % (head, body, _END))

    def _pace(
        self, asked: Behaviour, shape: bodies.Shape, arrived_ns: int, wrap: Callable[[bytes], bytes], head: bytes
    ) -> None:
        """The first token with the head; the next ones by the clock, so that delays do not add up."""
        first = bodies.event(shape, 1, bodies.marked(arrived_ns))
        self._transport.write(head + wrap(first))
        self._streaming = True
        self._stats.open_streams += 1
        start_s = self._loop.time()

        def token(index: int) -> None:
            text = bodies.marked(None)
            if index < asked.tokens:
                self._timer = self._loop.call_at(start_s + index * asked.gap_s, token, index + 1)
                self._transport.write(wrap(bodies.event(shape, index, text)))
                return
            self._timer, self._streaming = None, False
            self._stats.open_streams -= 1
            self._transport.write(b"".join(map(wrap, bodies.last_events(shape, index, text, asked.tokens))) + _END)

        self._timer = self._loop.call_at(start_s + asked.gap_s, token, 2)

    def _fail(self, status: int, body: bytes) -> None:
        kind = b"x-amzn-ErrorType: %s\r\n" % (b"ModelError" if status == 424 else b"StubError")
        retry = b"Retry-After: 1\r\n" if status in {429, 503} else b""
        head = b"HTTP/1.1 %d Stub\r\nContent-Type: application/json\r\n%s%s" % (status, kind, retry)
        self._transport.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))

    def _send_stats(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._stats.cpu_s = usage.ru_utime + usage.ru_stime
        body = json.dumps(asdict(self._stats)).encode()
        self._transport.write(b"%s%d\r\n\r\n%s" % (_HEAD, len(body), body))


def route(path: str, body: bytes) -> tuple[str, bool, bool, bodies.Shape]:
    """The endpoint's name, whether frames are wanted, whether a stream is, and the engine's shape."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts[0] == "endpoints" and len(parts) == 3:
        framed = parts[2] == "invocations-response-stream"
        return parts[1], framed, framed, _shape_of(body)
    name = parts[0] if len(parts) > 1 and _NAME.fullmatch(parts[0]) else "now"
    last = parts[-1]
    if last in {"generate", "generate_stream"}:
        return name, False, last == "generate_stream", "tgi_object"
    return name, False, bool(_STREAM.search(body)), _shape_of(body)


def _shape_of(body: bytes) -> bodies.Shape:
    if b'"messages"' in body:
        return "chat"
    return "completion" if b'"prompt"' in body else "tgi"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 (EC P-256, one day) that is its own authority; the files of it and its key."""
    paths = folder / "stub.pem", folder / "stub.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(
        [*command, *names, "-out", str(paths[0]), "-keyout", str(paths[1])], check=True, stderr=subprocess.DEVNULL
    )
    return paths


async def serve(port: int, tls: tuple[Path, Path] | None, *, strict: bool, keep: bool) -> None:
    """Listen on 127.0.0.1, print the address, and serve until standard input ends."""
    stats, known = Stats(), dict[str, Behaviour]()
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Stub(stats, known, strict=strict), "127.0.0.1", port, ssl=context, backlog=4096
    )
    number = server.sockets[0].getsockname()[1]
    print(f"{'https' if tls else 'http'}://127.0.0.1:{number}", *(tls[:1] if tls else ()), sep="\n", flush=True)
    if keep:
        await asyncio.Event().wait()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", action="store_true", help="with a certificate made now")
    parser.add_argument("--strict", action="store_true", help="check the signature of each request")
    parser.add_argument("--keep", action="store_true", help="do not end with standard input")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmdeploy-stub-") as folder:
        tls = certificate(Path(folder)) if chosen.tls else None
        uvloop.run(serve(chosen.port, tls, strict=chosen.strict, keep=chosen.keep))


if __name__ == "__main__":
    main()
