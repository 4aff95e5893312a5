"""A model behind a SageMaker endpoint: what is known of it, and by which of SageMaker's doors it is reached.

Objects are made at a program's start, so that what only calls need is imported by the first of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from llm_deploy.dialects.names import check_name

if TYPE_CHECKING:
    from llm_deploy.client.bearer import BearerToken, Renewed
    from llm_deploy.client.discovery import Found
    from llm_deploy.client.embedder import Shapes
    from llm_deploy.client.question import Asked, Label
    from llm_deploy.client.queued import QueuedTransport
    from llm_deploy.client.target import Allowed, AsyncConnection, Connection
    from llm_deploy.client.transport import AsyncTransport, Transport
    from llm_deploy.dialects.types import GenerationRequest


Via = Literal["auto", "runtime", "queue", "openai"]
"""SageMaker's doors: `runtime` (InvokeEndpoint), `queue` (InvokeEndpointAsync), `openai` (its OpenAI-compatible path).
`auto`: the queue where the endpoint has one, else the runtime."""

SAGEMAKER = "aws.sagemaker"
"""The provider, in spans."""


class SagemakerTarget:
    """See `Target`. SageMaker is asked about the endpoint once, at the first need; safe to use from several threads."""

    def __init__(
        self,
        endpoint_name: str,
        *,
        defaults: GenerationRequest | None,
        component: str | None,
        dialect: str,
        session: Any,  # noqa: ANN401 - ours or boto3's, which ships no types
        region: str | None,
        via: Via,
    ) -> None:
        check_name(dialect)
        self._name = endpoint_name
        self._defaults = defaults
        self._component = component
        self._dialect = dialect
        self._session = session
        self._region = region
        self._via = via
        self._lock = threading.RLock()
        self._made_token: Renewed | None = None
        self._found: Found | None = None
        self._asked: Asked | None = None
        self._shapes: Shapes | None = None

    def known_defaults(self) -> GenerationRequest | None:
        """See `Target.known_defaults`."""
        return self._defaults

    def defaults(self) -> GenerationRequest:
        """See `Target.defaults`."""
        from llm_deploy.client.environment import default_request  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._defaults is None:
                self._defaults = default_request(self.found().sampling)
            return self._defaults

    def session(self) -> Any:  # noqa: ANN401 - as above
        """The session given, or one made from the environment."""
        from llm_deploy.client.environment import session_from_environment  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._session is None:
                self._session = session_from_environment(self._region)
            return self._session

    def found(self) -> Found:
        """What SageMaker says of the endpoint."""
        from llm_deploy.client.discovery import discover  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._found is None:
                self._found = discover(self.session(), self._name, component=self._component, dialect=self._dialect)
            return self._found

    def open(self, allowed: Allowed) -> Connection:
        """See `Target.open`."""
        from llm_deploy.client.embedder import Embedder  # noqa: PLC0415 - see the module's docstring
        from llm_deploy.client.invoker import Invoker  # noqa: PLC0415 - see the module's docstring
        from llm_deploy.client.target import Connection  # noqa: PLC0415 - see the module's docstring

        transport, streams = self._transport(allowed)
        asked, label = self._asking(), self._label()
        invoker = Invoker(transport, asked, label, streams=streams)
        return Connection(invoker, invoker, Embedder(transport, self._shape(), label), transport.close)

    async def open_async(self, allowed: Allowed) -> AsyncConnection:
        """See `Target.open_async`."""
        import asyncio  # noqa: PLC0415 - 50 ms that threads need not pay

        from llm_deploy.client.embedder_async import AsyncEmbedder  # noqa: PLC0415 - as above
        from llm_deploy.client.invoker_async import AsyncInvoker  # noqa: PLC0415 - as above
        from llm_deploy.client.target import AsyncConnection  # noqa: PLC0415 - as above

        transport, streams = await asyncio.to_thread(self._async_transport, allowed)
        asked, label = self._asking(), self._label()
        invoker = AsyncInvoker(transport, asked, label, streams=streams)
        return AsyncConnection(invoker, invoker, AsyncEmbedder(transport, self._shape(), label), transport.aclose)

    def _transport(self, allowed: Allowed) -> tuple[Transport, bool]:
        if self.is_queued():
            return self.queue(allowed), False
        if self._via == "openai":
            from llm_deploy.client.token import TokenTransport  # noqa: PLC0415 - see the module's docstring

            return TokenTransport(self.chat_url(), self._tokens(), allowed), True
        from llm_deploy.client.sagemaker import SagemakerTransport  # noqa: PLC0415 - see the module's docstring

        transport = SagemakerTransport(
            self._name,
            session=self.session(),
            inference_component_name=self.found().inference_component_name,
            answer_timeout_s=allowed.answer_timeout_s,
            patience=allowed.patience,
        )
        return transport, True

    def _async_transport(self, allowed: Allowed) -> tuple[AsyncTransport, bool]:
        from llm_deploy.client.queued_async import AsyncQueuedTransport  # noqa: PLC0415 - as above
        from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport  # noqa: PLC0415 - as above
        from llm_deploy.client.token_async import AsyncTokenTransport  # noqa: PLC0415 - as above

        if self.is_queued():
            return AsyncQueuedTransport(self.queue(allowed)), False
        if self._via == "openai":
            return AsyncTokenTransport(self.chat_url(), self._tokens(), allowed), True
        transport = AsyncSagemakerTransport(
            self._name,
            session=self.session(),
            inference_component_name=self.found().inference_component_name,
            answer_timeout_s=allowed.answer_timeout_s,
            patience=allowed.patience,
        )
        return transport, True

    def is_queued(self) -> bool:
        """Whether requests go into the endpoint's queue."""
        return self._via == "queue" or (self._via == "auto" and self.found().answers_at is not None)

    def queue(self, allowed: Allowed) -> QueuedTransport:
        """A way into the endpoint's queue; requests that are too large to be sent are put beside its answers."""
        from llm_deploy.client.queued import QueuedTransport  # noqa: PLC0415 - see the module's docstring

        answers_at = self.found().answers_at
        return QueuedTransport(
            self._name,
            session=self.session(),
            input_prefix=None if answers_at is None else f"{answers_at.rstrip('/')}/requests",
            answer_timeout_s=allowed.answer_timeout_s,
            patience=allowed.patience,
        )

    def chat_url(self) -> str:
        """Where SageMaker's OpenAI-compatible path takes chats to this endpoint."""
        from llm_deploy.client.bearer import openai_base  # noqa: PLC0415 - see the module's docstring

        base = openai_base(self.session(), self._name, self.found().inference_component_name)
        return f"{base}/chat/completions"

    def token(self) -> BearerToken:
        """A token of the session's identity, for the next request."""
        return self._tokens().current()

    def _asking(self) -> Asked:
        from llm_deploy.client.question import Asked  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._asked is None:
                self._asked = Asked("openai-chat" if self._via == "openai" else self.found().dialect)
            return self._asked

    def _shape(self) -> Shapes:
        from llm_deploy.client.embedder import Shapes  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._shapes is None:
                openai = self.found().dialect.startswith("openai")
                self._shapes = Shapes(("openai", "tei") if openai else ("tei", "openai"))
            return self._shapes

    def _label(self) -> Label:
        from llm_deploy.client.question import Label  # noqa: PLC0415 - see the module's docstring
        from llm_deploy.client.runtime_host import runtime_url  # noqa: PLC0415 - see the module's docstring

        session = self.session()
        region = getattr(session, "region", None) or getattr(session, "region_name", None) or ""
        return Label(self._name, SAGEMAKER, getattr(session, "endpoint_url", None) or runtime_url(region))

    def _tokens(self) -> Renewed:
        from llm_deploy.client.bearer import Renewed, bearer_token  # noqa: PLC0415 - see the module's docstring

        with self._lock:
            if self._made_token is None:
                self._made_token = Renewed(lambda: bearer_token(self.session()))
            return self._made_token
