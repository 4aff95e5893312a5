"""The transport over plain HTTP for an event loop; the twin of `http`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from llm_deploy.client.courier_async import AsyncCourier
from llm_deploy.client.http_peer import HttpPeer
from llm_deploy.client.patience import Patience
from llm_deploy.client.transport import AsyncOpenStream


class AsyncHttpTransport:
    """Posts to one URL from one event loop. See `AsyncTransport`, and `HttpTransport` for the arguments."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        peer = HttpPeer(url, headers=headers, answer_timeout_s=answer_timeout_s)
        self._courier = AsyncCourier(peer, answer_timeout_s=answer_timeout_s, patience=patience or Patience())

    def call(self, body: bytes) -> Coroutine[Any, Any, bytes]:
        """See `AsyncTransport.call`."""
        return self._courier.call(body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await self._courier.stream(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        await self._courier.aclose()
