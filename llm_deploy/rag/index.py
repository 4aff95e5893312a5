"""Passages in a collection of Qdrant: named vectors `dense` and `words`, their payload, and the search of both."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_deploy.errors import ConflictError, NotFoundError
from llm_deploy.rag import filters as narrowing, words
from llm_deploy.rag.config import StoreConfig
from llm_deploy.rag.connection import Connection
from llm_deploy.rag.passages import Hit, Passage, from_payload, to_payload

if TYPE_CHECKING:
    from qdrant_client.models import Filter

DENSE, WORDS = "dense", "words"
FORMAT = 1
"""Changes when collections of before cannot be searched any more."""
SCROLL_POINTS = 5000
OVERSAMPLING = 2.0
"""Candidates of quantised vectors that are scored again with the full ones, as a multiple of what is wanted."""
_NAMESPACE = uuid.UUID("5b0f6b8e-1f7e-5c57-9d0c-6a2a3c0d4e65")


@dataclass(frozen=True, slots=True)
class Question:
    """One wording of a query: its vector, and its words if they are searched too."""

    dense: Sequence[float]
    words: words.SparseVector | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A passage ready to be written."""

    passage: Passage
    dense: Sequence[float]


@dataclass(slots=True)
class Stored:
    """What the collection holds of one document: how many passages of which digest, and how many it should be."""

    digests: Counter[str] = field(default_factory=Counter)
    whole: int = 0

    def is_whole(self, digest: str) -> bool:
        """Whether all passages of this digest are there, and none of another."""
        return set(self.digests) == {digest} and self.digests[digest] == self.whole


