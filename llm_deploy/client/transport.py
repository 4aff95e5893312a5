"""How bytes get to a model and back: the seam between what is asked and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Largest answer that is read at once; SageMaker's own limit is 25 MB."""

CONNECT_TIMEOUT_S = 5.0

READ_TIMEOUT_S = 75.0
"""Longest silence on a connection. SageMaker gives a container 60 s and then says so itself, in words worth waiting
for; AWS asks for a socket time-out of at least 70 s. It counts between bytes, so a stream may last its 8 minutes.

Source: SageMaker developer guide, "How containers serve requests"; API reference of InvokeEndpoint.
"""

KEEP_ALIVE_IDLE_S = 60
"""Load balancers and NAT gateways forget silent connections after 350 s, without telling either end.

Source: AWS documentation of NAT gateways and Network Load Balancers.
"""

POOL_SIZE = 64
"""Connections kept per endpoint object; botocore's own 10 makes threads wait or reconnect."""


@dataclass(slots=True)
class OpenStream:
    """The parts of an answer that is being sent; close it to stop the sender.

    Attributes:
        parts: Raises `InferenceError` when the connection breaks, without the text so far (the decoder knows it).
        close: Closes the connection unless the answer was read to its end; harmless when called again.
    """

    parts: Iterator[bytes]
    close: Callable[[], None]


class Transport(Protocol):
    """Carries one request body to one model. Safe to use from several threads at once."""

    def call(self, body: bytes) -> bytes:
        """The body of the whole answer.

        Raises:
            LlmDeployError: The transport's own or the model server's error, translated.
        """

    def stream(self, body: bytes) -> OpenStream:
        """Send the request and return when the answer's head has arrived.

        Raises:
            LlmDeployError: As `call`; nothing has been generated when the model server refused.
        """

    def close(self) -> None:
        """Close the idle connections; harmless when called again."""


class AsyncOpenStream(Protocol):
    """An answer that is being sent, read on an event loop by one task at a time."""

    async def read(self) -> bytes:
        """All bytes of the body that have arrived since the last read, at least one; empty at the answer's end.

        What has queued up comes in one piece: a reader that falls behind catches up.

        Raises:
            InferenceError: As `OpenStream.parts`. A cancelled read loses no bytes.
        """

    async def aclose(self) -> None:
        """Close the connection unless the answer was read to its end; harmless when called again."""


class AsyncTransport(Protocol):
    """As `Transport`, for one event loop. A cancelled call closes its connection, at which the model stops."""

    async def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `Transport.stream`."""

    async def aclose(self) -> None:
        """Close the idle connections; harmless when called again."""
