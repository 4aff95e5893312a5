"""The business service: an OpenAI-compatible API over deployments, `/rag`, keys, limits, metrics."""
