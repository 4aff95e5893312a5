"""The part of Qdrant's REST API that we use, over Qdrant's own engine: real searches and a real wire, not the server.

Bodies are read with the models of qdrant-client, which are made from the server's OpenAPI document; an unknown field
or a wrong value is a 400. What the engine has no word for (quantisation, places on disk) is checked and remembered.

Source: Qdrant's OpenAPI document (REST API reference).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from qdrant_client.http import models

from llm_deploy.errors import NotFoundError
from llm_deploy.rag.edge import EdgeShards

_PATH = re.compile(r"/collections/(?P<name>[^/?]+)(?P<rest>[^?]*)")


class QdrantServer:
    """What was asked, and what answers it. All requests are worked on in one thread at a time.

    Attributes:
        bodies: Of the requests, by method and the path below the collection.
        failing: Paths below the collection that answer 500.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.url = ""
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.failing: set[str] = set()
        self._lock = threading.Lock()
        self._shards = EdgeShards(folder)
        self._made: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        """Let go of the folder."""
        self._shards.close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and result of a request."""
        found = _PATH.match(path)
        if found is None:
            return 404, "Not Found"
        name, rest = found["name"], found["rest"]
        document = json.loads(body) if body else {}
        self.bodies.setdefault(f"{method} {rest}".strip(), []).append(document)
        work = self._works().get((method, rest))
        if rest in self.failing:
            return 500, "Service internal error: no disk"
        if work is None:
            return 404, f"no {method} {rest}"
        try:
            with self._lock:
                return 200, work(name, document)
        except ValidationError as error:
            return 400, f"Format error in JSON body: {error}"
        except NotFoundError:
            return 404, f"Not found: Collection `{name}` doesn't exist!"

    def _works(self) -> dict[tuple[str, str], Callable[[str, dict[str, Any]], Any]]:
        return {
            ("GET", ""): self._described,
            ("GET", "/exists"): lambda name, _: {"exists": self._shards.collection_exists(name)},
            ("PUT", ""): self._create,
            ("DELETE", ""): self._delete_collection,
            ("PUT", "/index"): self._index,
            ("PUT", "/points"): self._upsert,
            ("POST", "/points/delete"): self._delete,
            ("POST", "/points/query"): self._query,
            ("POST", "/points/scroll"): self._scroll,
            ("POST", "/points/count"): lambda name, _: {"count": self._shards.count(name).count},
            ("POST", "/facet"): self._facet,
        }

    def _create(self, name: str, document: dict[str, Any]) -> bool:
        asked = _read(models.CreateCollection, document)
        self._shards.create_collection(name, asked.vectors, asked.sparse_vectors, asked.metadata)
        self._made[name] = document
        return True

    def _described(self, name: str, _: dict[str, Any]) -> dict[str, Any]:
        self._shards.get_collection(name)
        made = self._made[name]
        params = {key: made[key] for key in ("vectors", "sparse_vectors")}
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
        optimizer = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                     "flush_interval_sec": 5}  # fmt: skip
        config = {
            "params": params,
            "metadata": made.get("metadata"),
            "hnsw_config": hnsw,
            "optimizer_config": optimizer,
            "quantization_config": made.get("quantization_config"),
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": config,
            "payload_schema": {},
        }

    def _delete_collection(self, name: str, _: dict[str, Any]) -> bool:
        self._shards.delete_collection(name)
        return True

    def _index(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        asked = _read(models.CreateFieldIndex, document)
        self._shards.create_payload_index(name, asked.field_name, str(asked.field_schema.value))
        return _done()

    def _upsert(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        self._shards.upsert(name, _read(models.PointsList, document).points)
        return _done()

    def _delete(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        self._shards.delete(name, _read(models.FilterSelector, document))
        return _done()

    def _query(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        asked = _read(models.QueryRequest, document)
        given: dict[str, Any] = {"query": asked.query, "using": asked.using, "query_filter": asked.filter}
        if asked.prefetch:
            given = {"prefetch": asked.prefetch}
        found = self._shards.query_points(name, asked.limit, **given).points
        return {"points": [{"id": str(p.id), "version": 0, "score": p.score, "payload": p.payload} for p in found]}

    def _scroll(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        asked = _read(models.ScrollRequest, document)
        points, offset = self._shards.scroll(name, asked.limit, asked.offset, asked.with_payload)
        return {"points": [{"id": str(p.id), "payload": p.payload} for p in points],
                "next_page_offset": None if offset is None else str(offset)}  # fmt: skip

    def _facet(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        asked = _read(models.FacetRequest, document)
        hits = self._shards.facet(name, asked.key, asked.limit).hits
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}


@contextmanager
def qdrant_server(folder: Path) -> Iterator[QdrantServer]:
    """A server on 127.0.0.1 that keeps its collections under a folder."""
    it = QdrantServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            started_s = time.perf_counter()
            status, result = it.answer(self.command, self.path, body)
            told = {"result": result, "status": "ok"} if status == 200 else {"status": {"error": result}}
            data = json.dumps({**told, "time": time.perf_counter() - started_s}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        it.close()


def _read(model: type[BaseModel], document: dict[str, Any]) -> Any:  # noqa: ANN401 - one of Qdrant's models
    """The body as the API documents it: qdrant-client's models forbid what they do not know."""
    return model.model_validate(document)


def _done() -> dict[str, Any]:
    return {"operation_id": 1, "status": "completed"}
