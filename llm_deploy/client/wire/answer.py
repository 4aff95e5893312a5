"""An answer as a transport reads it: HTTP/1.1, and in it, where it is a stream of SageMaker's, an event stream."""

from __future__ import annotations

from llm_deploy.client.wire.eventstream import EventStream, Fault
from llm_deploy.client.wire.http1 import Response

_SUCCESS = 2  # of 2xx; a redirect is none


class Answer:
    """The pure half of every transport's shell: bytes of a connection in, bytes of the engine's body out.

    Attributes:
        response: Status, headers, and whether the connection can be used again.
        fault: Why the answer ends early, where the answer itself says so; look at it after each `feed`.
        ended: Nothing more is to be read.
    """

    __slots__ = ("_frames", "response")

    def __init__(self, *, framed: bool) -> None:
        self.response = Response()
        self._frames = EventStream() if framed else None

    @property
    def succeeded(self) -> bool:
        """Whether the head has arrived, with a status of success."""
        return self.response.status // 100 == _SUCCESS

    @property
    def fault(self) -> Fault | None:
        """See the class."""
        return None if self._frames is None else self._frames.fault

    @property
    def ended(self) -> bool:
        """See the class."""
        return self.response.ended or (self._frames is not None and self._frames.fault is not None)

    def feed(self, data: bytes) -> bytes:
        """What these bytes bring of the engine's body, in one piece; it may be nothing.

        Raises:
            WireFormatError: They are no answer of HTTP/1.1, or one that is not safe to read.
        """
        part = self.response.feed(data)
        frames = self._frames
        if frames is None or not self.succeeded:
            return part
        if part:
            part = frames.feed(part)
        if self.response.ended:
            frames.close()
        return part

    def close(self) -> bool:
        """Say that the connection has ended; tell whether the answer was whole."""
        whole = self.response.close()
        if whole and self._frames is not None and self.succeeded:
            self._frames.close()
        return whole