class PassageIndex:
    """One collection. Every method may raise `IndexUnavailableError`.

    Args:
        embedding: Name of the embedding model; the collection remembers it and takes no other.
        dimensions: Length of its vectors.
    """

    def __init__(
        self, connection: Connection, collection: str, *, embedding: str, dimensions: int, store: StoreConfig
    ) -> None:
        self.connection = connection
        self.collection = collection
        self.embedding = embedding
        self.dimensions = dimensions
        self._store = store

    async def check(self) -> None:
        """See that the collection is there, and of this embedding model.

        Raises:
            NotFoundError: Nothing was ingested.
            ConflictError: It holds vectors of another model, or is not of ours.
        """
        try:
            found = await self.connection.call("get_collection", collection_name=self.collection)
        except NotFoundError as error:
            raise NotFoundError(
                f"{self.connection.where} has no collection {self.collection!r}",
                hint=f"Run: llmdeploy rag ingest PATH --collection {self.collection}",
            ) from error
        self._compare(found.config)

    async def ensure(self) -> None:
        """As `check`, and make the collection where there is none. Idempotent."""
        if not await self.connection.call("collection_exists", collection_name=self.collection):
            await self.connection.call("create_collection", **self._document())
        await self.check()
        if self.connection.indexes_payload:
            await self._index_payload()

    async def write(self, entries: Sequence[Entry], *, digest: str, whole: int) -> None:
        """Add the passages of one document, or replace the same ones. `whole` is how many it has in all."""
        from qdrant_client.models import PointStruct  # noqa: PLC0415 - see `connection`

        points = [
            PointStruct(
                id=point_id(entry.passage.source, digest, entry.passage.ordinal),
                vector=self._vectors(entry),
                payload=to_payload(entry.passage) | {"digest": digest, "whole": whole},
            )
            for entry in entries
        ]
        await self.connection.call("upsert", collection_name=self.collection, points=points, wait=True)

    async def forget(self, source: str, *, but: str | None = None) -> None:
        """Delete what is stored of a document; but for the passages of this digest, if one is given."""
        from qdrant_client.models import FieldCondition, Filter, FilterSelector, MatchValue  # noqa: PLC0415 - as above

        kept = None if but is None else [FieldCondition(key="digest", match=MatchValue(value=but))]
        chosen = Filter(must=[FieldCondition(key="source", match=MatchValue(value=source))], must_not=kept)
        await self.connection.call(
            "delete", collection_name=self.collection, points_selector=FilterSelector(filter=chosen), wait=True
        )

    async def inventory(self) -> dict[str, Stored]:
        """What is stored of each document, by source. Reads a line of every passage."""
        found: dict[str, Stored] = {}
        async for payload in self._payloads(["source", "digest", "whole"]):
            stored = found.setdefault(str(payload.get("source")), Stored())
            stored.digests[str(payload.get("digest"))] += 1
            stored.whole = int(payload.get("whole") or 0)
        return found

    async def values(self, names: Sequence[str], *, most: int) -> dict[str, list[str]]:
        """The commonest values of fields, `most` of each at most; what a self-query may choose from."""
        found = {}
        for name in names:
            facet = await self.connection.call("facet", collection_name=self.collection, key=name, limit=most)
            found[name] = [hit.value for hit in facet.hits if hit.value]
        return found

    async def count(self) -> int:
        """Number of passages."""
        return int((await self.connection.call("count", collection_name=self.collection)).count)

    async def drop(self) -> bool:
        """Delete the collection; whether there was one."""
        if not await self.connection.call("collection_exists", collection_name=self.collection):
            return False
        await self.connection.call("delete_collection", collection_name=self.collection)
        return True

    async def search(
        self, questions: Sequence[Question], limit: int, filters: narrowing.Filters | None = None
    ) -> list[Hit]:
        """The best passages for all wordings of a query together.

        One vector search gives cosines. Several searches are fused by their ranks (reciprocal rank fusion, in Qdrant).
        """
        from qdrant_client import models  # noqa: PLC0415 - as above

        chosen = narrowing.conditions(narrowing.checked(filters))
        searches = [each for question in questions for each in self._searches(question)]
        if len(searches) == 1:
            asked = {**searches[0], "query_filter": chosen, "search_params": self._parameters()}
        else:
            asked = {
                "prefetch": [self._prefetch(each, limit, chosen) for each in searches],
                "query": models.FusionQuery(fusion=models.Fusion.RRF),
            }
        found = await self.connection.call(
            "query_points", collection_name=self.collection, limit=limit, with_payload=True, **asked
        )
        name = DENSE if len(searches) == 1 else "fused"
        hits = [Hit(from_payload(point.payload), point.score, {name: point.score}) for point in found.points]
        return sorted(hits, key=_place)  # ranks that are fused tie often, and Qdrant leaves those in any order

    def _searches(self, question: Question) -> list[dict[str, Any]]:
        from qdrant_client.models import SparseVector  # noqa: PLC0415 - as above

        found: list[dict[str, Any]] = [{"query": list(question.dense), "using": DENSE}]
        if question.words is not None and question.words.indices:
            vector = SparseVector(indices=question.words.indices, values=question.words.values)
            found.append({"query": vector, "using": WORDS})
        return found

    def _prefetch(self, search: Mapping[str, Any], limit: int, chosen: Filter | None) -> Any:  # noqa: ANN401 - as above
        from qdrant_client.models import Prefetch  # noqa: PLC0415 - as above

        parameters = self._parameters() if search["using"] == DENSE else None
        return Prefetch(**search, limit=limit, filter=chosen, params=parameters)

    def _parameters(self) -> Any:  # noqa: ANN401 - as above
        from qdrant_client.models import QuantizationSearchParams, SearchParams  # noqa: PLC0415 - as above

        if self.connection.embedded or self._store.quantization == "none":
            return None
        return SearchParams(quantization=QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING))

    def _vectors(self, entry: Entry) -> dict[str, Any]:
        from qdrant_client.models import SparseVector  # noqa: PLC0415 - as above

        sparse = words.passage_vector(entry.passage.embedded)
        return {DENSE: list(entry.dense), WORDS: SparseVector(indices=sparse.indices, values=sparse.values)}

    async def _payloads(self, fields: list[str]) -> AsyncIterator[Mapping[str, Any]]:
        offset: Any = None
        while True:
            records, offset = await self.connection.call(
                "scroll", collection_name=self.collection, limit=SCROLL_POINTS, offset=offset, with_payload=fields
            )
            for record in records:
                yield record.payload or {}
            if offset is None:
                return

    def _document(self) -> dict[str, Any]:
        from qdrant_client import models  # noqa: PLC0415 - as above

        on_disk = self._store.on_disk or None
        return {
            "collection_name": self.collection,
            "vectors_config": {
                DENSE: models.VectorParams(size=self.dimensions, distance=models.Distance.COSINE, on_disk=on_disk)
            },
            "sparse_vectors_config": {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            "quantization_config": None if self.connection.embedded else _quantization(self._store.quantization),
            "metadata": {"llmdeploy": FORMAT, "embedding": self.embedding},
        }

    async def _index_payload(self) -> None:
        kinds = dict.fromkeys((*narrowing.KEYWORDS, "digest"), "keyword") | {"page": "integer", "modified": "datetime"}
        for name, kind in kinds.items():
            await self.connection.call(
                "create_payload_index", collection_name=self.collection, field_name=name, field_schema=kind, wait=True
            )

    def _compare(self, config: Any) -> None:  # noqa: ANN401 - as above
        vectors, remembered = config.params.vectors, config.metadata or {}
        mine = isinstance(vectors, dict) and DENSE in vectors and WORDS in (config.params.sparse_vectors or {})
        if not mine or remembered.get("llmdeploy") not in {None, FORMAT}:
            raise ConflictError(
                f"the collection {self.collection!r} is not one that this version made", hint="Choose another name."
            )
        model, size = remembered.get("embedding", self.embedding), vectors[DENSE].size
        if model != self.embedding or size != self.dimensions:
            raise ConflictError(
                f"the collection {self.collection!r} holds vectors of the embedding model {model} ({size} numbers), "
                f"and this configuration embeds with {self.embedding} ({self.dimensions})",
                hint="Use that model or another collection, or `llmdeploy rag drop` it and ingest again.",
            )


def _place(hit: Hit) -> tuple[float, str, int]:
    return -hit.score, hit.passage.source, hit.passage.ordinal


def point_id(source: str, digest: str, ordinal: int) -> str:
    """The same passage of the same content has the same id, whoever writes it and how often."""
    return str(uuid.uuid5(_NAMESPACE, f"{source}\0{digest}\0{ordinal}"))


def _quantization(kind: str) -> Any:  # noqa: ANN401 - as above
    from qdrant_client import models  # noqa: PLC0415 - as above

    if kind == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    if kind == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    return None
