"""The transport over plain HTTP for an event loop."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.client.http import HttpTransport
from llm_deploy.client.patience import Patience
from llm_deploy.client.threaded import ThreadedTransport
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
        self._threaded = ThreadedTransport(
            HttpTransport(url, headers=headers, answer_timeout_s=answer_timeout_s, patience=patience)
        )

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await self._threaded.call(body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await self._threaded.stream(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        await self._threaded.aclose()
