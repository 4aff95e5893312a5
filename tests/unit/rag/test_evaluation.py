"""Figures of rankings and answers."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from llm_deploy.errors import SpecError
from llm_deploy.rag import evaluation, metrics
from llm_deploy.rag.config import StepsConfig
from llm_deploy.rag.evaluation import EvalQuestion, QuestionSet, load_questions
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.retrieval import AsyncContextRetriever
from llm_deploy.rag.service import RagService
from tests.conftest import ROOT
from tests.fakes.rag import SayingLlm, WordEmbedder, config, fill

NAMES = st.lists(st.sampled_from("abcdef"), max_size=8)


@given(NAMES, NAMES)
def test_figures_are_shares(found: list[str], wanted: list[str]) -> None:
    """All between 0 and 1; 1 exactly where the wanted ones come first and all of them."""
    for measure in (metrics.recall, metrics.reciprocal_rank, metrics.ndcg):
        assert 0 <= measure(found, wanted) <= 1.0000001
    if wanted:
        ideal = [*dict.fromkeys(wanted), *found]
        assert metrics.recall(ideal, wanted) == metrics.reciprocal_rank(ideal, wanted) == 1
        assert metrics.ndcg(ideal, wanted) == pytest.approx(1)


@given(NAMES, st.sampled_from("abc"))
def test_a_better_place_is_never_worth_less(found: list[str], wanted: str) -> None:
    """Moving the wanted one to the front lowers no figure."""
    front = [wanted, *(each for each in found if each != wanted)]
    for measure in (metrics.recall, metrics.reciprocal_rank, metrics.ndcg):
        assert measure(front, [wanted]) >= measure(found, [wanted])


@pytest.mark.parametrize(
    ("found", "rank", "gain"), [(["x", "a"], 0.5, 0.6309), (["a", "a"], 1.0, 1.0), (["x"], 0.0, 0.0)]
)
def test_known_values(found: list[str], rank: float, gain: float) -> None:
    """By hand: 1/log2(3) for the second place; the same source twice counts once."""
    assert metrics.reciprocal_rank(found, ["a"]) == rank
    assert metrics.ndcg(found, ["a"]) == pytest.approx(gain, abs=1e-4)


def test_a_sentence_is_supported_by_vectors_or_by_words() -> None:
    """Either is enough; neither is none."""
    near, far = [1.0, 0.0], [0.0, 1.0]
    assert metrics.supported(["x"], [near], ["other words"], [near]) == 1
    assert metrics.supported(["alarm stops deployment"], [near], ["the alarm stops a deployment"], [far]) == 1
    assert metrics.supported(["alarm stops deployment", "y"], [near, near], ["birds"], [far]) == 0
    assert metrics.supported([], [], ["birds"], [far]) == 0


def test_every_step_is_switched_once() -> None:
    """Also the bare searches; those that ask a model only where there is one; nothing twice."""
    found = evaluation.variants(StepsConfig(), asks=False)
    assert {name for name, _ in found} >= {"vectors only", "without sparse", "with rerank"}
    assert len({each.model_dump_json() for _, each in found}) == len(found)
    assert all(each != StepsConfig() for _, each in found)
    assert {"with expand", "with self_query"} <= {name for name, _ in evaluation.variants(StepsConfig(), asks=True)}


@pytest.mark.row("T7")
def test_an_evaluation_measures_search_and_answers(tmp_path: Path) -> None:
    """Known passages, known questions: known figures. A copy counts as its original."""
    settings = config(tmp_path, k=1)
    questions = QuestionSet(
        [EvalQuestion("canary", ("docs/a.md",)), EvalQuestion("flour", ("docs/b.md",)), EvalQuestion("x", ("no.md",))],
        {"archive": "docs"},
    )

    async def main() -> list[evaluation.Report]:
        embedder, llm = WordEmbedder(), SayingLlm("The canary sings [1]. Nothing else holds.")
        retriever = AsyncContextRetriever(settings, embedder=embedder)
        async with RagService(settings, retriever, llm) as service:
            passages = [Passage("The canary sings.", "archive/a.md"), Passage("Flour.", "docs/b.md")]
            await fill(await retriever.index(), embedder, passages)
            reports = await evaluation.compare(retriever, questions, 1, ablate=True)
            return [await evaluation.with_answers(reports[0], service, questions), *reports[1:]]

    first, *rest = asyncio.run(main())
    assert first.recall == first.mrr == first.recall_at_1 == pytest.approx(2 / 3)
    assert first.cites == 1
    assert 0 < (first.grounded or 0) < 1
    assert first.document()["questions"] == 3
    assert len(first.row()) == len(evaluation.HEADERS)
    assert rest
    assert all(each.better == each.worse == 0 for each in rest)


@pytest.mark.row("T7")
def test_the_questions_in_the_repository_are_answerable() -> None:
    """At least 60, no one twice, each with documents that exist."""
    found = load_questions(ROOT / "benchmarks" / "rag_questions" / "project.yaml").questions
    assert len(found) >= 60
    assert len({each.text for each in found}) == len(found)
    assert [source for each in found for source in each.sources if not (ROOT / source).is_file()] == []


@pytest.mark.parametrize(
    "text", ["questions: 3", "[]", "questions: [{q: x}]", "questions: [{q: x, sources: []}]", "a: ["]
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    """With an example of the right one."""
    path = tmp_path / "q.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"q\.yaml"):
        load_questions(path)


@pytest.mark.row("T7")
def test_gain_is_measured_against_all_places() -> None:
    """By hand: one of three wanted ones, found first; two places stay empty, and the best has three."""
    best = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg(["a"], ["a", "b", "c"], 4) == pytest.approx(1 / best)
    assert metrics.ndcg(["x", "a", "b"], ["a", "b", "c"], 3) == pytest.approx((1 / math.log2(3) + 1 / 2) / best)
    assert metrics.ndcg(["a", "b"], ["a", "b", "c"], 2) == 1


def test_the_time_to_the_first_token_counts_once() -> None:
    """It is part of the time to the whole answer."""
    report = evaluation.Report(
        "x", StepsConfig(), 4, 1, 1, 1, 1, 0, {"embed": 0.25, "first_token": 0.5, "generate": 1.0}
    )
    assert report.row()[7] == "1250"
