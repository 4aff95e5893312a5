"""An OTLP back end over real HTTP: takes traces as the specification says and nothing else, or fails in a chosen way.

Source: OpenTelemetry protocol specification 1.x, OTLP/HTTP: path, content type, compression, answer; trace.proto:
lengths of ids, order of times.
"""

from __future__ import annotations

import gzip
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

Behaviour = Literal["ok", "hang", "reset", "error", "busy", "garbage", "endless", "drip", "redirect", "forbidden"]
TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8
PIECE = b"x" * 4096


@dataclass
class Sink:
    """What arrived, and what was wrong with it."""

    url: str
    behaviour: Behaviour = "ok"
    spans: list[Span] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    requests: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    """Ends what hangs."""

    def named(self, name: str) -> Span:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {pair.key: _value(pair.value) for pair in span.attributes}


@contextmanager
def running(behaviour: Behaviour = "ok") -> Iterator[Sink]:
    """A sink on a port of 127.0.0.1."""
    sink = Sink("", behaviour)
    handler = type("Handler", (_Handler,), {"sink": sink})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        sink.released.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: ClassVar[Sink]

    def do_POST(self) -> None:
        """Take a batch, or fail."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.sink.requests += 1
        self.sink.headers.append({name.lower(): value for name, value in self.headers.items()})
        getattr(self, f"_{self.sink.behaviour}")(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Silently."""

    def _ok(self, body: bytes) -> None:
        problems = self._problems(body)
        self.sink.problems.extend(problems)
        self._answer(400 if problems else 200, ExportTraceServiceResponse().SerializeToString())

    def _hang(self, _body: bytes) -> None:
        self.sink.released.wait(30)

    def _reset(self, _body: bytes) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _error(self, _body: bytes) -> None:
        self._answer(500, b"no")

    def _forbidden(self, _body: bytes) -> None:
        self._answer(401, b"who are you")

    def _busy(self, _body: bytes) -> None:
        self._answer(503, b"later", {"Retry-After": "3600"})

    def _garbage(self, _body: bytes) -> None:
        self.wfile.write(b"\x00\xffnot HTTP at all\r\n\r\n")
        self.close_connection = True

    def _redirect(self, _body: bytes) -> None:
        self._answer(302, b"", {"Location": self.sink.url + "/elsewhere"})

    def _endless(self, _body: bytes) -> None:
        self._stream(PIECE, pause_s=0)

    def _drip(self, _body: bytes) -> None:
        self._stream(b"x", pause_s=0.05)

    def _stream(self, piece: bytes, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.close_connection = True
        try:
            while not self.sink.released.wait(pause_s):
                self.wfile.write(piece)
        except OSError:
            return

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _problems(self, body: bytes) -> list[str]:
        if self.path != "/v1/traces":
            return [f"path {self.path}"]
        if self.headers.get("Content-Type") != "application/x-protobuf":
            return [f"content type {self.headers.get('Content-Type')}"]
        encoding = self.headers.get("Content-Encoding", "identity")
        message = ExportTraceServiceRequest()
        try:
            message.ParseFromString(gzip.decompress(body) if encoding == "gzip" else body)
        except (DecodeError, OSError) as error:
            return [f"body: {error}"]
        problems = []
        for resource in message.resource_spans:
            names = {pair.key for pair in resource.resource.attributes}
            problems += [] if "service.name" in names else ["no service.name"]
            for scope in resource.scope_spans:
                problems += [] if scope.scope.name else ["no scope"]
                self.sink.spans.extend(scope.spans)
                problems += [problem for span in scope.spans for problem in _wrong(span)]
        return problems


def _wrong(span: Span) -> Iterator[str]:
    if len(span.trace_id) != TRACE_ID_BYTES or not any(span.trace_id):
        yield f"{span.name}: trace id"
    if len(span.span_id) != SPAN_ID_BYTES or not any(span.span_id):
        yield f"{span.name}: span id"
    if len(span.parent_span_id) not in {0, SPAN_ID_BYTES}:
        yield f"{span.name}: parent id"
    if not span.name:
        yield "no name"
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        yield f"{span.name}: times"
    keys = [pair.key for pair in span.attributes]
    if len(keys) != len(set(keys)) or not all(keys):
        yield f"{span.name}: attribute names"
    if any(pair.value.WhichOneof("value") is None for pair in span.attributes):
        yield f"{span.name}: an attribute without a value"


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - what the protocol carries
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
