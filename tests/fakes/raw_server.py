"""A server that answers each request with given bytes, to the byte, and then keeps or ends the connection as told."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Literal

End = Literal["keep", "close", "reset"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class RawServer:
    """What it says next, and what it has seen.

    Attributes:
        answer: Sent to every request.
        end: What becomes of the connection after it.
        heads: Of the requests; `bodies` likewise.
        connections: Those that are open, by number of their coming.
    """

    url: str = ""
    answer: bytes = b""
    end: End = "keep"
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    count: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    def drop(self) -> None:
        """Close every open connection from this side."""
        for connection in self.connections:
            _close(connection, "close")
        self.connections.clear()


@contextmanager
def raw_serving(context: SSLContext | None = None) -> Iterator[RawServer]:
    """Serve on a free port of 127.0.0.1; over TLS with this context."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    scheme = "https" if context else "http"
    server = RawServer(url=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    thread = threading.Thread(target=_accept, args=(listener, server, context), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        server.drop()


def _accept(listener: socket.socket, server: RawServer, context: SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, server, context), daemon=True).start()


def _serve(connection: socket.socket, server: RawServer, context: SSLContext | None) -> None:
    with suppress(OSError):
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        server.count += 1
        server.connections.append(connection)
        held = b""
        while (request := _request(connection, held)) is not None:
            head, body, held = request
            answer, end = server.answer, server.end  # the test may change them as soon as it has this answer
            server.heads.append(head)
            server.bodies.append(body)
            connection.sendall(answer)
            if end != "keep":
                _close(connection, end)
                return


def _request(connection: socket.socket, held: bytes) -> tuple[bytes, bytes, bytes] | None:
    """A request's head and body, and what follows it."""
    while True:
        end = held.find(b"\r\n\r\n")
        if end >= 0:
            found = _LENGTH.search(held, 0, end + 2)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(held) >= whole:
                return held[:end], held[end + 4 : whole], held[whole:]
        data = connection.recv(65536)
        if not data:
            return None
        held += data


def _close(connection: socket.socket, end: End) -> None:
    with suppress(OSError):
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
