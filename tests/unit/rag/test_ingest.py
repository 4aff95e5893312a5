"""Bringing a collection in line with a folder, also when it is cut off anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.errors import ConflictError, NotFoundError
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.connection import Connection, Engine, connect
from llm_deploy.rag.files import Walk
from llm_deploy.rag.index import PassageIndex
from llm_deploy.rag.ingest import Ingestion, Outcome, totals
from tests.fakes.rag import DIMENSIONS, WordEmbedder, config

T = TypeVar("T")


class Cut(Exception):  # noqa: N818 - stands for SIGKILL, which is no error
    """The process ends here."""


class BreakingConnection:
    """A connection over a real one; the process ends before or after its n-th call that changes something."""

    embedded = True
    indexes_payload = False

    def __init__(self, real: Connection, *, at: int, after: bool) -> None:
        self.where = real.where
        self._real = real
        self._left = at
        self._after = after

    async def call(self, method: str, /, **arguments: Any) -> Any:  # noqa: ANN401 - Qdrant's types
        """See `Connection.call`."""
        changes = method in {"upsert", "delete", "create_collection"}
        self._left -= changes
        if changes and self._left < 0 and not self._after:
            raise Cut
        done = await self._real.call(method, **arguments)
        if changes and self._left < 0:
            raise Cut
        return done

    async def aclose(self) -> None:
        """See `Connection.aclose`."""
        await self._real.aclose()


def with_ingestion(
    settings_: RagConfig,
    work: Callable[[Ingestion, PassageIndex], Awaitable[T]],
    wrap: Callable[[Connection], Connection] = lambda c: c,
) -> T:
    async def main() -> T:
        connection = wrap(connect(settings_.store))
        embedder = WordEmbedder()
        index = PassageIndex(connection, "docs", embedding="words", dimensions=DIMENSIONS, store=settings_.store)
        try:
            return await work(Ingestion(settings_, embedder, index), index)
        finally:
            await connection.aclose()

    return asyncio.run(main())


def ingest(
    folder: Path,
    root: Path,
    *,
    dry: bool = False,
    anew: bool = False,
    engine: Engine = "local",
    chunk: dict[str, int] | None = None,
) -> dict[str, Outcome]:
    async def work(ingestion: Ingestion, _: PassageIndex) -> dict[str, Outcome]:
        return {each.source: each async for each in ingestion.run(Walk(root), dry=dry, anew=anew)}

    return with_ingestion(config(folder, engine=engine, chunk=chunk or {}), work)


def content(folder: Path, engine: Engine = "local") -> dict[str, list[tuple[int, str]]]:
    """All that is stored: places and texts by source, sorted."""

    async def work(_: Ingestion, index: PassageIndex) -> dict[str, list[tuple[int, str]]]:
        found: dict[str, list[tuple[int, str]]] = {}
        async for payload in index._payloads(["source", "ordinal", "text"]):
            found.setdefault(payload["source"], []).append((payload["ordinal"], payload["text"]))
        return {source: sorted(places) for source, places in sorted(found.items())}

    return with_ingestion(config(folder, engine=engine), work)


def documents(root: Path, texts: dict[str, str]) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {source.removeprefix("d/"): each.status for source, each in outcomes.items()}


LONG = " ".join(f"Sentence {n} of this long document." for n in range(120))


@pytest.mark.row("T7")
@pytest.mark.parametrize("engine", ["edge", "local"])
def test_only_what_changed_is_read_again(tmp_path: Path, engine: Engine) -> None:
    """New, changed, unchanged, disappeared: each is told, and the collection holds what the folder holds."""
    root = documents(tmp_path / "d", {"a.md": "One.", "b.md": "Two.", "c.md": LONG})
    first = ingest(tmp_path, root, engine=engine)
    assert statuses(first) == {"a.md": "added", "b.md": "added", "c.md": "added"}
    documents(root, {"a.md": "One.", "b.md": "Two, changed.", "n.md": "New."})
    assert statuses(ingest(tmp_path, root, engine=engine)) == {
        "a.md": "unchanged", "b.md": "changed", "n.md": "added", "c.md": "deleted",
    }  # fmt: skip
    assert content(tmp_path, engine) == {
        "d/a.md": [(0, "One.")],
        "d/b.md": [(0, "Two, changed.")],
        "d/n.md": [(0, "New.")],
    }


def test_a_touched_file_is_unchanged(tmp_path: Path) -> None:
    """Content counts, not the time of the last change."""
    root = documents(tmp_path / "d", {"a.md": "One."})
    ingest(tmp_path, root)
    documents(root, {"a.md": "One."})
    assert statuses(ingest(tmp_path, root)) == {"a.md": "unchanged"}


def test_another_size_of_passages_reads_all_again(tmp_path: Path) -> None:
    """How a document is cut is part of what its passages are."""
    root = documents(tmp_path / "d", {"c.md": LONG})
    before = ingest(tmp_path, root)["d/c.md"].passages
    after = ingest(tmp_path, root, chunk={"tokens": 60, "overlap": 0})["d/c.md"]
    assert after.status == "changed"
    assert after.passages > before
    assert len(content(tmp_path)["d/c.md"]) == after.passages


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    """Not even the collection is made."""
    root = documents(tmp_path / "d", {"a.md": "One.", "b.md": "Two."})
    dry = statuses(ingest(tmp_path, root, dry=True))
    with pytest.raises(NotFoundError):
        content(tmp_path)
    assert dry == statuses(ingest(tmp_path, root))
    documents(root, {"b.md": "Changed."})
    assert statuses(ingest(tmp_path, root, dry=True)) == {"b.md": "changed", "a.md": "deleted"}
    assert set(content(tmp_path)) == {"d/a.md", "d/b.md"}


def test_two_folders_share_a_collection(tmp_path: Path) -> None:
    """What belongs to the other one is not deleted."""
    ingest(tmp_path, documents(tmp_path / "d", {"a.md": "One."}))
    ingest(tmp_path, documents(tmp_path / "e", {"b.md": "Two."}))
    assert set(content(tmp_path)) == {"d/a.md", "e/b.md"}


def test_what_cannot_be_read_is_kept_and_noted(tmp_path: Path) -> None:
    """Binary and empty files are noted; a stored document that turned into one goes."""
    root = documents(tmp_path / "d", {"a.md": "One.", "b.md": "Two."})
    ingest(tmp_path, root)
    (root / "a.md").write_bytes(b"\0\1\2")
    (root / "b.md").write_text(" \n")
    found = ingest(tmp_path, root)
    assert found["d/a.md"].status == "deleted"
    assert content(tmp_path) == {}


def test_a_folder_that_cannot_be_opened_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission or a broken mount: the documents may well be there."""
    root = documents(tmp_path / "d", {"a.md": "One."})
    (root / "sub").mkdir()
    (root / "sub" / "b.md").write_text("Two.")
    ingest(tmp_path, root)
    real = Path.open

    def refused(path: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever `open` takes
        if path.name == "b.md":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    found = ingest(tmp_path, root)["d/sub/b.md"]
    assert (found.status, found.note) == ("skipped", "Permission denied")
    assert set(content(tmp_path)) == {"d/a.md", "d/sub/b.md"}


@pytest.mark.row("T7")
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_cut_off_anywhere_and_run_again_it_ends_like_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Before or after any call that changes something, of a first run and of one that changes and deletes."""
    folder = tmp_path_factory.mktemp("cut")
    root = documents(folder / "d", {"a.md": LONG, "b.md": "Two.", "c.md": "Three."})
    if data.draw(st.booleans(), label="not the first run"):
        ingest(folder, root)
        documents(root, {"a.md": LONG.replace("long", "longer"), "c.md": "Three.", "n.md": "New."})
    at, after = data.draw(st.integers(0, 8), label="at"), data.draw(st.booleans(), label="after")

    async def work(ingestion: Ingestion, _: PassageIndex) -> None:
        async for _outcome in ingestion.run(Walk(root)):
            pass

    with contextlib.suppress(Cut):
        with_ingestion(config(folder), work, lambda real: BreakingConnection(real, at=at, after=after))
    again = ingest(folder, root)
    whole = folder / "whole"
    ingest(whole, root)
    assert content(folder) == content(whole)
    assert set(statuses(ingest(folder, root)).values()) == {"unchanged"}
    assert totals(list(again.values()))["passages"] == sum(map(len, content(whole).values()))


@pytest.mark.row("T7")
@pytest.mark.parametrize("texts", [{}, {"c.md": "Another project."}], ids=["mount away", "other folder"])
def test_a_folder_that_lost_everything_wipes_nothing(tmp_path: Path, texts: dict[str, str]) -> None:
    """An empty mount point, or another folder of the same name, is an error and changes nothing; `anew` believes it."""
    root = documents(tmp_path / "d", {"a.md": "One.", "b.md": "Two."})
    ingest(tmp_path, root)
    before = content(tmp_path)
    documents(root, texts)
    for dry in (True, False):
        with pytest.raises(ConflictError, match="all would be deleted"):
            ingest(tmp_path, root, dry=dry)
    assert content(tmp_path) == before
    assert statuses(ingest(tmp_path, root, anew=True))["a.md"] == "deleted"
    assert list(content(tmp_path)) == [f"d/{name}" for name in texts]


def test_what_is_left_out_of_a_document_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document above the limit goes in as far as it goes, and says so."""
    monkeypatch.setattr("llm_deploy.rag.chunking.MOST_PASSAGES", 3)
    monkeypatch.setattr("llm_deploy.rag.ingest.MOST_PASSAGES", 3)
    found = ingest(tmp_path, documents(tmp_path / "d", {"a.md": LONG}), chunk={"tokens": 16, "overlap": 0})
    assert (found["d/a.md"].passages, found["d/a.md"].note) == (3, "only its first 3 passages")
