"""`rag eval`: questions with the documents that answer them, asked under one or several settings of the steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from llm_deploy.errors import SpecError
from llm_deploy.rag import metrics
from llm_deploy.rag.config import StepsConfig
from llm_deploy.rag.duplicates import SAME_FROM, containment, shingles
from llm_deploy.rag.retrieval import AsyncContextRetriever, Retrieval
from llm_deploy.rag.sentences import sentences
from llm_deploy.rag.service import RagAnswer, RagService
from llm_deploy.rag.steps import Timings

LARGEST_FILE_BYTES = 4 * 1024 * 1024
MOST_QUESTIONS = 10_000
HEADERS = ("steps", "recall@k", "recall@1", "MRR", "nDCG", "repeats", "better/worse", "ms", "grounded", "cites")
_MEASURED = ("sparse", "rerank", "deduplicate")
_ASKING = ("expand", "self_query")
_CITATION = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """A question, and the sources any of which holds the answer."""

    text: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions, and folders that hold copies: a source in one counts as the one that it is a copy of."""

    questions: list[EvalQuestion]
    copies: Mapping[str, str] = field(default_factory=dict)

    def original(self, source: str) -> str:
        """The source itself, or the one that it is a copy of."""
        folder, _, rest = source.partition("/")
        return f"{self.copies[folder]}/{rest}" if folder in self.copies else source


@dataclass(frozen=True, slots=True)
class Report:
    """Means over all questions for one setting of the steps.

    Attributes:
        repeats: Share of the found passages that say what a better one says.
        better, worse: Questions whose reciprocal rank is above or below that of the first setting.
        timings: Mean seconds of each step.
        grounded: Share of the answers' sentences that their passages support; `None` where nothing was answered.
        cites: Share of the answers that name a passage that they were given.
    """

    name: str
    steps: StepsConfig
    k: int
    recall: float
    recall_at_1: float
    mrr: float
    ndcg: float
    repeats: float
    timings: Timings
    ranks: tuple[float, ...] = ()
    better: int = 0
    worse: int = 0
    grounded: float | None = None
    cites: float | None = None
    answers: tuple[RagAnswer, ...] = field(default=(), repr=False)

    def row(self) -> tuple[str, ...]:
        """For a table under `HEADERS`."""
        figures = (self.recall, self.recall_at_1, self.mrr, self.ndcg, self.repeats)
        total_ms = 1000 * sum(seconds for name, seconds in self.timings.items() if name != "first_token")
        asked = ("-" if value is None else f"{value:.2f}" for value in (self.grounded, self.cites))
        return (
            self.name,
            *(f"{value:.3f}" for value in figures),
            f"{self.better}/{self.worse}",
            f"{total_ms:.0f}",
            *asked,
        )

    def document(self) -> dict[str, Any]:
        """For JSON; without the answers."""
        found = asdict(replace(self, steps=StepsConfig(), answers=()))
        left_out = {"answers", "ranks", "steps", "timings"}
        kept = {name: value for name, value in found.items() if name not in left_out}
        return {**kept, "questions": len(self.ranks), "steps": self.steps.model_dump(), "timings_s": self.timings}


def load_questions(path: Path) -> QuestionSet:
    """Read `questions: [{q: "...", sources: ["docs/a.md"]}]`, and `copies: {archive: docs}` if there are any.

    Raises:
        SpecError: The file cannot be read, or is of another shape.
    """
    import yaml  # noqa: PLC0415 - only an evaluation reads it

    try:
        with path.open("rb") as file:
            document = yaml.safe_load(file.read(LARGEST_FILE_BYTES))
        listed = document["questions"][:MOST_QUESTIONS]
        copies = {str(name): str(of) for name, of in (document.get("copies") or {}).items()}
        return QuestionSet([EvalQuestion(str(each["q"]), _sources(each["sources"])) for each in listed], copies)
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            f"{path}: no list of questions ({error})", hint='Each is {q: "...", sources: ["folder/file.md"]}.'
        ) from error


