"""The collection in a real, embedded Qdrant."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from llm_deploy.errors import ConflictError, IndexUnavailableError, NotFoundError, SpecError
from llm_deploy.rag.config import StoreConfig
from llm_deploy.rag.connection import MOST_WAITING, EmbeddedConnection, Engine, connect
from llm_deploy.rag.index import PassageIndex, Question
from llm_deploy.rag.passages import Hit, Passage
from llm_deploy.rag.words import query_vector
from tests.fakes.rag import DIMENSIONS, WordEmbedder, fill

T = TypeVar("T")

PASSAGES = [
    Passage("Alarms make a deployment go back.", "a.md", "Update", "Alarms", modified="2026-03-01T10:00:00+00:00"),
    Passage("Bread is baked from flour.", "b.pdf", "Food", page=3, kind="pdf", tags=("food", "home")),
    Passage("Set max_new_tokens for longer answers.", "c.py", kind="code", language="python", tags=("code",)),
]


ENGINES: tuple[Engine, ...] = ("edge", "local")


def with_index(
    folder: Path,
    work: Callable[[PassageIndex, WordEmbedder], Awaitable[T]],
    *,
    model: str = "words",
    engine: Engine | None = None,
) -> T:
    """Run some work on an index; its engine is the one that the folder is named after, if none is given."""

    async def main() -> T:
        named: Engine = "local" if folder.name.startswith("local") else "edge"
        store = StoreConfig(path=folder, engine=engine or named)
        embedder = WordEmbedder(model)
        connection = connect(store)
        index = PassageIndex(connection, "docs", embedding=embedder.name, dimensions=DIMENSIONS, store=store)
        try:
            return await work(index, embedder)
        finally:
            await connection.aclose()

    return asyncio.run(main())


def found(folder: Path, query: str, filters: dict[str, Any] | None = None, *, words: bool = True) -> list[Hit]:
    async def work(index: PassageIndex, embedder: WordEmbedder) -> list[Hit]:
        vector = (await embedder.embed([query], "query"))[0]
        question = Question(vector, query_vector(query) if words else None)
        return await index.search([question], 3, filters)

    return with_index(folder, work)


@pytest.fixture(scope="module", params=ENGINES)
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """An index of each engine with three passages, closed again; its folder is named after the engine."""
    path = tmp_path_factory.mktemp(request.param)
    with_index(path, lambda index, embedder: fill(index, embedder, PASSAGES))
    return path


@pytest.mark.row("T7")
@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize(("query", "source"), [("alarm", "a.md"), ("flour", "b.pdf"), ("max_new_tokens", "c.py")])
def test_the_best_passage_comes_first(folder: Path, query: str, source: str, *, words: bool) -> None:
    """By vectors alone and by vectors and words; all of the passage comes back."""
    best = found(folder, query, words=words)[0]
    assert best.passage == next(each for each in PASSAGES if each.source == source)
    assert set(best.scores) == {"fused" if words else "dense"}


@pytest.mark.row("T7")
@pytest.mark.parametrize(
    ("filters", "sources"),
    [
        ({"kind": "pdf"}, {"b.pdf"}),
        ({"kind": ["pdf", "code"]}, {"b.pdf", "c.py"}),
        ({"tags": "home"}, {"b.pdf"}),
        ({"page": {"gte": 2, "lt": 4}}, {"b.pdf"}),
        ({"page": 4}, set()),
        ({"modified": {"gte": "2026-01-01"}}, {"a.md"}),
        ({"source": "c.py", "language": "python"}, {"c.py"}),
        ({}, {"a.md", "b.pdf", "c.py"}),
    ],
)
def test_filters_narrow_the_search(folder: Path, filters: dict[str, Any], sources: set[str]) -> None:
    """Both searches that are fused are narrowed: nothing else is found."""
    assert {each.passage.source for each in found(folder, "alarm flour tokens", filters)} == sources


@pytest.mark.parametrize(
    "filters",
    [
        {"colour": "red"}, {"page": "3"}, {"page": True}, {"page": {"near": 3}}, {"page": {}}, {"kind": []},
        {"kind": ""}, {"kind": {"gte": "a"}}, {"modified": "yesterday"}, {"tags": ["x"] * 101}, {"title": "x" * 1001},
        {"page": 10**30}, {"page": [10**30]}, {"page": {"gte": 10**400}},
        {"source": "\ud800"}, {"modified": ["2026-01-01"]},
    ],
)  # fmt: skip
def test_wrong_filters_are_refused(folder: Path, filters: dict[str, Any]) -> None:
    """Before Qdrant is asked, and with the field's name."""
    with pytest.raises(SpecError, match=next(iter(filters))):
        found(folder, "x", filters)


def test_another_embedding_model_is_refused(folder: Path) -> None:
    """Its vectors cannot be compared; the message names both."""
    with pytest.raises(ConflictError, match=r"model words .* embeds with other"):
        with_index(folder, lambda index, _: index.ensure(), model="other")


