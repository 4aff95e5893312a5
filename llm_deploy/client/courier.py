"""Carries requests to a peer and answers back, on the caller's own thread: `call` and `stream` of the transports."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from llm_deploy.client.origin import NoConnectionError, NotTrustedError
from llm_deploy.client.patience import Patience
from llm_deploy.client.peer import MAX_ERROR_BYTES, Peer
from llm_deploy.client.pool import Connection, Pool
from llm_deploy.client.transport import MAX_BODY_BYTES, READ_TIMEOUT_S, OpenStream
from llm_deploy.client.wire.answer import Answer
from llm_deploy.errors import InferenceError, WireFormatError


class Courier:
    """A `Transport` to one peer; `Patience` says what is repeated, `pool` what is sent again by itself."""

    def __init__(self, peer: Peer, *, answer_timeout_s: float | None, patience: Patience) -> None:
        self.peer = peer
        self._pool = Pool(peer.origin)
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self._patience.repeat(lambda: self._call(body), within_s=self._answer_timeout_s)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self._patience.repeat(lambda: self._open(body), within_s=self._answer_timeout_s)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _call(self, body: bytes) -> bytes:
        deadline_s = self._deadline_s()
        connection, answer, part = self._ask(body, deadline_s, streamed=False)
        if answer.ended:
            self.release(connection, answer)
            return part
        return self._collect(connection, answer, part, deadline_s)

    def _open(self, body: bytes) -> OpenStream:
        deadline_s = self._deadline_s()
        connection, answer, part = self._ask(body, deadline_s, streamed=True)
        parts = _Parts(self, connection, answer, part, deadline_s)
        return OpenStream(parts, parts.close)

    def _ask(self, body: bytes, deadline_s: float | None, *, streamed: bool) -> tuple[Connection, Answer, bytes]:
        """Send a request, once more where the peer said how to, and wait for the head of its success."""
        peer, corrected = self.peer, False
        while True:
            if delay := peer.delay():
                delay()
            connection = self._sent(peer.head(body, streamed=streamed), body, deadline_s)
            answer = Answer(framed=streamed and peer.framed)
            part = self._until_head(connection, answer, deadline_s)
            if answer.succeeded:
                return connection, answer, part
            text = self._refusal(connection, answer, part, deadline_s)
            if corrected or not peer.corrects(answer.response, text):
                raise peer.refusal(answer.response, text)
            corrected = True

    def _sent(self, head: bytes, body: bytes, deadline_s: float | None) -> Connection:
        """A connection that has taken the request; see `pool` for what may be sent twice."""
        kept = self._pool.take()
        if kept is not None:
            try:
                kept.allow(self._allowed_s(deadline_s))
                kept.send(head, body)
            except TimeoutError as error:
                kept.close()
                raise self.peer.words.timeout() from error
            except OSError:
                kept.close()
            else:
                return kept
        return self._sent_anew(head, body, deadline_s)

    def _sent_anew(self, head: bytes, body: bytes, deadline_s: float | None) -> Connection:
        connection = self._connect(deadline_s)
        try:
            connection.allow(self._allowed_s(deadline_s))
            connection.send(head, body)
        except TimeoutError as error:
            connection.close()
            raise self.peer.words.timeout() from error
        except OSError:
            connection.spoilt = True  # who refuses a large body early has said so: the answer may be there
        return connection

    def _connect(self, deadline_s: float | None) -> Connection:
        words = self.peer.words
        try:
            return self._pool.connect(self._allowed_s(deadline_s))
        except NoConnectionError as error:
            raise words.no_connection(error) from error
        except NotTrustedError as error:
            raise words.not_trusted(error) from error
        except TimeoutError as error:
            raise words.timeout() from error

    def _until_head(self, connection: Connection, answer: Answer, deadline_s: float | None) -> bytes:
        part = b""
        try:
            while not answer.response.status:
                part = answer.feed(self.received(connection, answer, deadline_s, streaming=False))
        except BaseException:
            connection.close()
            raise
        return part

    def received(self, connection: Connection, answer: Answer, deadline_s: float | None, *, streaming: bool) -> bytes:
        """The next bytes of an answer; nothing at the end of one that lasts as long as its connection.

        Raises:
            InferenceError: None come, and the answer is not whole.
        """
        words = self.peer.words
        try:
            if deadline_s is not None:
                connection.allow(self._allowed_s(deadline_s))
            data = connection.receive()
        except TimeoutError as error:
            raise words.timeout() from error
        except OSError as error:
            raise words.broken(error, streaming=streaming) from error
        if not data and not answer.close():
            raise words.broken(None, streaming=streaming)
        return data

    def _collect(self, connection: Connection, answer: Answer, part: bytes, deadline_s: float | None) -> bytes:
        parts, size = [part], len(part)
        try:
            while not answer.ended:
                parts.append(answer.feed(self.received(connection, answer, deadline_s, streaming=False)))
                size += len(parts[-1])
                check_size(size)
        except BaseException:
            connection.close()
            raise
        self.release(connection, answer)
        return b"".join(parts)

    def _refusal(self, connection: Connection, answer: Answer, part: bytes, deadline_s: float | None) -> bytes:
        """What a peer says with its refusal; as much as arrives, since the status is known already."""
        text = part
        try:
            while not answer.ended and len(text) <= MAX_ERROR_BYTES:
                text += answer.feed(self.received(connection, answer, deadline_s, streaming=False))
        except InferenceError:
            pass
        finally:
            self.release(connection, answer)
        return text

    def release(self, connection: Connection, answer: Answer) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        if answer.response.reusable and not connection.spoilt:
            self._pool.give_back(connection)
        else:
            connection.close()

    def _deadline_s(self) -> float | None:
        return None if self._answer_timeout_s is None else self._patience.clock() + self._answer_timeout_s

    def _allowed_s(self, deadline_s: float | None) -> float:
        if deadline_s is None:
            return READ_TIMEOUT_S
        left_s = deadline_s - self._patience.clock()
        if left_s <= 0:
            raise TimeoutError
        return min(left_s, READ_TIMEOUT_S)


def check_size(size: int) -> None:
    """Refuse a body that is larger than any answer.

    Raises:
        WireFormatError: It is.
    """
    if size > MAX_BODY_BYTES:
        raise WireFormatError(f"the answer is larger than {MAX_BODY_BYTES} bytes")


class _Parts:
    """The parts of a streamed answer; read by one thread, closed by any."""

    def __init__(
        self, courier: Courier, connection: Connection, answer: Answer, part: bytes, deadline_s: float | None
    ) -> None:
        self._courier = courier
        self._connection = connection
        self._answer = answer
        self._part = part
        self._deadline_s = deadline_s
        self._reading = threading.Lock()
        self._closed = False
        self._left = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._reading:
            try:
                return self._next()
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """Close the connection unless the answer was read to its end; wakes up a read in another thread."""
        if not self._closed and not self._answer.ended:
            self._left = True
            self._connection.shut()
        if self._reading.acquire(blocking=False):  # else the reader, which has just been woken up, ends it
            self._end()
            self._reading.release()

    def _next(self) -> bytes:
        part, self._part = self._part, b""
        answer = self._answer
        while not part:
            if self._closed or answer.ended:
                raise self._ending()
            data = self._courier.received(self._connection, answer, self._deadline_s, streaming=True)
            if not data and self._left:  # what is shut looks like what has ended
                raise self._courier.peer.words.broken(None, streaming=True)
            part = answer.feed(data)
        return part

    def _ending(self) -> Exception:
        fault = self._answer.fault
        return StopIteration() if fault is None or self._closed else self._courier.peer.fault(fault)

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._courier.release(self._connection, self._answer)