async def compare(retriever: AsyncContextRetriever, questions: QuestionSet, k: int, *, ablate: bool) -> list[Report]:
    """One report for the configured steps, and with `ablate` one for each step switched the other way.

    Raises:
        SpecError: There are no questions.
        LlmDeployError: A search failed.
    """
    if not questions.questions:
        raise SpecError("there are no questions")
    steps = retriever.config.steps
    first = await measure(retriever, questions, k, steps, "as configured")
    others = variants(steps, asks=retriever.llm is not None) if ablate else []
    rest = [await measure(retriever, questions, k, each, name) for name, each in others]
    return [first, *(_compared(each, first) for each in rest)]


def variants(steps: StepsConfig, *, asks: bool) -> list[tuple[str, StepsConfig]]:
    """Each step switched the other way, and the bare search by vectors. `asks`: also those that ask a model."""
    bare = steps.model_copy(update=dict.fromkeys((*_MEASURED, *_ASKING), False))
    found = [("vectors only", bare), ("vectors and words only", bare.model_copy(update={"sparse": True}))]
    for name in (*_MEASURED, *(_ASKING if asks else ())):
        on = getattr(steps, name)
        found.append((f"{'without' if on else 'with'} {name}", steps.model_copy(update={name: not on})))
    unlike = [(name, each) for name, each in found if each != steps]
    return list({each.model_dump_json(): (name, each) for name, each in reversed(unlike)}.values())[::-1]


async def measure(
    retriever: AsyncContextRetriever, asked: QuestionSet, k: int, steps: StepsConfig, name: str
) -> Report:
    """Ask all questions one after the other, so that times are of a search alone."""
    found = [await retriever.search(each.text, k, steps=steps) for each in asked.questions]
    ranked = [[asked.original(hit.passage.source) for hit in each.hits] for each in found]
    pairs = list(zip(ranked, (each.sources for each in asked.questions), strict=True))
    ranks = tuple(metrics.reciprocal_rank(*pair) for pair in pairs)
    return Report(
        name=name,
        steps=steps,
        k=k,
        recall=fmean(metrics.recall(*pair) for pair in pairs),
        recall_at_1=fmean(metrics.recall(places[:1], wanted) for places, wanted in pairs),
        mrr=fmean(ranks),
        ndcg=fmean(metrics.ndcg(*pair, k) for pair in pairs),
        repeats=fmean(map(_repeats, found)),
        timings=_mean_timings(each.timings for each in found),
        ranks=ranks,
    )


async def with_answers(report: Report, service: RagService, asked: QuestionSet) -> Report:
    """The report with what the language model makes of the passages."""
    answers = [await service.answer(each.text, report.k) for each in asked.questions]
    grounded = [await groundedness(service, answer) for answer in answers]
    return replace(
        report,
        grounded=fmean(grounded),
        cites=fmean(bool(answer.cited) for answer in answers),
        timings=_mean_timings(answer.timings for answer in answers),
        answers=tuple(answers),
    )


async def groundedness(service: RagService, answer: RagAnswer) -> float:
    """The share of the answer's sentences that the passages in its prompt support; see `metrics.supported`."""
    said = sentences(_CITATION.sub("", answer.answer))
    texts = [each.text for each in answer.citations]
    parts = [sentence for text in texts for sentence in sentences(text)]
    embed = service.retriever.embedder.embed
    return metrics.supported(said, await embed(said, "passage"), texts, await embed(parts, "passage"))


def _sources(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - YAML
    found = tuple(map(str, value if isinstance(value, list) else [value]))
    if not found:
        raise ValueError("a question without sources")
    return found


def _compared(report: Report, first: Report) -> Report:
    pairs = list(zip(report.ranks, first.ranks, strict=True))
    return replace(report, better=sum(a > b for a, b in pairs), worse=sum(a < b for a, b in pairs))


def _repeats(found: Retrieval) -> float:
    seen: list[set[tuple[str, ...]]] = []
    repeated = 0
    for hit in found.hits:
        own = shingles(hit.passage.text)
        repeated += any(containment(own, other) >= SAME_FROM for other in seen)
        seen.append(own)
    return repeated / len(seen) if seen else 0.0


def _mean_timings(each: Iterable[Timings]) -> Timings:
    all_of_them = list(each)
    names = dict.fromkeys(name for timings in all_of_them for name in timings)
    return {name: fmean(timings.get(name, 0.0) for timings in all_of_them) for name in names}
