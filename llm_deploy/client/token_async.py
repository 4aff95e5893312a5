"""As `token`, on an event loop."""

from __future__ import annotations

import asyncio

from llm_deploy.client.bearer import BearerToken, Renewed
from llm_deploy.client.headers import with_key
from llm_deploy.client.http_async import AsyncHttpTransport
from llm_deploy.client.target import Allowed
from llm_deploy.client.transport import AsyncOpenStream


class AsyncTokenTransport:
    """See `AsyncTransport`; `TokenTransport` on an event loop."""

    def __init__(self, url: str, tokens: Renewed, allowed: Allowed) -> None:
        self._url = url
        self._tokens = tokens
        self._allowed = allowed
        self._made: tuple[BearerToken, AsyncHttpTransport] | None = None

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await (await self._transport()).call(body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await (await self._transport()).stream(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        made, self._made = self._made, None
        if made is not None:
            await made[1].aclose()

    async def _transport(self) -> AsyncHttpTransport:
        token = self._tokens.held()
        if token is None:  # signing may have to ask for credentials
            token = await asyncio.to_thread(self._tokens.current)
        if self._made is None or self._made[0] is not token:
            transport = AsyncHttpTransport(
                self._url,
                headers=with_key(None, token.value),
                answer_timeout_s=self._allowed.answer_timeout_s,
                patience=self._allowed.patience,
            )
            self._made = (token, transport)
        return self._made[1]
