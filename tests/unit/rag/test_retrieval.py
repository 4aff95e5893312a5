"""The steps of a search, each on and off, over a real embedded Qdrant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_deploy.errors import ConflictError, InferenceError, NotFoundError, SpecError
from llm_deploy.rag.config import RagConfig
from llm_deploy.rag.embedding import Role
from llm_deploy.rag.passages import Hit, Passage
from llm_deploy.rag.reranking.late import LateInteraction
from llm_deploy.rag.retrieval import AsyncContextRetriever, Retrieval, reordered
from tests.fakes.rag import SayingLlm, WordEmbedder, config, fill

TEXT = "The canary alarm stops a deployment when errors rise above the limit that was set for it."
PASSAGES = [
    Passage(TEXT, "a.md"),
    Passage(f"{TEXT} Really.", "archive/a.md"),
    Passage("An alarm clock rings in the morning.", "b.md", kind="text"),
    Passage("Deployment of flour mills.", "c.pdf", kind="pdf"),
]


class Backwards:
    """See `Reranker`: the last is the best."""

    name = "backwards"

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:  # noqa: ARG002 - the Protocol's
        """See `Reranker.scores`."""
        return [float(place) for place in range(len(texts))]

    async def aclose(self) -> None:
        """See `Reranker.aclose`."""


def search(settings: RagConfig, query: str, llm: SayingLlm | None = None, k: int = 4) -> Retrieval:
    async def main() -> Retrieval:
        embedder = WordEmbedder()
        async with AsyncContextRetriever(settings, llm, embedder=embedder, reranker=Backwards()) as retriever:
            await fill(await retriever.index(), embedder, PASSAGES)
            return await retriever.search(query, k)

    return asyncio.run(main())


def sources(found: Retrieval) -> list[str]:
    return [each.passage.source for each in found.hits]


@pytest.mark.row("T7")
def test_near_duplicates_are_dropped(tmp_path: Path) -> None:
    """Of two passages that say the same the better one stays; without the step both do."""
    kept = search(config(tmp_path), "canary alarm limit")
    assert len({"a.md", "archive/a.md"} & set(sources(kept))) == 1
    both = search(config(tmp_path, steps={"deduplicate": False}), "canary alarm limit")
    assert {"a.md", "archive/a.md"} <= set(sources(both))


@pytest.mark.row("T7")
def test_a_reranker_orders_anew(tmp_path: Path) -> None:
    """Its order is the order, where it is not fused; both scores are kept."""
    steps = {"rerank": True, "deduplicate": False}
    plain = search(config(tmp_path, steps={"deduplicate": False}), "canary alarm")
    turned = search(config(tmp_path, steps=steps, rerank={"fused": False}), "canary alarm")
    assert sources(turned) == sources(plain)[::-1]
    assert set(turned.hits[0].scores) == {"fused", "rerank"}


def test_fusing_lets_both_orders_count() -> None:
    """What is good in both comes first."""
    hits = [Hit(Passage(name, name), 1.0, {}) for name in "abc"]
    found = reordered(hits, [0.5, 0.9, 0.1], fused=True)
    assert [each.passage.source for each in found] == ["a", "b", "c"] or found[0].passage.source in {"a", "b"}
    assert found[-1].passage.source == "c"


@pytest.mark.row("T7")
def test_each_step_that_ran_has_its_time(tmp_path: Path) -> None:
    """And no other."""
    assert set(search(config(tmp_path), "alarm").timings) == {"embed", "retrieve", "deduplicate"}
    bare = config(tmp_path, steps={"deduplicate": False, "sparse": False})
    assert set(search(bare, "alarm").timings) == {"embed", "retrieve"}


@pytest.mark.row("T7")
def test_expansion_searches_for_other_wordings_as_well(tmp_path: Path) -> None:
    """The model's wordings are searched together with the query; its answer is bound to a schema."""
    llm = SayingLlm(json.dumps({"queries": ["flour mills", "flour mills", "morning", 3]}))
    found = search(config(tmp_path, steps={"expand": True}), "canary", llm)
    assert found.queries == ("canary", "flour mills", "morning")
    assert {"c.pdf", "b.md"} <= set(sources(found))
    assert llm.requests[0].json_schema is not None


@pytest.mark.parametrize("said", ["no JSON", "[]", "{}", '{"queries": 3}', '{"queries": ["CANARY"]}'])
def test_an_expansion_that_is_none_changes_nothing(tmp_path: Path, said: str) -> None:
    """A small model says anything."""
    found = search(config(tmp_path, steps={"expand": True}), "canary", SayingLlm(said))
    assert found.queries == ("canary",)


@pytest.mark.row("T7")
def test_self_query_narrows_to_what_the_collection_holds(tmp_path: Path) -> None:
    """The model may choose among known fields and values only, and the grammar offers nothing else."""
    llm = SayingLlm(json.dumps({"kind": ["pdf"], "colour": ["red"], "title": ["unknown"]}))
    found = search(config(tmp_path, steps={"self_query": True}), "deployment in the PDF", llm, k=1)
    assert found.filters == {"kind": ["pdf"]}
    assert found.notes == ()
    assert sources(found) == ["c.pdf"]
    schema = llm.requests[0].json_schema or {}
    assert set(schema["properties"]) == {"kind"}
    assert set(schema["properties"]["kind"]["items"]["enum"]) == {"text", "pdf"}


