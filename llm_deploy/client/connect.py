"""From the name of an endpoint, or a URL, to the object that asks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_deploy.client.addresses import is_url
from llm_deploy.client.patience import Patience
from llm_deploy.client.sagemaker_target import Via
from llm_deploy.dialects.names import DialectName

if TYPE_CHECKING:
    from llm_deploy.client.model import Model
    from llm_deploy.client.model_async import AsyncModel


def open(  # noqa: A001 - `connect.open`, as `gzip.open`
    target: str,
    *,
    default_payload: Mapping[str, Any] | None = None,
    inference_component_name: str | None = None,
    dialect: DialectName = "auto",
    session: Any = None,  # noqa: ANN401 - ours or boto3's, which ships no types
    region: str | None = None,
    headers: Mapping[str, str] | None = None,
    api_key: str | None = None,
    model: str | None = None,
    answer_timeout_s: float | None = None,
    wait_for_capacity_s: float = 0.0,
    patience: Patience | None = None,
    via: Via = "auto",
) -> Model:
    """The model behind an endpoint's name or a URL. Nothing is asked before the first call.

    A name is that of an endpoint of SageMaker or of the local cloud (`LLMInferenceSagemakerEndpoint`); a URL is a base
    or a whole address (`LLMInferenceHttpEndpoint`). The arguments are theirs: a URL has no use for session, region,
    component and door, a name has none for headers, key and model.

    Raises:
        SpecError: No name and no HTTP address.
    """
    from llm_deploy.client.endpoint import (  # noqa: PLC0415 - so is its asyncio twin
        LLMInferenceHttpEndpoint,
        LLMInferenceSagemakerEndpoint,
    )

    if is_url(target):
        return LLMInferenceHttpEndpoint(
            target,
            default_payload,
            dialect=dialect,
            headers=headers,
            api_key=api_key,
            model=model,
            answer_timeout_s=answer_timeout_s,
            wait_for_capacity_s=wait_for_capacity_s,
            patience=patience,
        )
    return LLMInferenceSagemakerEndpoint(
        target,
        default_payload,
        inference_component_name,
        dialect=dialect,
        session=session,
        region=region,
        answer_timeout_s=answer_timeout_s,
        wait_for_capacity_s=wait_for_capacity_s,
        patience=patience,
        via=via,
    )


def open_async(
    target: str,
    *,
    default_payload: Mapping[str, Any] | None = None,
    inference_component_name: str | None = None,
    dialect: DialectName = "auto",
    session: Any = None,  # noqa: ANN401 - as above
    region: str | None = None,
    headers: Mapping[str, str] | None = None,
    api_key: str | None = None,
    model: str | None = None,
    answer_timeout_s: float | None = None,
    wait_for_capacity_s: float = 0.0,
    patience: Patience | None = None,
    via: Via = "auto",
) -> AsyncModel:
    """As `open`, for the event loop at hand; to be closed with `aclose`."""
    from llm_deploy.client.endpoint_async import (  # noqa: PLC0415 - asyncio is 50 ms that threads need not pay
        AsyncLLMInferenceHttpEndpoint,
        AsyncLLMInferenceSagemakerEndpoint,
    )

    if is_url(target):
        return AsyncLLMInferenceHttpEndpoint(
            target,
            default_payload,
            dialect=dialect,
            headers=headers,
            api_key=api_key,
            model=model,
            answer_timeout_s=answer_timeout_s,
            wait_for_capacity_s=wait_for_capacity_s,
            patience=patience,
        )
    return AsyncLLMInferenceSagemakerEndpoint(
        target,
        default_payload,
        inference_component_name,
        dialect=dialect,
        session=session,
        region=region,
        answer_timeout_s=answer_timeout_s,
        wait_for_capacity_s=wait_for_capacity_s,
        patience=patience,
        via=via,
    )
