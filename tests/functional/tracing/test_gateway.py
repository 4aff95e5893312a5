"""The gateway's requests as traces: `/rag` with the model's call in it, and what became of spans in its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest, TokenCounts
from llm_deploy.errors import OverloadedError
from llm_deploy.gateway.metrics import Metrics
from llm_deploy.gateway.traced_model import TracedInference
from llm_deploy.tracing import setup
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.reading import StoredSpan, Wanted, opened
from llm_deploy.tracing.store_place import STORE_NAME

ASK = GenerationRequest(messages=({"role": "user", "content": "capital?"},), max_new_tokens=3)


@dataclass
class Model:
    """Answers, or fails after a word."""

    fails: bool = False

    async def defaults(self) -> GenerationRequest:
        """None."""
        return GenerationRequest()

    async def generate(self, _request: GenerationRequest) -> Generation:
        """One word."""
        if self.fails:
            raise OverloadedError("no place")
        return Generation("Paris", "stop", TokenCounts(7, 1))

    async def stream(self, _request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Two pieces."""
        yield Chunk("Pa")
        if self.fails:
            raise OverloadedError("no place")
        yield Chunk("ris", finish_reason="stop", counts=TokenCounts(7, 2))

    async def aclose(self) -> None:
        """Nothing."""


async def whole(llm: TracedInference) -> str:
    """A whole answer."""
    return (await llm.generate(ASK)).text


async def streamed(llm: TracedInference) -> str:
    """A stream's text."""
    return "".join([chunk.text async for chunk in llm.stream(ASK)])


def spans_of(folder: Path) -> list[StoredSpan]:
    """All that were stored, oldest first."""
    with opened(folder / STORE_NAME) as store:
        return [span for one in reversed(store.traces(Wanted())) for span in store.spans(one.trace_id)]


def test_a_models_call_is_a_span_with_prompt_answer_and_tokens(tmp_path: Path) -> None:
    """Whole, streamed, failed and left; without a listener it is the model itself."""
    llm, broken = TracedInference(Model(), "tiny"), TracedInference(Model(fails=True), "tiny")

    async def work() -> None:
        assert await whole(llm) == await streamed(llm) == "Paris"
        for call in (whole, streamed):
            with pytest.raises(OverloadedError):
                await call(broken)
        left = llm.stream(ASK)
        await anext(left)
        await left.aclose()

    asyncio.run(work())
    tracing = setup.configure(TracingConfig(capture_content=True), state_dir=tmp_path)
    asyncio.run(work())
    metrics = Metrics(spans=tracing.by_exporter)
    tracing.close()
    found = spans_of(tmp_path)
    assert [(one.name, one.model, one.output_tokens, one.error_type) for one in found] == [
        ("chat tiny", "tiny", 1, None),
        ("chat tiny", "tiny", 2, None),
        ("chat tiny", "tiny", None, "OverloadedError"),
        ("chat tiny", "tiny", None, "OverloadedError"),
        ("chat tiny", "tiny", None, None),
    ]
    assert found[-1].attributes["llmdeploy.cancelled"] is True
    assert "Paris" in found[1].attributes["gen_ai.output.messages"]
    assert found[1].attributes["gen_ai.response.time_to_first_chunk"] >= 0
    text = metrics.text().decode()
    assert 'llmdeploy_gateway_spans_total{exporter="local",outcome="exported"} 5.0' in text
    assert 'outcome="dropped"} 0.0' in text
