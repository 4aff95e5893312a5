"""Who may call the gateway, and how much: the words that routes and the state of keys share.

Every method but `start` and `aclose` returns at once and touches memory only; what is counted is written behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

SCOPES: Final = ("chat", "embeddings", "rag", "models")
"""What a key may be good for. `chat`: chat, completions and generate."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from.

    Attributes:
        key_id: The public id of the API key; fit for logs and metrics.
        name: What its owner called it.
        scopes: Of `SCOPES`.
        models: The model names it may use; `None` for every one.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    models: frozenset[str] | None


class Permit(Protocol):
    """One admitted request. It is settled exactly once, after failures and cancellations too."""

    def settle(self, *, prompt_tokens: int, generated_tokens: int) -> None:
        """Say what the request did cost; what was reserved beyond it is given back."""
        ...


class Access(Protocol):
    """What the gateway asks before it works for somebody."""

    def caller(self, secret: str | None) -> Caller:
        """Who this API key belongs to.

        Raises:
            UnauthenticatedError: None was given, or it is unknown, expired or revoked.
        """
        ...

    def admit(self, caller: Caller, *, scope: str, model: str, tokens: int) -> Permit:
        """Let a request in and reserve what it may cost at most.

        Args:
            caller: From `caller`, of the same request.
            scope: Of `SCOPES`.
            model: The public name of the model, or of the route where it has none.
            tokens: The prompt's estimate and the most that may be generated.

        Raises:
            AccessDeniedError: The key is not good for this scope or model.
            RateLimitedError: A rate, a budget or the concurrency of the key is used up.
        """
        ...

    async def start(self) -> None:
        """Load the keys and begin to write behind."""
        ...

    async def aclose(self) -> None:
        """Write what is pending and let go of the database."""
        ...
