"""SageMaker refuses nearly everything as ValidationException; the words come from the ledger."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.service import ServiceError


def refusal(entry_id: str, **values: object) -> ServiceError:
    """The ValidationException of a ledger entry."""
    return ServiceError("ValidationException", ledger.text(entry_id, **values))
