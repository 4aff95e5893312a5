"""One question to the real RAG service, over a real index and a real model: one trace with everything in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_deploy.client.connect import open_async
from llm_deploy.rag.config import RagConfig, StepsConfig, StoreConfig
from llm_deploy.rag.files import Walk
from llm_deploy.rag.ingest import Ingestion
from llm_deploy.rag.service import RagAnswer, RagService, build
from llm_deploy.serving import models
from llm_deploy.tracing import context, setup, span
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.reading import StoredSpan, opened, summary
from llm_deploy.tracing.store_place import STORE_NAME
from tests.conftest import Terminal
from tests.fakes import otlp_sink
from tests.functional.serving.servers import running

QUESTION = "Which city is the capital of France? Mail jane@example.com."
DOCUMENTS = {
    "france.md": "# France\n\nParis is the capital of France. The keys are AKIAIOSFODNN7EXAMPLE.\n",
    "spain.md": "# Spain\n\nMadrid is the capital of Spain.\n",
    "rivers.md": "# Rivers\n\nThe Loire is the longest river of France.\n",
}
STEPS = StepsConfig(expand=True, sparse=True, rerank=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model server."""
    with running(models.pull("smollm2"), tmp_path_factory.mktemp("model"), "--served-model-name", "tiny") as server:
        yield server.url


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three documents."""
    folder = tmp_path_factory.mktemp("documents")
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RagConfig:
    """A collection of them."""
    store = StoreConfig(path=tmp_path_factory.mktemp("index"))
    return RagConfig(collection="countries", store=store, steps=STEPS, k=2, max_new_tokens=12, model="tiny")


async def ask(config: RagConfig, url: str, folder: Path, *, stream: bool) -> RagAnswer:
    """Ingest, and ask in a request that came with a `traceparent`."""
    async with build(config, open_async(url, model="tiny")) as service:
        ingestion = Ingestion(config, service.retriever.embedder, await service.retriever.index())
        async for _ in ingestion.run(Walk(folder)):
            pass
        with context.extract({"traceparent": f"00-{'c' * 32}-{'d' * 16}-01"}), span("POST /rag", kind="server"):
            return await streamed(service) if stream else await service.answer(QUESTION)


async def streamed(service: RagService) -> RagAnswer:
    """What the last event of a streamed answer holds."""
    *_, last = [event async for event in service.stream(QUESTION)]
    assert last.answer is not None
    return last.answer


def of_trace(path: Path) -> list[StoredSpan]:
    """The spans of the caller's trace."""
    with opened(path) as store:
        return store.spans("c" * 32)


@pytest.mark.row("T8")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_one_question_gives_one_trace(
    model: str,
    config: RagConfig,
    documents: Path,
    stream: bool,  # noqa: FBT001 - pytest gives arguments by name
    tmp_path: Path,
) -> None:
    """Query, expanded queries, documents with scores, prompt, answer, tokens and latencies, redacted.

    In the store, at a back end, and on the screen.
    """
    with otlp_sink.running() as sink:
        chosen = {"exporters": ["local", "otlp"], "capture_content": True, "otlp": {"endpoint": sink.url}}
        tracing = setup.configure(TracingConfig.model_validate(chosen), state_dir=tmp_path)
        answer = asyncio.run(ask(config, model, documents, stream=stream))
        tracing.close()
    spans = of_trace(tmp_path / STORE_NAME)
    attributes = {name: value for one in spans for name, value in one.attributes.items()}
    whole = summary(spans)

    assert answer.answer
    assert whole.name == "POST /rag"
    assert len({one.parent_id for one in spans} - {one.span_id for one in spans}) == 1
    assert attributes["gen_ai.retrieval.query.text"] == "Which city is the capital of France? Mail [email]."
    # What a model this small makes of a question differs from run to run, and may be nothing.
    assert len(attributes.get("llmdeploy.rag.queries", [QUESTION])) == len(set(answer.queries))
    assert "rag expand" in [one.name for one in spans]
    reranked = json.loads(
        next(one for one in spans if one.name == "rag rerank").attributes["gen_ai.retrieval.documents"]
    )
    assert all({"content", "id", "score"} <= one.keys() for one in reranked)
    assert "Paris" in reranked[0]["content"]
    calls = [one for one in spans if one.name == "chat tiny"]
    assert len(calls) == 2
    last = calls[-1]
    assert "Paris is the capital" in last.attributes["gen_ai.input.messages"]
    assert json.loads(last.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == answer.answer
    assert whole.input_tokens > 100
    assert whole.output_tokens >= (last.output_tokens or 0) > 0
    assert all(0 < one.duration_ms <= whole.duration_ms for one in spans)
    assert ("gen_ai.response.time_to_first_chunk" in last.attributes) is stream

    assert sink.problems == []
    assert sorted(one.name for one in sink.spans if one.trace_id.hex() == "c" * 32) == sorted(o.name for o in spans)
    everything = str([one.attributes for one in spans]) + str(sink.spans)
    assert "jane@" not in everything
    assert "AKIA" not in everything
    shown = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path)}).run("traces", "show", "cccc").out
    assert "document  " in shown
    assert "query     Which city is the capital of France? Mail [email]." in shown


def test_without_capture_the_trace_has_figures_and_no_words(
    model: str, config: RagConfig, documents: Path, tmp_path: Path
) -> None:
    """Tokens, times, scores and ids of documents; nothing of what was asked, found or answered."""
    tracing = setup.configure(TracingConfig(exporters=("local",)), state_dir=tmp_path)
    asyncio.run(ask(config, model, documents, stream=False))
    tracing.close()
    spans = of_trace(tmp_path / STORE_NAME)
    everything = str([(one.attributes, one.events, one.message) for one in spans])
    assert "score" in everything
    assert summary(spans).output_tokens > 0
    for word in ("capital", "Paris", "Madrid", "Loire"):
        assert word not in everything
