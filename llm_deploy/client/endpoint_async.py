"""Models behind endpoints, as objects for an event loop. Arguments as of their siblings in `endpoint`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_deploy.client.headers import with_key
from llm_deploy.client.http_target import HttpTarget
from llm_deploy.client.model_async import AsyncModel
from llm_deploy.client.patience import Patience
from llm_deploy.client.payload import request_of
from llm_deploy.client.sagemaker_target import SagemakerTarget, Via
from llm_deploy.dialects.names import DialectName
from llm_deploy.dialects.types import Generation, GenerationRequest

if TYPE_CHECKING:
    from llm_deploy.client.queued import Ticket


class AsyncLLMInferenceSagemakerEndpoint(AsyncModel):
    """As `LLMInferenceSagemakerEndpoint`, on one event loop."""

    def __init__(
        self,
        endpoint_name: str,
        default_payload: Mapping[str, Any] | None = None,
        inference_component_name: str | None = None,
        *,
        dialect: DialectName = "auto",
        session: Any = None,  # noqa: ANN401 - ours or boto3's, which ships no types
        region: str | None = None,
        answer_timeout_s: float | None = None,
        wait_for_capacity_s: float = 0.0,
        patience: Patience | None = None,
        via: Via = "auto",
    ) -> None:
        self.endpoint_name = endpoint_name
        target = SagemakerTarget(
            endpoint_name,
            defaults=None if default_payload is None else request_of(default_payload),
            component=inference_component_name,
            dialect=dialect,
            session=session,
            region=region,
            via=via,
        )
        patience = patience or Patience(wait_for_capacity_s=wait_for_capacity_s)
        super().__init__(target, answer_timeout_s=answer_timeout_s, patience=patience)
        self._sagemaker = target

    async def submit(self, request: GenerationRequest) -> Ticket:
        """See `LLMInferenceSagemakerEndpoint.submit`."""
        return await asyncio.to_thread(self._sagemaker.submit, request)

    async def redeem(self, ticket: Ticket) -> Generation | None:
        """See `LLMInferenceSagemakerEndpoint.redeem`."""
        return await asyncio.to_thread(self._sagemaker.redeem, ticket)


class AsyncLLMInferenceHttpEndpoint(AsyncModel):
    """As `LLMInferenceHttpEndpoint`, on one event loop."""

    def __init__(
        self,
        url: str,
        default_payload: Mapping[str, Any] | None = None,
        *,
        dialect: DialectName = "auto",
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        model: str | None = None,
        answer_timeout_s: float | None = None,
        wait_for_capacity_s: float = 0.0,
        patience: Patience | None = None,
    ) -> None:
        target = HttpTarget(
            url,
            defaults=request_of(default_payload),
            dialect=dialect,
            headers=with_key(headers, api_key),
            model=model,
        )
        patience = patience or Patience(wait_for_capacity_s=wait_for_capacity_s)
        super().__init__(target, answer_timeout_s=answer_timeout_s, patience=patience)
