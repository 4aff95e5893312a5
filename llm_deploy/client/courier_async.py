"""Carries requests to a peer and answers back, on an event loop: the twin of `courier`, over the same pure halves."""

from __future__ import annotations

import asyncio

from llm_deploy.client.connection_async import Connection
from llm_deploy.client.courier import check_size
from llm_deploy.client.origin import NoConnectionError, NotTrustedError
from llm_deploy.client.patience import Patience
from llm_deploy.client.peer import MAX_ERROR_BYTES, Peer
from llm_deploy.client.pool_async import AsyncPool
from llm_deploy.client.transport import READ_TIMEOUT_S, AsyncOpenStream
from llm_deploy.client.wire.answer import Answer
from llm_deploy.errors import InferenceError


class AsyncCourier:
    """An `AsyncTransport` to one peer."""

    def __init__(self, peer: Peer, *, answer_timeout_s: float | None, patience: Patience) -> None:
        self.peer = peer
        self._pool = AsyncPool(peer.origin)
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await self._patience.repeat_async(lambda: self._call(body), within_s=self._answer_timeout_s)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await self._patience.repeat_async(lambda: self._open(body), within_s=self._answer_timeout_s)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        self._pool.close()

    async def _call(self, body: bytes) -> bytes:
        connection, answer, part = await self._ask(body, streamed=False)
        if answer.ended:
            self.release(connection, answer)
            return part
        return await self._collect(connection, answer, part)

    async def _open(self, body: bytes) -> AsyncOpenStream:
        return _Stream(self, *await self._ask(body, streamed=True))

    async def _ask(self, body: bytes, *, streamed: bool) -> tuple[Connection, Answer, bytes]:
        """Send a request, once more where the peer said how to, and wait for the head of its success."""
        peer, corrected, deadline_s = self.peer, False, self._deadline_s()
        while True:
            if delay := peer.delay():
                await asyncio.to_thread(delay)
            connection = self._pool.take() or await self._connect(deadline_s)
            answer = Answer(framed=streamed and peer.framed)
            try:
                if deadline_s is not None:
                    connection.expire_at(deadline_s)
                connection.send(peer.head(body, streamed=streamed), body)
                part = b""
                while not answer.response.status:
                    part = answer.feed(await self.received(connection, answer, streaming=False))
                text = b"" if answer.succeeded else await self._refusal(connection, answer, part)
            except BaseException:
                connection.abort()
                raise
            if answer.succeeded:
                return connection, answer, part
            self.release(connection, answer)
            if corrected or not peer.corrects(answer.response, text):
                raise peer.refusal(answer.response, text)
            corrected = True

    async def _connect(self, deadline_s: float | None) -> Connection:
        words = self.peer.words
        allowed_s = READ_TIMEOUT_S if deadline_s is None else deadline_s - asyncio.get_running_loop().time()
        if allowed_s <= 0:
            raise words.timeout()
        try:
            return await self._pool.connect(allowed_s)
        except NoConnectionError as error:
            raise words.no_connection(error) from error
        except NotTrustedError as error:
            raise words.not_trusted(error) from error

    async def received(self, connection: Connection, answer: Answer, *, streaming: bool) -> bytes:
        """See `Courier.received`."""
        words = self.peer.words
        try:
            data = await connection.receive()
        except TimeoutError as error:
            raise words.timeout() from error
        except OSError as error:
            raise words.broken(error, streaming=streaming) from error
        if not data and not answer.close():
            raise words.broken(None, streaming=streaming)
        return data

    async def _collect(self, connection: Connection, answer: Answer, part: bytes) -> bytes:
        parts, size = [part], len(part)
        try:
            while not answer.ended:
                parts.append(answer.feed(await self.received(connection, answer, streaming=False)))
                size += len(parts[-1])
                check_size(size)
        except BaseException:
            connection.abort()
            raise
        self.release(connection, answer)
        return b"".join(parts)

    async def _refusal(self, connection: Connection, answer: Answer, part: bytes) -> bytes:
        text = part
        try:
            while not answer.ended and len(text) <= MAX_ERROR_BYTES:
                text += answer.feed(await self.received(connection, answer, streaming=False))
        except InferenceError:
            pass  # the status is known already
        return text

    def release(self, connection: Connection, answer: Answer) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        if answer.response.reusable:
            self._pool.give_back(connection)
        else:
            connection.abort()

    def _deadline_s(self) -> float | None:
        return None if self._answer_timeout_s is None else asyncio.get_running_loop().time() + self._answer_timeout_s


class _Stream:
    """See `AsyncOpenStream`. One that is dropped without being closed closes its connection too."""

    __slots__ = ("_answer", "_connection", "_courier", "_part")

    def __init__(self, courier: AsyncCourier, connection: Connection, answer: Answer, part: bytes) -> None:
        self._courier = courier
        self._connection: Connection | None = connection
        self._answer = answer
        self._part = part

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`."""
        if self._part:
            part, self._part = self._part, b""
            return part
        answer, connection = self._answer, self._connection
        while connection is not None and not answer.ended:
            try:
                part = answer.feed(await self._courier.received(connection, answer, streaming=True))
            except InferenceError:
                self._release()
                raise
            if part:
                return part
        self._release()
        if answer.fault is not None and connection is not None:
            raise self._courier.peer.fault(answer.fault)
        return b""

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        self._release()

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.drop()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._courier.release(connection, self._answer)
