"""Access without keys: everybody is one caller who may do everything. For loopback, and for the in-process use."""

from __future__ import annotations

from typing import Final

from llm_deploy.gateway.access import SCOPES, Caller

_ANYBODY: Final = Caller("", "anybody", frozenset(SCOPES), None)


class _Free:
    """A permit that costs nothing."""

    def settle(self, *, prompt_tokens: int, generated_tokens: int) -> None:
        """Nothing to give back."""


_FREE: Final = _Free()


class OpenAccess:
    """An `Access` that admits everybody."""

    def caller(self, secret: str | None) -> Caller:  # noqa: ARG002 - the protocol's signature
        """The one caller."""
        return _ANYBODY

    def admit(self, caller: Caller, *, scope: str, model: str, tokens: int) -> _Free:  # noqa: ARG002 - as above
        """Always."""
        return _FREE

    async def start(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to write."""
