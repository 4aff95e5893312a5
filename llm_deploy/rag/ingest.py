"""Bringing a collection in line with a folder: new and changed files in, what disappeared out.

The collection is the only record. Every passage carries the digest of its document's bytes and of how they were read,
and how many passages that made; a document with all of them is left alone. Points are named by source, digest and
place, so that a run that was cut off anywhere and started again writes the same points and nothing twice. New passages
go in before those they replace go out: a search in between finds one of them, or both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Literal

from llm_deploy.errors import ConflictError, NotFoundError
from llm_deploy.rag import loaders
from llm_deploy.rag.chunking import MOST_PASSAGES, passages
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.embedding import Embedder
from llm_deploy.rag.files import Found, LeftOut, Walk
from llm_deploy.rag.index import Entry, PassageIndex, Stored
from llm_deploy.rag.loaders import Document, UnreadableError

Status = Literal["added", "changed", "unchanged", "deleted", "skipped", "empty"]

AT_ONCE = 4
"""Documents under way together; more would only hold more text in memory."""
BATCH_PASSAGES = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one document.

    Attributes:
        note: Why it was skipped, or what of it was left out.
        passages: How many it has now; 0 in a dry run, which does not cut it.
        kept: Whether what is stored of it stays because it may well be there: it could not be read.
    """

    source: str
    status: Status
    passages: int = 0
    note: str = ""
    kept: bool = False


class Ingestion:
    """One run over one root.

    Args:
        config: How documents are cut.
        embedder: Started here.
        index: Its collection is made here if there is none.
    """

    def __init__(self, config: RagConfig, embedder: Embedder, index: PassageIndex) -> None:
        self._config = config
        self._embedder = embedder
        self._index = index

    async def run(self, walk: Walk, *, dry: bool = False, anew: bool = False) -> AsyncIterator[Outcome]:
        """Each file's outcome as it is reached, then what was deleted. A dry run says the same and changes nothing.

        Args:
            walk: The files.
            dry: Change nothing.
            anew: Also when not one stored document is there any more.

        Raises:
            ConflictError: All that is stored of this root would be deleted: a mount that is away looks like that, and
                another folder of the same name. Nothing was changed.
            IndexUnavailableError, ConflictError: See `PassageIndex`.
            LlmDeployError: The embedding model failed; what was done stays, and another run goes on from there.
        """
        stored = await self._stored(dry=dry)
        if not anew:
            await asyncio.to_thread(_check_any_left, walk, stored.keys())
        there: set[str] = set()
        unknown: list[str] = []
        files = iter(walk)
        while group := await asyncio.to_thread(lambda: list(islice(files, AT_ONCE))):
            works = (self._one(each, stored.get(each.source), walk.largest_bytes, dry=dry) for each in group)
            for outcome in await asyncio.gather(*works):
                if outcome.kept:
                    unknown.append(outcome.source)
                elif outcome.status not in {"skipped", "empty"}:
                    there.add(outcome.source)
                yield outcome
        async for outcome in self._gone(walk, stored.keys() - there, unknown, dry=dry):
            yield outcome

    async def _stored(self, *, dry: bool) -> Mapping[str, Stored]:
        if not dry:
            await self._index.ensure()
            return await self._index.inventory()
        try:
            await self._index.check()
        except NotFoundError:
            return {}
        return await self._index.inventory()

    async def _one(self, found: Found | LeftOut, stored: Stored | None, most_bytes: int, *, dry: bool) -> Outcome:
        if isinstance(found, LeftOut):
            return Outcome(found.source, "skipped", note=found.reason, kept=found.kept)
        try:
            data = await asyncio.to_thread(_read, found.path, most_bytes)
        except OSError as error:
            return Outcome(found.source, "skipped", note=error.strerror or "unreadable", kept=True)
        digest = self._digest(data)
        if stored is not None and stored.is_whole(digest):
            return Outcome(found.source, "unchanged", stored.whole)
        try:
            document = await asyncio.to_thread(loaders.load, found.source, data, modified=found.modified)
        except UnreadableError as error:
            return Outcome(found.source, "skipped", note=str(error))
        if not document.blocks:
            return Outcome(found.source, "empty")
        number = 0 if dry else await self._write(document, digest)
        note = f"only its first {number} passages" if number >= MOST_PASSAGES else document.note
        return Outcome(found.source, "added" if stored is None else "changed", number, note)

    async def _write(self, document: Document, digest: str) -> int:
        cut = await passages(
            document, self._config.chunk, self._embedder.count_tokens, most_tokens=self._embedder.max_tokens
        )
        for start in range(0, len(cut), BATCH_PASSAGES):
            batch = cut[start : start + BATCH_PASSAGES]
            vectors = await self._embedder.embed([each.embedded for each in batch], "passage")
            entries = [Entry(*pair) for pair in zip(batch, vectors, strict=True)]
            await self._index.write(entries, digest=digest, whole=len(cut))
        await self._index.forget(document.source, but=digest)
        return len(cut)

    async def _gone(self, walk: Walk, sources: set[str], unknown: list[str], *, dry: bool) -> AsyncIterator[Outcome]:
        for source in sorted(sources):
            if not walk.covers(source) or _is_below(source, unknown):
                continue
            if not dry:
                await self._index.forget(source)
            yield Outcome(source, "deleted")

    def _digest(self, data: bytes) -> str:
        """Of the bytes and of everything that decides what becomes of them."""
        recipe = f"{loaders.VERSION}\0{self._config.chunk.model_dump_json()}\0{self._config.embedding.passage_prefix}"
        return blake2b(data, digest_size=16, key=blake2b(recipe.encode(), digest_size=32).digest()).hexdigest()


def _check_any_left(walk: Walk, stored: Iterable[str]) -> None:
    """Look for one stored document that is still there, or may be; mostly the first file is."""
    own = {source for source in stored if walk.covers(source)}

    def stays(each: Found | LeftOut) -> bool:
        unknown = isinstance(each, LeftOut) and each.kept
        return each.source in own or (unknown and any(_is_below(source, [each.source]) for source in own))

    if own and not any(map(stays, walk)):
        raise ConflictError(
            f"none of the {len(own)} stored documents of {walk.name!r} is in {walk.root}: all would be deleted",
            hint="A mount that is away? Another folder of that name? Give this one a --name; to replace all: --anew.",
        )


def _read(path: Path, most_bytes: int) -> bytes:
    """What is there now, up to a limit: it may have grown since it was looked at."""
    with path.open("rb") as file:
        return file.read(most_bytes)


def _is_below(source: str, folders: list[str]) -> bool:
    return any(source == each or source.startswith(f"{each}/") for each in folders)


def totals(outcomes: Iterator[Outcome] | list[Outcome]) -> dict[str, int]:
    """How many of each status, and the passages that there are now."""
    found: dict[str, int] = {}
    for each in outcomes:
        found[each.status] = found.get(each.status, 0) + 1
        found["passages"] = found.get("passages", 0) + each.passages
    return found
