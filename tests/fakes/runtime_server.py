"""A model's address that misbehaves as told: plain HTTP, or SageMaker's runtime with real event-stream frames.

It stands where a cloud would stand, on a real socket, so that boto3, botocore and urllib3 are the real ones. What it
answers is a list of `Reply`, one a request, the last one for all that follow.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

REGION = "eu-central-1"


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        parts: Sent one by one, each as a chunk of its own when `chunked`.
        end: `whole`; `cut`: the connection is closed in the middle; `reset`: with a TCP reset; `hang`: silence until
            the client goes away (or the server stops); `vanish`: closed without any answer.
    """

    status: int = 200
    parts: Sequence[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    end: Literal["whole", "cut", "reset", "hang", "vanish"] = "whole"
    chunked: bool = True


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; `connection` numbers the client's connections."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    method: str = "POST"

    @property
    def document(self) -> Any:  # noqa: ANN401 - a JSON document
        """The body read as JSON."""
        return json.loads(self.body)


class RuntimeServer:
    """The server's record: what it has seen, and whether a client left it in the middle of an answer."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.seen: list[Seen] = []
        self.client_left = threading.Event()
        self.stopping = threading.Event()
        self.connections = 0
        self._lock = threading.Lock()
        self.url = ""

    def connect(self) -> int:
        """Count a new connection."""
        with self._lock:
            self.connections += 1
            return self.connections

    def take(self, seen: Seen) -> Reply:
        """Record a request and get its answer."""
        with self._lock:
            self.seen.append(seen)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving(*replies: Reply) -> Iterator[RuntimeServer]:
    """Serve these replies on a free port of 127.0.0.1."""
    record = RuntimeServer(replies)

    class Handler(_Handler):
        server_record = record

    server = _Server(("127.0.0.1", 0), Handler)
    record.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield record
    finally:
        record.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the standard 5 refuses clients that come all at once


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_record: RuntimeServer

    def setup(self) -> None:
        super().setup()
        self.number = self.server_record.connect()

    def handle(self) -> None:
        """Serve a connection; a client that resets it is the point of some tests."""
        with suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body, self.number,
                    self.command)  # fmt: skip
        reply = self.server_record.take(seen)
        try:
            self._answer(reply)
        except (BrokenPipeError, ConnectionResetError):
            self.server_record.client_left.set()
            self.close_connection = True

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - http.server's names

    def _answer(self, reply: Reply) -> None:
        if reply.end == "vanish":
            self.close_connection = True
            return
        self._head(reply)
        for part in reply.parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if reply.chunked else part)
            self.wfile.flush()
        self._finish(reply)

    def _head(self, reply: Reply) -> None:
        if "Date" in reply.headers:
            self.send_response_only(reply.status)  # without a date of its own
        else:
            self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            missing = 0 if reply.end == "whole" else 1000
            self.send_header("Content-Length", str(sum(map(len, reply.parts)) + missing))
        self.end_headers()

    def _finish(self, reply: Reply) -> None:
        if reply.end == "whole":
            if reply.chunked:
                self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if reply.end == "hang":
            self._wait_for_the_client_to_leave()
        elif reply.end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _wait_for_the_client_to_leave(self) -> None:
        while not self.server_record.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.02)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                self.server_record.client_left.set()
                return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def payload_part(data: bytes) -> bytes:
    """A `PayloadPart` event of SageMaker's response stream."""
    headers = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return frame(headers, data)


def stream_exception(kind: str, document: Mapping[str, Any]) -> bytes:
    """An exception in the middle of a response stream (`ModelStreamError`, `InternalStreamFailure`)."""
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    return frame(headers, json.dumps(document).encode())


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of `application/vnd.amazon.eventstream`. Source: the format's public description at AWS."""
    block = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + block + payload
    return message + struct.pack("!I", zlib.crc32(message))


def recut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The same bytes cut at these places."""
    places = sorted({place for place in cuts if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


def invocation(body: object) -> Reply:
    """A whole answer of InvokeEndpoint."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(parts=(data,), headers={"Content-Type": "application/json"}, chunked=False)


def invocation_error(status: int, kind: str, **members: object) -> Reply:
    """An error of SageMaker's runtime."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": kind}
    return Reply(status, (json.dumps(members).encode(),), headers, chunked=False)


def control_error(kind: str, message: str) -> Reply:
    """An error of SageMaker's control plane (JSON 1.1)."""
    return Reply(400, (json.dumps({"__type": kind, "message": message}).encode(),), chunked=False)


def response_stream(parts: Iterable[bytes], *, end: Literal["whole", "cut", "reset", "hang"] = "whole") -> Reply:
    """An answer of InvokeEndpointWithResponseStream whose frames are already made."""
    return Reply(parts=tuple(parts), headers={"Content-Type": "application/vnd.amazon.eventstream"}, end=end)
