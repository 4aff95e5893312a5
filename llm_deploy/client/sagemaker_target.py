"""A model behind a SageMaker endpoint, as it was said: cheap to make, since objects are made at a program's start.

What a call needs is in `sagemaker_ways`, and is imported by the first one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from llm_deploy.dialects.names import check_name

if TYPE_CHECKING:
    from llm_deploy.client.queued import Ticket
    from llm_deploy.client.sagemaker_ways import SagemakerWays
    from llm_deploy.client.target import Allowed, AsyncConnection, Connection
    from llm_deploy.dialects.types import Generation, GenerationRequest

Via = Literal["auto", "runtime", "queue", "openai"]
"""SageMaker's doors: `runtime` (InvokeEndpoint), `queue` (InvokeEndpointAsync), `openai` (its OpenAI-compatible path).
`auto`: the queue where the endpoint has one, else the runtime."""


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
        self._said: dict[str, Any] = {
            "component": component, "dialect": dialect, "session": session, "region": region, "via": via
        }  # fmt: skip
        self._lock = threading.Lock()
        self._made_ways: SagemakerWays | None = None

    def known_defaults(self) -> GenerationRequest | None:
        """See `Target.known_defaults`."""
        return self._defaults

    def defaults(self) -> GenerationRequest:
        """See `Target.defaults`."""
        if self._defaults is None:
            self._defaults = self.ways().defaults()
        return self._defaults

    def open(self, allowed: Allowed) -> Connection:
        """See `Target.open`."""
        return self.ways().open(allowed)

    async def open_async(self, allowed: Allowed) -> AsyncConnection:
        """See `Target.open_async`."""
        return await self.ways().open_async(allowed)

    def submit(self, request: GenerationRequest) -> Ticket:
        """See `SagemakerWays.submit`."""
        return self.ways().submit(request)

    def redeem(self, ticket: Ticket) -> Generation | None:
        """See `SagemakerWays.redeem`."""
        return self.ways().redeem(ticket)

    def ways(self) -> SagemakerWays:
        """What carries calls out."""
        with self._lock:
            if self._made_ways is None:
                from llm_deploy.client.sagemaker_ways import SagemakerWays  # noqa: PLC0415 - see the module's docstring

                self._made_ways = SagemakerWays(self._name, **self._said)
            return self._made_ways
