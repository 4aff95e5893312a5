"""Keys, usage and budgets of the gateway: in memory for requests, in SQLite or PostgreSQL for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_deploy.gateway.state.config import StateConfig

if TYPE_CHECKING:
    from llm_deploy.gateway.state.service import StoredAccess

__all__ = ["StateConfig", "open_access"]


def open_access(config: StateConfig) -> StoredAccess:
    """The keys, limits and meter of one gateway process. Nothing is read before its `start`.

    Raises:
        SpecError: The URL is of no kind that is known, or more than one process would share a SQLite file.
        MissingExtraError: The database's driver is not installed.
    """
    from llm_deploy.gateway.state.service import StoredAccess  # noqa: PLC0415 - SQLAlchemy takes 200 ms to import

    return StoredAccess(config)
