"""Retrieval-augmented generation over Qdrant: ingest documents, search them, answer from them, measure it.

The names of the seed are here; each loads from its home when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_deploy.rag.config import RagConfig
    from llm_deploy.rag.context import to_context
    from llm_deploy.rag.retrieval import AsyncContextRetriever
    from llm_deploy.rag.retriever import ContextRetriever, call_llm_service
    from llm_deploy.rag.service import RagService

__all__ = ["AsyncContextRetriever", "ContextRetriever", "RagConfig", "RagService", "call_llm_service", "to_context"]

_HOMES = {
    "AsyncContextRetriever": "retrieval",
    "ContextRetriever": "retriever",
    "RagConfig": "config",
    "RagService": "service",
    "call_llm_service": "retriever",
    "to_context": "context",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
