"""The local mode of Qdrant's Python client, with the one setting that makes its writes bearable."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def open_local(folder: Path) -> Any:  # noqa: ANN401 - Qdrant's client
    """A client over a folder; reads all of it into memory.

    Raises:
        BlockingIOError: Another process has it open.
    """
    from qdrant_client import QdrantClient  # noqa: PLC0415 - half a second

    class QuickClient(QdrantClient):
        """Sets up each collection that it makes."""

        def create_collection(self, *given: Any, **named: Any) -> bool:  # noqa: ANN401 - as its parent
            made = super().create_collection(*given, **named)
            _write_quickly(self)
            return made

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # advice to use a server; `rag status` gives it
            client = QuickClient(path=str(folder))
    except RuntimeError as error:
        raise BlockingIOError(str(error)) from error
    _write_quickly(client)
    return client


def _write_quickly(client: Any) -> None:  # noqa: ANN401 - as above
    """Let SQLite write ahead, without waiting for the disk at every point.

    Local mode commits each point by itself, which takes 13 ms where the disk syncs slowly: 20 minutes for 100,000. With
    a write-ahead log a killed process still loses nothing; a power cut may lose the last points, which the next ingest
    finds missing and writes.
    """
    for collection in client._client.collections.values():  # noqa: SLF001 - there is no option for it
        storage = getattr(collection, "storage", None)
        if storage is not None:
            storage.storage.execute("PRAGMA journal_mode=WAL")
            storage.storage.execute("PRAGMA synchronous=NORMAL")
