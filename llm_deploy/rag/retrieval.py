"""A query's way to passages: expand, filter, embed, search, rerank, drop what repeats. Each step can be left out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from llm_deploy.client.inference import AsyncInference
from llm_deploy.errors import SpecError
from llm_deploy.rag import embedding, expansion, reranking, selfquery, words
from llm_deploy.rag.config import RagConfig, StepsConfig
from llm_deploy.rag.connection import connect
from llm_deploy.rag.duplicates import without_duplicates
from llm_deploy.rag.embedding import Embedder
from llm_deploy.rag.filters import Filters, checked
from llm_deploy.rag.index import PassageIndex, Question
from llm_deploy.rag.passages import Hit
from llm_deploy.rag.reranking import Reranker
from llm_deploy.rag.steps import Timings, step
from llm_deploy.tracing import conventions
from llm_deploy.tracing.spans import Span

FUSION_K = 10
"""How much the first places count above the next; 3 to 30 made little difference in docs/explanation/rag-evaluation.md.

Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion" (2009), for the formula.
"""
CHOICES_KEPT_S = 300.0


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a search found, and how.

    Attributes:
        queries: All wordings that were searched for, the caller's own first.
        filters: What the search was narrowed to, by the caller and by the query itself.
        timings: Seconds by step.
        notes: What went another way than it was configured, in words.
    """

    hits: tuple[Hit, ...]
    queries: tuple[str, ...]
    filters: Filters = field(default_factory=dict)
    timings: Timings = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class AsyncContextRetriever:
    """Searches one collection on an event loop; several searches may run at once.

    Args:
        config: Collection, models and steps.
        llm: For the steps that ask a language model; without one they must be off.
        embedder, reranker, index: Made from the configuration where they are not given.
    """

    def __init__(
        self,
        config: RagConfig,
        llm: AsyncInference | None = None,
        *,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        index: PassageIndex | None = None,
    ) -> None:
        if llm is None and (config.steps.expand or config.steps.self_query):
            raise SpecError("steps.expand and steps.self_query ask a language model, and none was given")
        self.config = config
        self.llm = llm
        self.embedder = embedder or embedding.make(config.embedding)
        self._reranker = reranker
        self._index = index
        self._connection = None if index else connect(config.store)
        self._is_checked = False
        self._choices: Mapping[str, Sequence[str]] | None = None
        self._choices_until_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def index(self) -> PassageIndex:
        """The collection, once the embedder is started; it need not exist yet."""
        if self._index is None:
            await self.embedder.start()
            assert self._connection is not None  # noqa: S101 - for the type checker; see the constructor
            self._index = PassageIndex(
                self._connection,
                self.config.collection,
                embedding=self.embedder.name,
                dimensions=self.embedder.dimensions,
                store=self.config.store,
            )
        return self._index

    async def ready(self) -> None:
        """Load what a search needs, and see that the collection is there and fits.

        Raises:
            NotFoundError, ConflictError, IndexUnavailableError: See `PassageIndex.check`.
        """
        await self.embedder.start()
        await (await self.index()).check()
        self._is_checked = True

    async def search(
        self, query: str, k: int | None = None, *, filters: Filters | None = None, steps: StepsConfig | None = None
    ) -> Retrieval:
        """The best passages for a query, best first.

        Args:
            query: What is looked for.
            k: Most passages; the configuration's if it is not said.
            filters: See `rag.filters`.
            steps: For this search alone, instead of the configuration's.

        Raises:
            SpecError: An empty or too long query, a filter on something unknown, or a `k` below 1.
            NotFoundError, ConflictError, IndexUnavailableError: See `PassageIndex.check`; it is asked once.
            LlmDeployError: A model failed.
        """
        asked, wanted = self._checked(query), self.config.k if k is None else k
        narrowed, chosen = checked(filters), steps or self.config.steps
        if wanted < 1:
            raise SpecError(f"k is {wanted}; at least one passage must be wanted")
        if not self._is_checked:
            await self.ready()
        timings: Timings = {}
        index = await self.index()
        queries = (asked, *await self._expanded(asked, chosen, timings))
        own = await self._own_filter(index, asked, chosen, timings)
        questions = await self._questions(queries, chosen, timings)
        with step("retrieve", timings) as seen:
            seen.set(**conventions.retrieval(self.config.collection, limit=wanted, url=self.config.store.url))
            seen.set(**conventions.queries(asked, queries[1:]))
            limit = max(wanted, self.config.candidates)
            notes: tuple[str, ...] = ()
            hits = await index.search(questions, limit, {**own, **narrowed})
            if len(hits) < wanted and own:
                notes = (_dropped(own, len(hits), wanted),)
                own, hits = {}, await index.search(questions, limit, narrowed)
            _note(seen, hits)
        hits = await self._reranked(asked, hits, chosen, timings)
        if chosen.deduplicate:
            with step("deduplicate", timings):
                hits = await asyncio.to_thread(without_duplicates, hits, most=wanted)  # hundreds of copies take a while
        return Retrieval(tuple(hits[:wanted]), queries, {**own, **narrowed}, timings, notes)

    async def aclose(self) -> None:
        """Let go of models and index; harmless when called again."""
        if self._reranker is not None:
            await self._reranker.aclose()
        await self.embedder.aclose()
        if self._connection is not None:
            await self._connection.aclose()

    def _checked(self, query: str) -> str:
        asked = query.strip()
        if not asked:
            raise SpecError("the query is empty")
        if len(asked) > self.config.max_query_characters:
            raise SpecError(f"the query has {len(asked)} characters; {self.config.max_query_characters} are allowed")
        return asked

    async def _expanded(self, query: str, steps: StepsConfig, timings: Timings) -> list[str]:
        if not steps.expand or self.llm is None:
            return []
        with step("expand", timings) as seen:
            return await expansion.wordings(self.llm, query, self.config.expansions, seen)

    async def _own_filter(self, index: PassageIndex, query: str, steps: StepsConfig, timings: Timings) -> Filters:
        if not steps.self_query or self.llm is None:
            return {}
        with step("self_query", timings) as seen:
            found = await selfquery.filter_of(self.llm, query, await self._known_values(index))
            seen.set(**{f"{conventions.CONTENT_PREFIX}filter": dict(found)})
            return found

    async def _known_values(self, index: PassageIndex) -> Mapping[str, Sequence[str]]:
        """What a filter may choose from; read again now and then, since ingesting goes on beside."""
        if self._choices is None or time.monotonic() > self._choices_until_s:
            self._choices = await index.values(selfquery.CHOSEN_FIELDS, most=selfquery.MOST_CHOICES + 1)
            self._choices_until_s = time.monotonic() + CHOICES_KEPT_S
        return self._choices

    async def _questions(self, queries: Sequence[str], steps: StepsConfig, timings: Timings) -> list[Question]:
        with step("embed", timings) as seen:
            seen.set(**{conventions.REQUEST_MODEL: self.embedder.name})
            vectors = await self.embedder.embed(queries, "query")
        sparse = [words.query_vector(query) if steps.sparse else None for query in queries]
        return [Question(*each) for each in zip(vectors, sparse, strict=True)]

    async def _reranked(self, query: str, hits: list[Hit], steps: StepsConfig, timings: Timings) -> list[Hit]:
        if not steps.rerank or not hits:
            return hits
        if self._reranker is None:
            self._reranker = reranking.make(self.config.rerank, self.embedder)
        first, rest = hits[: self.config.rerank.candidates], hits[self.config.rerank.candidates :]
        with step("rerank", timings) as seen:
            seen.set(**{conventions.REQUEST_MODEL: self._reranker.name})
            scores = await self._reranker.scores(query, [hit.passage.embedded for hit in first])
            ordered = reordered(first, scores, fused=self.config.rerank.fuses)
            _note(seen, ordered)
        return [*ordered, *rest]


def reordered(hits: Sequence[Hit], scores: Sequence[float], *, fused: bool) -> list[Hit]:
    """The hits by their new scores; `fused`: by their places in both orders (reciprocal rank fusion)."""
    ranking = sorted(range(len(hits)), key=lambda place: -scores[place])
    final = list(scores)
    if fused:
        for new, old in enumerate(ranking):
            final[old] = 1 / (FUSION_K + old) + 1 / (FUSION_K + new)
    found = [
        replace(hit, score=score, scores={**hit.scores, "rerank": raw})
        for hit, score, raw in zip(hits, final, scores, strict=True)
    ]
    return sorted(found, key=lambda hit: -hit.score)


def _dropped(own: Filters, found: int, wanted: int) -> str:
    """A filter that a model read out of the query is a guess; one that leaves too little was a wrong one."""
    return f"the filter {json.dumps(own)} read out of the query left {found} of {wanted} passages and was dropped"


def _note(seen: Span, hits: Sequence[Hit]) -> None:
    if seen.recording:
        found = [{"id": _place(hit), "score": hit.score, "content": hit.passage.text} for hit in hits]
        seen.set(**conventions.documents(found))


def _place(hit: Hit) -> str:
    return f"{hit.passage.source}#{hit.passage.ordinal}"
