"""What a model object stands on: how its model is reached, from threads or from an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llm_deploy.client.patience import Patience
from llm_deploy.dialects.types import GenerationRequest

if TYPE_CHECKING:
    from llm_deploy.client.embedder import Embedder
    from llm_deploy.client.embedder_async import AsyncEmbedder
    from llm_deploy.client.invoker import Invoker
    from llm_deploy.client.invoker_async import AsyncInvoker


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a call may take: seconds for a whole answer (`None`: no limit of ours), and what is asked again."""

    answer_timeout_s: float | None
    patience: Patience


@dataclass(slots=True)
class Connection:
    """The ways to one model; they may be one."""

    prompts: Invoker
    chats: Invoker
    embedder: Embedder
    close: Callable[[], None]


@dataclass(slots=True)
class AsyncConnection:
    """As `Connection`, on an event loop."""

    prompts: AsyncInvoker
    chats: AsyncInvoker
    embedder: AsyncEmbedder
    aclose: Callable[[], Awaitable[None]]


class Target(Protocol):
    """Where a model is. What has to be asked about it is asked once, whoever shares this object."""

    def known_defaults(self) -> GenerationRequest | None:
        """The default parameters if nothing has to be asked for them; never blocks."""

    def defaults(self) -> GenerationRequest:
        """The default parameters; the first time it may ask the cloud, and blocks."""

    def open(self, allowed: Allowed) -> Connection:
        """A new connection; as `defaults`, it may ask and block."""

    async def open_async(self, allowed: Allowed) -> AsyncConnection:
        """As `open`, for the event loop that runs."""
