"""The transport over SageMaker's runtime for an event loop."""

from __future__ import annotations

from typing import Any

from llm_deploy.client.patience import Patience
from llm_deploy.client.sagemaker import SagemakerTransport
from llm_deploy.client.threaded import ThreadedTransport
from llm_deploy.client.transport import AsyncOpenStream


class AsyncSagemakerTransport:
    """Calls one endpoint, or one inference component of it, from one event loop. See `AsyncTransport`."""

    def __init__(
        self,
        endpoint_name: str,
        *,
        session: Any,  # noqa: ANN401 - ours or boto3's
        inference_component_name: str | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._threaded = ThreadedTransport(
            SagemakerTransport(
                endpoint_name,
                session=session,
                inference_component_name=inference_component_name,
                answer_timeout_s=answer_timeout_s,
                patience=patience,
            )
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
