"""A Qdrant server by URL: our requests over a real wire, searched by Qdrant's engine. The server itself is not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.errors import ConflictError, IndexUnavailableError
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.files import Walk
from llm_deploy.rag.ingest import Ingestion
from llm_deploy.rag.retrieval import AsyncContextRetriever, Retrieval
from tests.fakes.qdrant_server import QdrantServer, qdrant_server
from tests.fakes.rag import WordEmbedder

TEXTS = {"alarm.md": "# Alarms\nThe canary alarm stops a deployment.", "bread.txt": "Bread is baked from flour."}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QdrantServer]:
    """A new one, without collections."""
    with qdrant_server(tmp_path / "qdrant") as it:
        yield it


def settings(server: QdrantServer, **store: Any) -> RagConfig:  # noqa: ANN401 - YAML
    return RagConfig.model_validate({"store": {"url": server.url, "timeout_s": 5, **store}})


def ingest(config: RagConfig, root: Path, model: str = "words") -> list[str]:
    async def main() -> list[str]:
        embedder = WordEmbedder(model)
        async with AsyncContextRetriever(config, embedder=embedder) as retriever:
            run = Ingestion(config, embedder, await retriever.index()).run(Walk(root))
            return [outcome.status async for outcome in run]

    return asyncio.run(main())


def search(config: RagConfig, query: str, **asked: Any) -> Retrieval:  # noqa: ANN401 - of `search`
    async def main() -> Retrieval:
        async with AsyncContextRetriever(config, embedder=WordEmbedder()) as retriever:
            return await retriever.search(query, **asked)

    return asyncio.run(main())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two documents."""
    folder = tmp_path / "d"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.row("T7")
def test_documents_go_in_are_found_change_and_go(server: QdrantServer, root: Path) -> None:
    """All that an embedded index does, by URL: hybrid search, filters, changes by content, deletion."""
    config = settings(server)
    assert ingest(config, root) == ["added", "added"]
    assert ingest(config, root) == ["unchanged", "unchanged"]
    assert search(config, "canary alarm").hits[0].passage.source == "d/alarm.md"
    narrowed = search(config, "canary alarm", filters={"kind": "text", "modified": {"gte": "2020-01-01"}})
    assert [hit.passage.source for hit in narrowed.hits] == ["d/bread.txt"]
    (root / "bread.txt").unlink()
    (root / "alarm.md").write_text("# Alarms\nThey ring.")
    assert ingest(config, root) == ["changed", "deleted"]
    assert [hit.passage.text for hit in search(config, "canary alarm").hits] == ["They ring."]
    with pytest.raises(ConflictError, match="embedding model words"):
        ingest(config, root, "other")


@pytest.mark.row("T7")
@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("int8", {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}),
        ("binary", {"binary": {"always_ram": True}}),
        ("none", None),
    ],
)
def test_quantisation_is_asked_for_as_the_api_documents(
    server: QdrantServer, root: Path, kind: str, sent: dict[str, Any] | None
) -> None:
    """When the collection is made, and again with each search: candidates are scored anew with the full vectors."""
    config = settings(server, quantization=kind, on_disk=True)
    ingest(config, root)
    search(config, "canary alarm")
    made, asked = server.bodies["PUT"][0], server.bodies["POST /points/query"][0]
    assert made.get("quantization_config") == sent
    assert made["vectors"]["dense"]["on_disk"] is True
    assert made["sparse_vectors"]["words"]["modifier"] == "idf"
    dense, words = asked["prefetch"]
    rescored = {"quantization": {"rescore": True, "oversampling": 2.0}} if sent else None
    assert dense.get("params") == rescored
    assert words.get("params") is None
    assert asked["query"] == {"fusion": "rrf"}


@pytest.mark.row("T7")
@pytest.mark.parametrize("path", ["/index", "/points", "/points/query"])
def test_a_server_that_fails_at_any_step_is_one_clear_error(server: QdrantServer, root: Path, path: str) -> None:
    """And the next run goes on where that one stopped."""
    config = settings(server)
    server.failing = {path}
    work: Callable[[], object] = partial(ingest, config, root)
    if path == "/points/query":
        work()
        work = partial(search, config, "canary alarm")
    with pytest.raises(IndexUnavailableError, match=r"500.*no disk"):
        work()
    server.failing = set()
    ingest(config, root)
    assert search(config, "canary alarm").hits[0].passage.source == "d/alarm.md"
