"""The seed's calls, which block."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_deploy.client.executor import InferenceExecutor
from llm_deploy.errors import NotFoundError
from llm_deploy.rag import ContextRetriever, call_llm_service, to_context
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.retrieval import AsyncContextRetriever
from tests.fakes.rag import WordEmbedder, config, fill


class Echo:
    """See `Inference`: gives the prompt back."""

    def set_payload(self, inputs: object, parameters: object = None) -> None:  # noqa: ARG002 - the Protocol's
        """See `Inference.set_payload`."""
        self.inputs = inputs

    def inference(self) -> str:
        """See `Inference.inference`."""
        return str(self.inputs)


@pytest.fixture
def retriever(tmp_path: Path) -> ContextRetriever:
    """Over three passages."""
    found = ContextRetriever(config(tmp_path))
    embedder = WordEmbedder()
    inner = AsyncContextRetriever(config(tmp_path), embedder=embedder)
    found._retriever = inner

    async def make() -> None:
        await fill(await inner.index(), embedder, [Passage(f"Number {n} is prime.", f"{n}.md") for n in (3, 5, 7)])

    found._loop.run(make())
    return found


@pytest.mark.row("T7")
def test_the_seeds_own_calls(retriever: ContextRetriever) -> None:
    """Search, context, answer, in the seed's names."""
    with retriever:
        documents = retriever.search("Which number is prime?", k=2)
    context = to_context(documents)
    assert len(documents) == 2
    assert "is prime." in InferenceExecutor(Echo(), "Which number is prime?", context).execute()
    assert context in call_llm_service("Which number is prime?", context, Echo())


def test_threads_share_one(retriever: ContextRetriever) -> None:
    """Any number of them, over one loop."""
    with retriever, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: retriever.search(f"number {n}", k=3)[0].passage.source, [3, 5, 7] * 8))
    assert found == ["3.md", "5.md", "7.md"] * 8


def test_closing_ends_the_thread(retriever: ContextRetriever) -> None:
    """And closing again does nothing."""
    retriever.search("prime")
    own = [each for each in threading.enumerate() if each.name == "rag"]
    retriever.close()
    retriever.close()
    for each in own:
        each.join(10)
    assert not any(each.is_alive() for each in own)


def test_an_unused_one_costs_nothing(tmp_path: Path) -> None:
    """No thread, no folder."""
    ContextRetriever(config(tmp_path / "none")).close()
    assert not (tmp_path / "none").exists()


def test_errors_come_to_the_caller(tmp_path: Path) -> None:
    """As they are, from the other thread."""
    found = ContextRetriever(config(tmp_path))
    found._retriever = AsyncContextRetriever(config(tmp_path), embedder=WordEmbedder())
    with found, pytest.raises(NotFoundError):
        found.search("x")
