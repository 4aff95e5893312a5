"""Models behind endpoints, as objects: `LLMInferenceSagemakerEndpoint` and its sibling over plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_deploy.client.model import Model
from llm_deploy.client.patience import Patience
from llm_deploy.client.payload import request_of
from llm_deploy.client.sagemaker_target import SagemakerTarget, Via
from llm_deploy.dialects.names import DialectName
from llm_deploy.dialects.types import Generation, GenerationRequest

if TYPE_CHECKING:
    from llm_deploy.client.queued import Ticket


class LLMInferenceSagemakerEndpoint(Model):
    """A model on a SageMaker endpoint. One object serves any number of threads and tasks.

    Nothing is asked of AWS, and botocore is not loaded, before the first payload or call.

    Args:
        endpoint_name: As in `llmdeploy list`; upper and lower case count.
        default_payload: `{"inputs": ..., "parameters": {...}}` in TGI's names; its parameters are the defaults. Without
            it they are TEMPERATURE_INFERENCE, TOP_P_INFERENCE and MAX_NEW_TOKENS_INFERENCE where those are set, else
            the deployment's own (`generation` of its spec).
        inference_component_name: Looked up when the endpoint has just one.
        dialect: What the engine speaks; looked up (a tag that deploying sets), or found by trying.
        session: An `llm_deploy.aws.Session` or a `boto3.Session`; made from the environment and `.env` otherwise.
        region: For a session that is made here.
        answer_timeout_s: Most seconds for a whole answer, streamed or not; the connection is closed at its end, and
            what was not started is not asked again later than that.
        wait_for_capacity_s: How long to wait for an endpoint that is scaled to zero, before `answer_timeout_s` counts.
        patience: What is asked again, in full; `wait_for_capacity_s` is then its own.
        via: By which of SageMaker's doors; `auto` follows the endpoint's description.
    """

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

    def submit(self, request: GenerationRequest) -> Ticket:
        """Put a request into an asynchronous endpoint's queue; the ticket may be kept, and redeemed by another process.

        Raises:
            InferenceRequestError: The endpoint has no queue.
        """
        return self._sagemaker.submit(request)

    def redeem(self, ticket: Ticket) -> Generation | None:
        """The answer to what was submitted; `None`: not yet. It may be asked for again while S3 keeps it.

        Raises:
            InferenceError: The endpoint could not answer.
        """
        return self._sagemaker.redeem(ticket)


class LLMInferenceHttpEndpoint(Model):
    """A model behind an HTTP address: `llmdeploy serve`, TGI, vLLM, a gateway, or a container on this machine.

    Args:
        url: A base, for example `http://127.0.0.1:8000/v1`, under which there are `chat/completions`, `completions` and
            `embeddings`; or one whole address, for example `http://127.0.0.1:8080/invocations`.
        default_payload: As of `LLMInferenceSagemakerEndpoint`; without it the server's own defaults hold.
        headers: Sent with every request.
        api_key: Sent as `Authorization: Bearer`. Neither is ever shown.
        model: Named in each request in OpenAI's shape, for servers of several models.
    """

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
        # Half of what this module would cost whoever calls SageMaker only.
        from llm_deploy.client.headers import with_key  # noqa: PLC0415 - see above
        from llm_deploy.client.http_target import HttpTarget  # noqa: PLC0415 - see above

        target = HttpTarget(
            url,
            defaults=request_of(default_payload),
            dialect=dialect,
            headers=with_key(headers, api_key),
            model=model,
        )
        patience = patience or Patience(wait_for_capacity_s=wait_for_capacity_s)
        super().__init__(target, answer_timeout_s=answer_timeout_s, patience=patience)