@pytest.mark.parametrize("said", ["no JSON", "[1]", '{"kind": 3}', '{"kind": ["docx"]}', "[" * 5000])
def test_a_filter_that_is_none_narrows_nothing(tmp_path: Path, said: str) -> None:
    """Better all passages than none."""
    found = search(config(tmp_path, steps={"self_query": True}), "alarm", SayingLlm(said))
    assert found.filters == {}
    assert found.hits


def test_steps_that_ask_a_model_need_one(tmp_path: Path) -> None:
    """Said at once, not at the first query."""
    with pytest.raises(SpecError, match="language model"):
        AsyncContextRetriever(config(tmp_path, steps={"expand": True}))


@pytest.mark.parametrize(("query", "said"), [(" ", "empty"), ("x" * 4001, "4001 characters")])
def test_wrong_queries_are_refused(tmp_path: Path, query: str, said: str) -> None:
    """Before anything is embedded."""
    with pytest.raises(SpecError, match=said):
        search(config(tmp_path), query)


def test_readiness_says_what_is_missing(tmp_path: Path) -> None:
    """No collection yet."""

    async def main() -> None:
        async with AsyncContextRetriever(config(tmp_path), embedder=WordEmbedder()) as retriever:
            with pytest.raises(NotFoundError, match="no collection"):
                await retriever.ready()

    asyncio.run(main())


def test_late_interaction_scores_the_best_sentence() -> None:
    """A long passage with one right sentence beats one that is vaguely about it; sentences are embedded once."""

    async def main() -> None:
        embedder = WordEmbedder()
        late = LateInteraction(embedder, remembered=4)
        texts = ["Bread is good. The canary stops. Birds sing.", "Canary birds eat bread and flour and seeds."]
        first = await late.scores("canary stops", texts)
        assert first[0] > first[1]
        before = len(embedder.embedded)
        assert await late.scores("canary stops", texts) == first
        assert embedder.embedded[before:] == ["canary stops"]

    asyncio.run(main())


def test_a_failing_embedder_is_not_hidden(tmp_path: Path) -> None:
    """Its error comes out as it is."""

    class Failing(WordEmbedder):
        async def embed(self, *_: object) -> list[list[float]]:
            raise InferenceError("no model")

    search(config(tmp_path), "x")  # makes the collection

    async def main() -> None:
        async with AsyncContextRetriever(config(tmp_path), embedder=Failing()) as retriever:
            with pytest.raises(InferenceError, match="no model"):
                await retriever.search("x")

    asyncio.run(main())


@pytest.mark.row("T7")
def test_the_first_search_sees_whose_vectors_they_are(tmp_path: Path) -> None:
    """Also without `ready`: vectors of two models have nothing to say to each other, even of one length."""
    search(config(tmp_path), "x")

    async def main() -> None:
        async with AsyncContextRetriever(config(tmp_path), embedder=WordEmbedder("other")) as retriever:
            with pytest.raises(ConflictError, match="embedding model words"):
                await retriever.search("x")

    asyncio.run(main())


@pytest.mark.parametrize("k", [0, -1])
def test_at_least_one_passage_must_be_wanted(tmp_path: Path, k: int) -> None:
    """A negative number would count from the end."""
    with pytest.raises(SpecError, match="at least one"):
        search(config(tmp_path), "x", k=k)


@pytest.mark.row("T7")
def test_a_filter_that_leaves_too_little_is_dropped(tmp_path: Path) -> None:
    """What a model reads out of a query is a guess: all is searched then, and the answer says so."""
    llm = SayingLlm(json.dumps({"kind": ["pdf"]}))
    found = search(config(tmp_path, steps={"self_query": True}), "canary alarm", llm, k=3)
    assert found.filters == {}
    assert "a.md" in sources(found)
    assert "1 of 3 passages" in found.notes[0]
    assert "pdf" in found.notes[0]


def test_a_filter_of_the_caller_is_never_dropped(tmp_path: Path) -> None:
    """Whatever it leaves; it may be what somebody is allowed to see."""

    async def main() -> Retrieval:
        embedder, llm = WordEmbedder(), SayingLlm(json.dumps({"kind": ["text"]}))
        settings = config(tmp_path, steps={"self_query": True})
        async with AsyncContextRetriever(settings, llm, embedder=embedder) as retriever:
            await fill(await retriever.index(), embedder, PASSAGES)
            return await retriever.search("alarm", 3, filters={"source": "c.pdf"})

    found = asyncio.run(main())
    assert (sources(found), found.filters) == (["c.pdf"], {"source": "c.pdf"})


def test_late_interaction_forgets_while_others_wait() -> None:
    """Searches beside each other may push out each other's sentences; none of them fails."""

    class Slow(WordEmbedder):
        async def embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
            await asyncio.sleep(0)
            return await super().embed(texts, role)

    async def main() -> list[list[float]]:
        late = LateInteraction(Slow(), remembered=1)
        texts = ["One bird sings.", "Two birds sing.", "Three birds."]
        return await asyncio.gather(*(late.scores("birds", [texts[0], each]) for each in texts * 3))

    assert all(each[0] == pytest.approx(found[0][0]) for found in [asyncio.run(main())] for each in found)
