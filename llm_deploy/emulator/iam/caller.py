"""Who asks, once the signature has been checked."""

from __future__ import annotations

from dataclasses import dataclass

from llm_deploy.emulator.iam.identity import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """The maker of a request.

    Attributes:
        access_key: Empty when nobody signed.
        via: The service that asks on the caller's behalf, `cloudformation.amazonaws.com`.
    """

    principal: Principal
    access_key: str
    via: str | None = None
