"""What is known of a SageMaker endpoint, and by which of SageMaker's doors it is reached."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llm_deploy.client.discovery import Found, discover
from llm_deploy.client.embedder import Embedder, Shapes
from llm_deploy.client.environment import default_request, session_from_environment
from llm_deploy.client.invoker import Invoker
from llm_deploy.client.patience import Patience
from llm_deploy.client.question import Asked, Label
from llm_deploy.client.runtime_host import runtime_url
from llm_deploy.client.sagemaker import SagemakerTransport
from llm_deploy.client.sagemaker_target import Via
from llm_deploy.client.target import Allowed, AsyncConnection, Connection
from llm_deploy.client.transport import AsyncTransport, Transport
from llm_deploy.dialects.registry import dialect as known_dialect
from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.errors import InferenceRequestError

if TYPE_CHECKING:
    from llm_deploy.client.bearer import Renewed
    from llm_deploy.client.queued import QueuedTransport, Ticket

SAGEMAKER = "aws.sagemaker"
"""The provider, in spans."""


class SagemakerWays:
    """What carries a `SagemakerTarget`'s calls out; its arguments are those."""

    def __init__(
        self,
        endpoint_name: str,
        *,
        component: str | None,
        dialect: str,
        session: Any,  # noqa: ANN401 - ours or boto3's, which ships no types
        region: str | None,
        via: Via,
    ) -> None:
        self._name = endpoint_name
        self._component = component
        self._dialect = dialect
        self._session = session
        self._region = region
        self._via = via
        self._lock = threading.RLock()
        self._found: Found | None = None
        self._asked: Asked | None = None
        self._shapes: Shapes | None = None
        self._tokens: Renewed | None = None
        self._tickets: QueuedTransport | None = None

    def defaults(self) -> GenerationRequest:
        """See `Target.defaults`."""
        return default_request(self.found().sampling)

    def session(self) -> Any:  # noqa: ANN401 - as above
        """The session given, or one made from the environment."""
        with self._lock:
            if self._session is None:
                self._session = session_from_environment(self._region)
            return self._session

    def found(self) -> Found:
        """What SageMaker says of the endpoint."""
        with self._lock:
            if self._found is None:
                self._found = discover(self.session(), self._name, component=self._component, dialect=self._dialect)
            return self._found

    def is_queued(self) -> bool:
        """Whether requests go into the endpoint's queue."""
        return self._via == "queue" or (self._via == "auto" and self.found().answers_at is not None)

    def open(self, allowed: Allowed) -> Connection:
        """See `Target.open`."""
        transport = self._transport(allowed)
        label = self._label()
        invoker = Invoker(transport, self._asking(), label, streams=not self.is_queued())
        return Connection(invoker, invoker, Embedder(transport, self._shape(), label), transport.close)

    async def open_async(self, allowed: Allowed) -> AsyncConnection:
        """See `Target.open_async`."""
        import asyncio  # noqa: PLC0415 - 50 ms that threads need not pay

        from llm_deploy.client.embedder_async import AsyncEmbedder  # noqa: PLC0415 - as above
        from llm_deploy.client.invoker_async import AsyncInvoker  # noqa: PLC0415 - as above

        transport = await asyncio.to_thread(self._async_transport, allowed)
        label = self._label()
        invoker = AsyncInvoker(transport, self._asking(), label, streams=not self.is_queued())
        return AsyncConnection(invoker, invoker, AsyncEmbedder(transport, self._shape(), label), transport.aclose)

    def queue(self, allowed: Allowed) -> QueuedTransport:
        """A way into the endpoint's queue; requests that are too large to be sent are put beside its answers."""
        from llm_deploy.client.queued import QueuedTransport  # noqa: PLC0415 - few endpoints have one

        answers_at = self.found().answers_at
        return QueuedTransport(
            self._name,
            session=self.session(),
            input_prefix=None if answers_at is None else f"{answers_at.rstrip('/')}/requests",
            answer_timeout_s=allowed.answer_timeout_s,
            patience=allowed.patience,
        )

    def submit(self, request: GenerationRequest) -> Ticket:
        """Put a request into the endpoint's queue.

        Raises:
            InferenceRequestError: It has none.
        """
        dialect = self._asking().known(request) or known_dialect("tgi")
        return self._only_queue().submit(dialect.encode(request, stream=False))

    def redeem(self, ticket: Ticket) -> Generation | None:
        """The answer to what was submitted, if it is there."""
        body = self._only_queue().look(ticket)
        # Nothing has been asked here, so that the dialect may be unknown; `auto` reads what any engine answers.
        return None if body is None else known_dialect("auto").decode(body)

    def _transport(self, allowed: Allowed) -> Transport:
        if self.is_queued():
            return self.queue(allowed)
        if self._via == "openai":
            from llm_deploy.client.token import TokenTransport  # noqa: PLC0415 - asked for by few

            return TokenTransport(self._chat_url(), self._renewed(), allowed)
        return SagemakerTransport(self._name, **self._route(allowed))

    def _async_transport(self, allowed: Allowed) -> AsyncTransport:
        if self.is_queued():
            from llm_deploy.client.queued_async import AsyncQueuedTransport  # noqa: PLC0415 - few endpoints have one

            return AsyncQueuedTransport(self.queue(allowed))
        if self._via == "openai":
            from llm_deploy.client.token_async import AsyncTokenTransport  # noqa: PLC0415 - asked for by few

            return AsyncTokenTransport(self._chat_url(), self._renewed(), allowed)
        from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport  # noqa: PLC0415 - asyncio is 50 ms

        return AsyncSagemakerTransport(self._name, **self._route(allowed))

    def _route(self, allowed: Allowed) -> dict[str, Any]:
        return {
            "session": self.session(),
            "inference_component_name": self.found().inference_component_name,
            "answer_timeout_s": allowed.answer_timeout_s,
            "patience": allowed.patience,
        }

    def _only_queue(self) -> QueuedTransport:
        if not self.is_queued():
            raise InferenceRequestError(
                f"endpoint {self._name} has no queue: it answers live", hint="Use generate, stream or batch."
            )
        with self._lock:
            if self._tickets is None:
                self._tickets = self.queue(Allowed(None, Patience()))
            return self._tickets

    def _chat_url(self) -> str:
        """Where SageMaker's OpenAI-compatible path takes chats to this endpoint."""
        from llm_deploy.client.bearer import openai_base  # noqa: PLC0415 - as above

        base = openai_base(self.session(), self._name, self.found().inference_component_name)
        return f"{base}/chat/completions"

    def _renewed(self) -> Renewed:
        from llm_deploy.client.bearer import Renewed, bearer_token  # noqa: PLC0415 - as above

        with self._lock:
            if self._tokens is None:
                self._tokens = Renewed(lambda: bearer_token(self.session()))
            return self._tokens

    def _asking(self) -> Asked:
        with self._lock:
            if self._asked is None:
                self._asked = Asked("openai-chat" if self._via == "openai" else self.found().dialect)
            return self._asked

    def _shape(self) -> Shapes:
        with self._lock:
            if self._shapes is None:
                openai = self.found().dialect.startswith("openai")
                self._shapes = Shapes(("openai", "tei") if openai else ("tei", "openai"))
            return self._shapes

    def _label(self) -> Label:
        session = self.session()
        region = getattr(session, "region", None) or getattr(session, "region_name", None) or ""
        return Label(self._name, SAGEMAKER, getattr(session, "endpoint_url", None) or runtime_url(region))
