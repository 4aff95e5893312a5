"""The gateway's requests as traces: `/rag` with the model's call in it, and what became of spans in its metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import OverloadedError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.backends import Backend, single_lane
from llm_deploy.gateway.metrics import Metrics
from llm_deploy.gateway.model_inference import ModelInference
from llm_deploy.gateway.routing import ServedModel
from llm_deploy.tracing import setup
from llm_deploy.tracing.config import TracingConfig
from llm_deploy.tracing.reading import StoredSpan, Wanted, opened
from llm_deploy.tracing.store_place import STORE_NAME
from tests.fakes.gateways import answer, chunks
from tests.fakes.transports import FakeTransport

ASK = GenerationRequest(messages=({"role": "user", "content": "capital?"},), max_new_tokens=3)


def model(transport: FakeTransport) -> ModelInference:
    """A model of the gateway over a fake transport."""
    settings = documents.Model(backends=(documents.Backend(url="http://fake"),))
    return ModelInference(ServedModel("tiny", settings, [Backend("b", single_lane(transport, "openai"))]))


async def whole(llm: ModelInference) -> str:
    """A whole answer."""
    return (await llm.generate(ASK)).text


async def streamed(llm: ModelInference) -> str:
    """A stream's text."""
    return "".join([chunk.text async for chunk in llm.stream(ASK)])


def spans_of(folder: Path) -> list[StoredSpan]:
    """All that were stored, oldest first."""
    with opened(folder / STORE_NAME) as store:
        return [span for one in reversed(store.traces(Wanted())) for span in store.spans(one.trace_id)]


def test_a_models_call_is_a_span_with_prompt_answer_and_tokens(tmp_path: Path) -> None:
    """Whole, streamed, failed and left; without a listener it is the model itself."""
    llm = model(FakeTransport(answer=answer("Paris", 7, 1), parts=chunks("Pa", "ris")))
    broken = model(FakeTransport(failure=OverloadedError("no place")))

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
