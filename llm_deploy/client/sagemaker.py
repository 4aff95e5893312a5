"""The transport over SageMaker's runtime: its own fast path, or botocore's where only that is sure to be right."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llm_deploy.client.courier import Courier
from llm_deploy.client.patience import Patience
from llm_deploy.client.route import fast_route
from llm_deploy.client.sagemaker_peer import RuntimePeer
from llm_deploy.client.transport import OpenStream

if TYPE_CHECKING:
    from llm_deploy.client.sagemaker_botocore import BotocoreTransport


class SagemakerTransport:
    """Calls one endpoint, or one inference component of it; `Patience` says what is repeated. See `Transport`.

    Which way it goes is settled by the first call: `route` says how.
    """

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
        self._lock = threading.Lock()
        self._chosen: Courier | BotocoreTransport | None = None

    def call(self, body: bytes) -> bytes:
        """See `Transport.call`."""
        return (self._chosen or self._choose()).call(body)

    def stream(self, body: bytes) -> OpenStream:
        """See `Transport.stream`."""
        return (self._chosen or self._choose()).stream(body)

    def close(self) -> None:
        """Close the idle connections; harmless when called again."""
        if self._chosen is not None:
            self._chosen.close()

    def _choose(self) -> Courier | BotocoreTransport:
        with self._lock:
            if self._chosen is None:
                self._chosen = self._new()
            return self._chosen

    def _new(self) -> Courier | BotocoreTransport:
        route = fast_route(self._session, f"call endpoint {self._endpoint_name}")
        timeout_s, component = self._answer_timeout_s, self._component
        if route is None:
            from llm_deploy.client.sagemaker_botocore import BotocoreTransport  # noqa: PLC0415 - rarely needed

            return BotocoreTransport(
                self._endpoint_name,
                session=self._session,
                inference_component_name=component,
                answer_timeout_s=timeout_s,
                patience=self._patience,
            )
        peer = RuntimePeer(route, self._endpoint_name, inference_component_name=component, answer_timeout_s=timeout_s)
        return Courier(peer, answer_timeout_s=timeout_s, patience=self._patience)
