"""Qdrant's engine itself in this process (Qdrant Edge, an extra), behind the calls of `QdrantClient` that we make.

Local mode is a rewrite in Python; this is the server's Rust, with its indexes of vectors, words and payloads. It is
young (0.9), so it is chosen by `store.engine: edge` and pinned to one minor version.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llm_deploy.errors import MissingExtraError, NotFoundError

Foreign = Any
"""Qdrant's own types: qdrant-client's come in, Edge's go out."""

_DESCRIPTION = "collection.json"
_DEFAULT_FUSION_K = 2
"""Of the server's RRF. Source: Qdrant documentation, hybrid queries."""


class _Told(contextlib.ContextDecorator):
    """Gives the engine's errors a type: it raises `Exception` itself, and panics as Rust does.

    Told by the exact type in `__exit__`, so that an error of any other kind, ours too, goes on as it is.
    """

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None and (kind is Exception or kind.__name__ == "PanicException"):
            raise OSError(f"the engine says: {error}") from error


class EdgeShards:
    """The collections under a folder, each a shard of its own. Blocks, and belongs to one thread.

    Raises:
        BlockingIOError: Another process has the folder open.
        MissingExtraError: qdrant-edge-py is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._edge = _library()
        self._folder = folder
        self._lock = _locked(folder)
        self._open: dict[str, Foreign] = {}

    @_Told()
    def close(self) -> None:
        """Write what is pending and let go of the folder."""
        for shard in self._open.values():
            shard.close()
        self._open.clear()
        self._lock.close()

    def collection_exists(self, collection_name: str) -> bool:
        """A collection is there once its description is, which is written last."""
        return (self._folder / collection_name / _DESCRIPTION).is_file()

    @_Told()
    def create_collection(
        self,
        collection_name: str,
        vectors_config: Mapping[str, Foreign],
        sparse_vectors_config: Mapping[str, Foreign],
        metadata: Mapping[str, Any],
        **_: object,
    ) -> None:
        """Vectors by cosine, words with IDF. What a killed process left half made is made anew."""
        edge, home = self._edge, self._folder / collection_name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        sizes = {name: params.size for name, params in vectors_config.items()}
        idf = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
        vectors = {
            name: edge.EdgeVectorParams(size=size, distance=edge.Distance.Cosine) for name, size in sizes.items()
        }
        config = edge.EdgeConfig(vectors=vectors, sparse_vectors=dict.fromkeys(sparse_vectors_config, idf))
        self._open[collection_name] = edge.EdgeShard.create(str(home / "shard"), config)
        described = {"vectors": sizes, "sparse": list(sparse_vectors_config), "metadata": dict(metadata)}
        partial = home / f"{_DESCRIPTION}.part"
        partial.write_text(json.dumps(described), encoding="utf-8")
        partial.replace(home / _DESCRIPTION)

    @_Told()
    def delete_collection(self, collection_name: str) -> None:
        """The description goes first: a collection that is half deleted is none."""
        shard = self._open.pop(collection_name, None)
        if shard is not None:
            shard.close()
        (self._folder / collection_name / _DESCRIPTION).unlink(missing_ok=True)
        shutil.rmtree(self._folder / collection_name, ignore_errors=True)

    @_Told()
    def get_collection(self, collection_name: str) -> Foreign:
        """Its configuration, as far as we look at it."""
        self._shard(collection_name)
        found = json.loads((self._folder / collection_name / _DESCRIPTION).read_text(encoding="utf-8"))
        vectors = {name: SimpleNamespace(size=size) for name, size in found["vectors"].items()}
        params = SimpleNamespace(vectors=vectors, sparse_vectors=dict.fromkeys(found["sparse"]))
        return SimpleNamespace(config=SimpleNamespace(params=params, metadata=found["metadata"]))

    @_Told()
    def create_payload_index(self, collection_name: str, field_name: str, field_schema: str, **_: object) -> None:
        """An index for a field that searches are narrowed by. Idempotent."""
        shard = self._shard(collection_name)
        if field_name not in shard.info().payload_schema:  # making it again would build it again
            kind = getattr(self._edge.PayloadSchemaType, field_schema.capitalize())
            shard.update(self._edge.UpdateOperation.create_field_index(field_name, kind))

    @_Told()
    def upsert(self, collection_name: str, points: Sequence[Foreign], **_: object) -> None:
        """Add points, or replace those of the same ids."""
        made = [self._edge.Point(point.id, self._vectors(point.vector), point.payload) for point in points]
        self._update(collection_name, self._edge.UpdateOperation.upsert_points(made))

    @_Told()
    def delete(self, collection_name: str, points_selector: Foreign, **_: object) -> None:
        """Delete the points that a filter chooses."""
        chosen = self._filter(points_selector.filter)
        self._update(collection_name, self._edge.UpdateOperation.delete_points_by_filter(chosen))

    @_Told()
    def query_points(self, collection_name: str, limit: int, **asked: Foreign) -> Foreign:
        """One search, or several fused by their ranks."""
        found: dict[str, Foreign] = {"with_payload": True}
        if prefetch := asked.get("prefetch"):
            found["query"] = self._edge.Fusion.Rrf(_DEFAULT_FUSION_K)
            found["prefetches"] = list(map(self._prefetch, prefetch))
        else:
            found["query"] = self._nearest(asked["query"], asked["using"])
            found["filter"] = self._filter(asked.get("query_filter"))
        request = self._edge.QueryRequest(limit, **found)
        return SimpleNamespace(points=self._shard(collection_name).query(request))

    @_Told()
    def scroll(
        self, collection_name: str, limit: int, offset: Foreign, with_payload: list[str], **_: object
    ) -> tuple[list[Foreign], Foreign]:
        """Some of the points, and where to go on."""
        request = self._edge.ScrollRequest(offset=offset, limit=limit, with_payload=with_payload)
        found: tuple[list[Foreign], Foreign] = self._shard(collection_name).scroll(request)
        return found

    @_Told()
    def facet(self, collection_name: str, key: str, limit: int, **_: object) -> Foreign:
        """The commonest values of a field."""
        return self._shard(collection_name).facet(self._edge.FacetRequest(key, limit))

    @_Told()
    def count(self, collection_name: str, **_: object) -> Foreign:
        """How many points there are."""
        return SimpleNamespace(count=self._shard(collection_name).count(self._edge.CountRequest()))

    @_Told()
    def optimize(self, collection_name: str) -> bool:
        """Merge segments and build indexes where there is enough to index."""
        return bool(self._shard(collection_name).optimize())

    def _update(self, collection_name: str, operation: Foreign) -> None:
        self._shard(collection_name).update(operation)  # through a write-ahead log: a killed process loses nothing

    def _shard(self, name: str) -> Foreign:
        if not self.collection_exists(name):
            raise NotFoundError(f"there is no collection {name!r}")
        if name not in self._open:
            self._open[name] = self._edge.EdgeShard.load(str(self._folder / name / "shard"))
        return self._open[name]

    def _vectors(self, given: Mapping[str, Foreign]) -> dict[str, Foreign]:
        return {name: self._vector(each) for name, each in given.items()}

    def _vector(self, given: Foreign) -> Foreign:
        return given if isinstance(given, list) else self._edge.SparseVector(given.indices, given.values)

    def _nearest(self, query: Foreign, using: str) -> Foreign:
        return self._edge.Query.Nearest(self._vector(query), using)

    def _prefetch(self, given: Foreign) -> Foreign:
        query = self._nearest(given.query, given.using)
        return self._edge.Prefetch(given.limit, query=query, filter=self._filter(given.filter))

    def _filter(self, given: Foreign) -> Foreign:
        if given is None:
            return None
        must, must_not = given.must or [], given.must_not or []
        return self._edge.Filter(must=list(map(self._condition, must)), must_not=list(map(self._condition, must_not)))

    def _condition(self, given: Foreign) -> Foreign:
        edge = self._edge
        if given.match is not None:
            wanted = getattr(given.match, "any", None)
            match = edge.MatchValue(given.match.value) if wanted is None else edge.MatchAny(wanted)
            return edge.FieldCondition(given.key, match=match)
        bounds = given.range.model_dump(exclude_none=True)
        moments = {name: value.isoformat() for name, value in bounds.items() if hasattr(value, "isoformat")}
        chosen = edge.RangeDateTime(**moments) if moments else edge.RangeFloat(**bounds)
        return edge.FieldCondition(given.key, range=chosen)


def _library() -> Foreign:
    try:
        import qdrant_edge  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "store.engine edge needs qdrant-edge-py, not installed here",
            hint='Run: pip install "llm-deploy[rag]", or set store.engine: local.',
        ) from error
    return qdrant_edge


def _locked(folder: Path) -> Foreign:
    import portalocker  # noqa: PLC0415 - comes with qdrant-client

    file = (folder / ".lock").open("a")
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.exceptions.LockException as error:
        file.close()
        raise BlockingIOError(f"{folder} is open in another process") from error
    return file
