"""Plain text: one block; what it is cut at are paragraphs and sentences."""

from __future__ import annotations

from llm_deploy.rag.loaders import Block, Document
from llm_deploy.rag.loaders.encoding import text_of


def load(source: str, data: bytes) -> Document:
    """See `Loader`."""
    return Document(source, "text", (Block(text_of(data)),))
