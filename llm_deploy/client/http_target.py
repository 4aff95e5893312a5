"""A model behind HTTP addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_deploy.client.addresses import Addresses, addresses, without_login, without_query
from llm_deploy.client.embedder import Embedder, Shapes
from llm_deploy.client.headers import Headers
from llm_deploy.client.http import HttpTransport
from llm_deploy.client.invoker import Invoker
from llm_deploy.client.question import Asked, Label
from llm_deploy.client.target import Allowed, AsyncConnection, Connection
from llm_deploy.client.transport import AsyncOpenStream, AsyncTransport, OpenStream, Transport
from llm_deploy.dialects.types import GenerationRequest


class HttpTarget:
    """See `Target`; nothing is asked. What was found out about the dialect is shared by all connections.

    Args:
        model: Named in each request to OpenAI-compatible addresses: gateways serve several.
    """

    def __init__(
        self,
        url: str,
        *,
        defaults: GenerationRequest,
        dialect: str,
        headers: Mapping[str, str],
        model: str | None,
    ) -> None:
        bare, login = without_login(url)
        self._defaults = defaults
        self._at: Addresses = addresses(bare, dialect)
        self._headers = Headers(login, headers)
        provider = "openai" if self._at.dialect.startswith("openai") else "llmdeploy"
        self._label = Label(model or "", provider, without_query(bare))
        self._asked = Asked(self._at.dialect, model, sure=self._at.prompts != self._at.chats)
        self._shapes = Shapes(self._at.shapes, model)

    def known_defaults(self) -> GenerationRequest:
        """See `Target.known_defaults`."""
        return self._defaults

    def defaults(self) -> GenerationRequest:
        """See `Target.defaults`."""
        return self._defaults

    def open(self, allowed: Allowed) -> Connection:
        """See `Target.open`."""
        made: dict[str, Transport] = {}

        def at(url: str) -> Transport:
            if url not in made:
                made[url] = HttpTransport(
                    url, headers=self._headers, answer_timeout_s=allowed.answer_timeout_s, patience=allowed.patience
                )
            return made[url]

        def close() -> None:
            for transport in made.values():
                transport.close()

        prompts = at(self._at.prompts)
        if self._at.prompt_stream != self._at.prompts:
            prompts = _Forked(prompts, at(self._at.prompt_stream))
        return Connection(
            Invoker(prompts, self._asked, self._label),
            Invoker(at(self._at.chats), self._asked, self._label),
            Embedder(at(self._at.embeddings), self._shapes, self._label),
            close,
        )

    async def open_async(self, allowed: Allowed) -> AsyncConnection:
        """See `Target.open_async`."""
        from llm_deploy.client.embedder_async import AsyncEmbedder  # noqa: PLC0415 - asyncio is 50 ms
        from llm_deploy.client.http_async import AsyncHttpTransport  # noqa: PLC0415 - as above
        from llm_deploy.client.invoker_async import AsyncInvoker  # noqa: PLC0415 - as above

        made: dict[str, AsyncTransport] = {}

        def at(url: str) -> AsyncTransport:
            if url not in made:
                made[url] = AsyncHttpTransport(
                    url, headers=self._headers, answer_timeout_s=allowed.answer_timeout_s, patience=allowed.patience
                )
            return made[url]

        async def aclose() -> None:
            for transport in made.values():
                await transport.aclose()

        prompts = at(self._at.prompts)
        if self._at.prompt_stream != self._at.prompts:
            prompts = _AsyncForked(prompts, at(self._at.prompt_stream))
        return AsyncConnection(
            AsyncInvoker(prompts, self._asked, self._label),
            AsyncInvoker(at(self._at.chats), self._asked, self._label),
            AsyncEmbedder(at(self._at.embeddings), self._shapes, self._label),
            aclose,
        )


@dataclass(frozen=True, slots=True)
class _Forked:
    """Two addresses: one answers at once, the other streams (TGI's `/generate` and `/generate_stream`)."""

    whole: Transport
    streaming: Transport

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return self.whole.call(body)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return self.streaming.stream(body)

    def close(self) -> None:
        """See `Transport.close`; whoever made the two closes them."""


@dataclass(frozen=True, slots=True)
class _AsyncForked:
    """As `_Forked`."""

    whole: AsyncTransport
    streaming: AsyncTransport

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        return await self.whole.call(body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await self.streaming.stream(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`; whoever made the two closes them."""
