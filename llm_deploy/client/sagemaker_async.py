"""The transport over SageMaker's runtime for an event loop; the twin of `sagemaker`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from llm_deploy.client.courier_async import AsyncCourier
from llm_deploy.client.patience import Patience
from llm_deploy.client.route import fast_route
from llm_deploy.client.sagemaker_peer import RuntimePeer
from llm_deploy.client.threaded import ThreadedTransport
from llm_deploy.client.transport import AsyncOpenStream


class AsyncSagemakerTransport:
    """Calls one endpoint, or one inference component of it, from one event loop. See `AsyncTransport`."""

    def __init__(
        self,
        endpoint_name: str,
        *,
        session: Any,  # noqa: ANN401 - ours or boto3's, which ships no types
        inference_component_name: str | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._endpoint_name = endpoint_name
        self._session = session
        self._component = inference_component_name
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience or Patience()
        self._chosen: AsyncCourier | ThreadedTransport | None = None

    def call(self, body: bytes) -> Coroutine[Any, Any, bytes]:
        """See `AsyncTransport.call`."""
        return self._first_call(body) if self._chosen is None else self._chosen.call(body)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        return await (self._chosen or await self._choose()).stream(body)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        if self._chosen is not None:
            await self._chosen.aclose()

    async def _first_call(self, body: bytes) -> bytes:
        return await (await self._choose()).call(body)

    async def _choose(self) -> AsyncCourier | ThreadedTransport:
        found = await asyncio.to_thread(self._new)  # it may read files, load botocore, ask for credentials
        if self._chosen is None:  # else another task was faster
            self._chosen = found
        return self._chosen

    def _new(self) -> AsyncCourier | ThreadedTransport:
        route = fast_route(self._session, f"call endpoint {self._endpoint_name}")
        timeout_s, component = self._answer_timeout_s, self._component
        if route is None:
            from llm_deploy.client.sagemaker_botocore import BotocoreTransport  # noqa: PLC0415 - rarely needed

            reference = BotocoreTransport(
                self._endpoint_name,
                session=self._session,
                inference_component_name=component,
                answer_timeout_s=timeout_s,
                patience=self._patience,
            )
            return ThreadedTransport(reference)
        peer = RuntimePeer(route, self._endpoint_name, inference_component_name=component, answer_timeout_s=timeout_s)
        return AsyncCourier(peer, answer_timeout_s=timeout_s, patience=self._patience)