def test_a_collection_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    """Searching makes none."""
    with pytest.raises(NotFoundError, match="no collection 'docs'") as caught:
        with_index(tmp_path, lambda index, _: index.check())
    assert "rag ingest" in (caught.value.hint or "")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_passage_twice_is_one_point(tmp_path: Path, engine: Engine) -> None:
    """Points are named by source, digest and place."""

    async def work(index: PassageIndex, embedder: WordEmbedder) -> int:
        await fill(index, embedder, PASSAGES)
        await fill(index, embedder, PASSAGES)
        return await index.count()

    assert with_index(tmp_path, work, engine=engine) == 3


def test_what_is_stored_survives_a_restart(folder: Path) -> None:
    """Inventory and values are read from the disk again."""

    async def work(index: PassageIndex, _: WordEmbedder) -> tuple[Any, Any]:
        return await index.inventory(), await index.values(("kind", "tags"), most=10)

    stored, values = with_index(folder, work)
    assert set(stored) == {"a.md", "b.pdf", "c.py"}
    assert all(each.is_whole("d") for each in stored.values())
    assert set(values["tags"]) == {"food", "home", "code"}


def test_one_process_at_a_time(folder: Path) -> None:
    """A second process is told who is in the way and what to do, and leaves the first one alone."""
    code = (
        "import asyncio, sys; from pathlib import Path; from llm_deploy.rag.connection import EmbeddedConnection\n"
        "from llm_deploy.errors import IndexUnavailableError\n"
        "index = EmbeddedConnection(Path(sys.argv[1]), engine=sys.argv[2])\n"
        "try: asyncio.run(index.call('count', collection_name='docs'))\n"
        "except IndexUnavailableError as error: print(error.message, error.hint)"
    )

    async def work(index: PassageIndex, _: WordEmbedder) -> str:
        await index.count()
        engine = folder.name.rstrip("0123456789")
        command = [sys.executable, "-c", code, str(folder / engine), engine]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True, timeout=60)
        assert await index.count() == 3
        return str(done.stdout)

    said = with_index(folder, work)
    assert "one process at a time" in said
    assert "Qdrant server" in said


def test_the_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    """It holds what was ingested, and local mode reads it with pickle."""
    for engine in ENGINES:
        with_index(tmp_path, lambda index, embedder: fill(index, embedder, PASSAGES), engine=engine)
        assert (tmp_path / engine).stat().st_mode & 0o077 == 0


def test_writes_do_not_wait_for_the_disk_one_by_one(tmp_path: Path) -> None:
    """What we set in Qdrant's own SQLite is set; another version of Qdrant that has it elsewhere is noticed here."""

    async def work(index: PassageIndex, embedder: WordEmbedder) -> None:
        await fill(index, embedder, PASSAGES)

    with_index(tmp_path, work, engine="local")
    assert (tmp_path / "local" / "collection" / "docs" / "storage.sqlite").read_bytes()[18:20] == b"\2\2"  # write-ahead


def test_a_search_that_blocks_does_not_block_the_event_loop() -> None:
    """Embedded Qdrant blocks for as long as it searches; here for as long as the loop does not go on.

    If the call ran on the loop, the loop could not set the event that ends it.
    """

    class Blocking:
        def __init__(self) -> None:
            self.begun, self.let_go = threading.Event(), threading.Event()

        def query_points(self) -> bool:
            self.begun.set()
            return self.let_go.wait(60)

        def close(self) -> None:
            """Nothing."""

    async def main() -> None:
        connection = EmbeddedConnection(Path("nowhere"))
        client = Blocking()
        connection._client = client
        searching = asyncio.ensure_future(connection.call("query_points"))
        while not client.begun.is_set():  # noqa: ASYNC110 - an event of threads, set by one
            await asyncio.sleep(0)
        client.let_go.set()
        assert await searching
        await connection.aclose()

    asyncio.run(main())


def test_only_so_many_calls_wait(tmp_path: Path) -> None:
    """One thread does the work; the queue before it has an end, and says so."""

    async def main() -> None:
        connection = EmbeddedConnection(tmp_path)
        calls = [connection.call("collection_exists", collection_name="x") for _ in range(MOST_WAITING + 5)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(each, IndexUnavailableError) for each in done) == 5
        await connection.call("collection_exists", collection_name="x")
        await connection.aclose()
        await connection.aclose()
        with pytest.raises(IndexUnavailableError, match="closed"):
            await connection.call("collection_exists", collection_name="x")

    asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_index_is_an_error_of_ours(tmp_path: Path, engine: Engine) -> None:
    """Whatever SQLite or Rust says about the files."""
    with_index(tmp_path, lambda index, embedder: fill(index, embedder, PASSAGES), engine=engine)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in {"meta.json", "collection.json", ".lock"}:
            path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(IndexUnavailableError, match="cannot be read"):
        with_index(tmp_path, lambda index, _: index.count(), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dropped_collection_can_be_made_again(tmp_path: Path, engine: Engine) -> None:
    """Dropping says whether there was one; nothing of it is left."""

    async def work(index: PassageIndex, embedder: WordEmbedder) -> None:
        assert not await index.drop()
        await fill(index, embedder, PASSAGES)
        assert await index.drop()
        await fill(index, embedder, PASSAGES[:1])
        assert await index.count() == 1

    with_index(tmp_path, work, engine=engine)
