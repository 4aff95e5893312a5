"""Retrieval-augmented generation: ingest, search over Qdrant, context with citations, answer, evaluate."""
