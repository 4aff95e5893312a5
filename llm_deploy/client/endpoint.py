"""Models behind endpoints, as objects: `LLMInferenceSagemakerEndpoint` and its sibling over plain HTTP."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from typing import Any

from llm_deploy.client.discovery import Found, discover
from llm_deploy.client.environment import default_request, session_from_environment
from llm_deploy.client.http import HttpTransport
from llm_deploy.client.invoker import Invoker
from llm_deploy.client.patience import Patience
from llm_deploy.client.payload import Inputs, PayloadSlot, request_of, with_inputs, with_parameters
from llm_deploy.client.sagemaker import SagemakerTransport
from llm_deploy.dialects.registry import DialectName, dialect as known_dialect
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest


class LLMInferenceSagemakerEndpoint:
    """A model on a SageMaker endpoint. One object serves any number of threads and tasks.

    Nothing is asked of AWS, and boto3 is not loaded, before the first payload or call.

    Args:
        endpoint_name: As in `llmdeploy list`; upper and lower case count.
        default_payload: `{"inputs": ..., "parameters": {...}}` in TGI's names; its parameters are the defaults. Without
            it they are TEMPERATURE_INFERENCE, TOP_P_INFERENCE and MAX_NEW_TOKENS_INFERENCE where those are set, else
            the deployment's own (`generation` of its spec).
        inference_component_name: Looked up when the endpoint has just one.
        dialect: What the engine speaks; looked up (a tag that deploying sets), or found by trying.
        session: An `llm_deploy.aws.Session` or a `boto3.Session`; made from the environment and `.env` otherwise.
        region: For a session that is made here.
        answer_timeout_s: Most seconds for a whole answer, streamed or not; the connection is closed at its end.
        wait_for_capacity_s: How long to wait for an endpoint that is scaled to zero, before `answer_timeout_s` counts.
        patience: What is asked again, in full; `wait_for_capacity_s` is then its own.
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
    ) -> None:
        known_dialect(dialect)
        self.endpoint_name = endpoint_name
        self._payload = PayloadSlot()
        self._defaults = None if default_payload is None else request_of(default_payload)
        self._component = inference_component_name
        self._dialect = dialect
        self._session = session
        self._region = region
        self._answer_timeout_s = answer_timeout_s
        self._patience = patience or Patience(wait_for_capacity_s=wait_for_capacity_s)
        self._lock = threading.Lock()
        self._made_invoker: Invoker | None = None
        self._found: Found | None = None

    def set_payload(self, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> None:
        """See `Inference.set_payload`."""
        self._payload.set(with_parameters(with_inputs(self.defaults(), inputs), parameters or {}))

    def inference(self) -> Generation:
        """The answer to what was set in this thread or task; its `raw` is the engine's document."""
        return self.generate(self._payload.get(self.defaults()))

    def defaults(self) -> GenerationRequest:
        """See `StreamingInference.defaults`."""
        with self._lock:
            if self._defaults is None:
                self._defaults = default_request(self._known().sampling)
            return self._defaults

    def generate(self, request: GenerationRequest) -> Generation:
        """See `StreamingInference.generate`. SageMaker ends it after 60 s: stream what takes longer."""
        return self._invoker().generate(request)

    def stream(self, request: GenerationRequest) -> Generator[Chunk]:
        """See `StreamingInference.stream`. SageMaker ends it after 8 minutes."""
        return self._invoker().stream(request)

    def _invoker(self) -> Invoker:
        with self._lock:
            if self._made_invoker is None:
                self._made_invoker = self._new_invoker()
            return self._made_invoker

    def _known(self) -> Found:
        """What SageMaker says of the endpoint; asked once. To be called with the lock held."""
        if self._found is None:
            if self._session is None:
                self._session = session_from_environment(self._region)
            self._found = discover(self._session, self.endpoint_name, component=self._component, dialect=self._dialect)
        return self._found

    def _new_invoker(self) -> Invoker:
        found = self._known()
        transport = SagemakerTransport(
            self.endpoint_name,
            session=self._session,
            inference_component_name=found.inference_component_name,
            answer_timeout_s=self._answer_timeout_s,
            patience=self._patience,
        )
        return Invoker(transport, found.dialect)


class LLMInferenceHttpEndpoint:
    """A model behind an HTTP address: `llmdeploy serve`, TGI, vLLM, or a container on this machine.

    Args:
        url: The whole address, for example `http://127.0.0.1:8080/invocations`.
        headers: Sent with every request, for example an API key.
    """

    def __init__(
        self,
        url: str,
        default_payload: Mapping[str, Any] | None = None,
        *,
        dialect: DialectName = "auto",
        headers: Mapping[str, str] | None = None,
        answer_timeout_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        known_dialect(dialect)
        self._payload = PayloadSlot()
        self._defaults = request_of(default_payload)
        transport = HttpTransport(url, headers=headers, answer_timeout_s=answer_timeout_s, patience=patience)
        self._invoker = Invoker(transport, dialect)

    def set_payload(self, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> None:
        """See `Inference.set_payload`."""
        self._payload.set(with_parameters(with_inputs(self.defaults(), inputs), parameters or {}))

    def inference(self) -> Generation:
        """The answer to what was set in this thread or task."""
        return self.generate(self._payload.get(self.defaults()))

    def defaults(self) -> GenerationRequest:
        """See `StreamingInference.defaults`."""
        return self._defaults

    def generate(self, request: GenerationRequest) -> Generation:
        """See `StreamingInference.generate`."""
        return self._invoker.generate(request)

    def stream(self, request: GenerationRequest) -> Generator[Chunk]:
        """See `StreamingInference.stream`."""
        return self._invoker.stream(request)
