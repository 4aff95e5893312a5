"""A wire to the local cloud that breaks as told: a proxy on a real socket between botocore and whoever answers.

Every call goes through it with its operation's name, read as the service reads it. For each it asks a function what is
to happen: pass it on; close the connection without passing it on; pass it on and lose the answer, whole or its end; or
answer with an error of AWS's in the words of the call's protocol. The `Host` header goes through unchanged, so that
signatures hold.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

READS = ("Describe", "List", "Get", "Head", "Filter", "Invoke", "Simulate")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Call:
    """One call as it arrived. `operation` is AWS's name for it, or method and path where the path says it."""

    number: int
    operation: str
    json: bool

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return not self.operation.startswith((*READS, "POST /endpoints/"))


@dataclass(frozen=True)
class Refusal:
    """An error that is answered in place of the service."""

    status: int
    code: str
    text: str = "told to"


Fault = Literal["refuse", "lose", "cut"] | Refusal
"""`refuse`: nothing is passed on; `lose`: the call takes effect, no byte of its answer arrives; `cut`: half does."""

THROTTLED = Refusal(400, "ThrottlingException", "Rate exceeded")
EXPIRED = Refusal(400, "ExpiredTokenException", "The security token included in the request is expired")
BROKEN = Refusal(500, "InternalFailure")
AWAY = Refusal(503, "ServiceUnavailable")


@dataclass
class FaultyWire:
    """What happens on the wire, and what has happened.

    Attributes:
        fault: Asked for every call; `None`: it is passed on.
        calls: Every call so far.
    """

    upstream: str
    fault: Callable[[Call], Fault | None] = lambda _: None
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, operation: str, *, is_json: bool) -> tuple[Call, Fault | None]:
        """Count a call and decide about it."""
        with self._lock:
            call = Call(len(self.calls), operation, is_json)
            self.calls.append(call)
            return call, self.fault(call)


def first_times(*faults: Fault) -> Callable[[Call], Fault | None]:
    """Each operation that changes something meets these faults one after the other, and then goes through."""
    met: dict[str, int] = {}

    def decide(call: Call) -> Fault | None:
        if not call.changes:
            return None
        met[call.operation] = met.get(call.operation, 0) + 1
        return faults[met[call.operation] - 1] if met[call.operation] <= len(faults) else None

    return decide


@contextmanager
def wire_to(upstream: str) -> Iterator[FaultyWire]:
    """A wire to this address."""
    wire = FaultyWire(upstream)

    class Handler(_Handler):
        record = wire

    server = _Server(("127.0.0.1", 0), Handler)
    wire.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    record: FaultyWire

    def handle(self) -> None:
        """Serve a connection; one that is broken is what this is for."""
        with suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation, is_json = self._operation(body)
        call, fault = self.record.arrived(operation, is_json=is_json)
        if fault == "refuse":
            self._hang_up()
        elif isinstance(fault, Refusal):
            self._refuse(call, fault)
        else:
            self._answer(body, fault)

    def _operation(self, body: bytes) -> tuple[str, bool]:
        target = self.headers.get("X-Amz-Target", "")
        if target:
            return target.partition(".")[2], True
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return parse_qs(body.decode()).get("Action", ["?"])[0], False
        return f"{self.command} {self.path}", True

    def _answer(self, body: bytes, fault: Fault | None) -> None:
        where = urlsplit(self.record.upstream)
        upstream = HTTPConnection(str(where.hostname), where.port, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if fault == "lose":
            self._hang_up()
            return
        self._send(answer, data, whole=fault != "cut")

    def _send(self, answer: HTTPResponse, data: bytes, *, whole: bool) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if whole else len(data) + 10))
        self.end_headers()
        self.wfile.write(data if whole else data[: len(data) // 2])
        if not whole:
            self._hang_up()

    def _refuse(self, call: Call, error: Refusal) -> None:
        if call.json:
            text = json.dumps({"__type": error.code, "message": error.text})
        else:
            details = f"<Error><Type>Sender</Type><Code>{error.code}</Code><Message>{error.text}</Message></Error>"
            text = f"<ErrorResponse>{details}<RequestId>0</RequestId></ErrorResponse>"
        data = text.encode()
        self.send_response_only(error.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1" if call.json else "text/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
