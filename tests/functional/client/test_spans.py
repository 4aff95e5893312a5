"""Calls of models as spans, in the conventions' words, and nothing where nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, Self

import pytest

from llm_deploy import AsyncLLMInferenceHttpEndpoint, GenerationRequest, LLMInferenceHttpEndpoint
from llm_deploy.errors import InferenceRequestError
from llm_deploy.tracing import spans
from tests.fakes.runtime_server import Reply, invocation, serving

pytestmark = pytest.mark.row("T8")

ASK = GenerationRequest(prompt="secret question", max_new_tokens=3, temperature=0.5, top_p=0.9)
CHAT = GenerationRequest(messages=({"role": "user", "content": "secret question"},))
COMPLETION = invocation({"choices": [{"text": "secret answer", "finish_reason": "length"}],
                         "usage": {"prompt_tokens": 2, "completion_tokens": 3}})  # fmt: skip
STREAM = Reply(parts=(
    b'data: {"choices": [{"delta": {"content": "secret answer"}, "finish_reason": "stop"}]}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}\n\ndata: [DONE]\n\n',
))  # fmt: skip
UNFINISHED = Reply(parts=(b'data: {"choices": [{"delta": {"content": "secret answer"}}]}\n\n',), end="hang")
VECTORS = invocation({"data": [{"index": 0, "embedding": [1, 0]}], "model": "m", "usage": {"prompt_tokens": 2}})
REFUSED = Reply(400, (b'{"error": {"message": "no", "type": "BadRequestError"}}',))


class Heard(AbstractContextManager["Heard"]):
    """A span that remembers."""

    recording = True

    def __init__(self, name: str, kind: str, attributes: dict[str, Any]) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.failure: str | None = None
        self.ended = 0

    def set(self, **attributes: Any) -> None:  # noqa: ANN401 - a span's
        """Keep them."""
        self.attributes |= {name: value for name, value in attributes.items() if value is not None}

    def event(self, name: str, **attributes: Any) -> None:  # noqa: ANN401 - as above
        """Not used here."""

    def fail(self, error: BaseException | str) -> None:
        """Keep its class."""
        self.failure = type(error).__name__

    def end(self) -> None:
        """Count."""
        self.ended += 1

    def active(self) -> AbstractContextManager[object]:
        """Nothing is made inside."""
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object, /) -> None:
        if error is not None:
            self.fail(error)
        self.end()


class Ear:
    """A recorder that keeps what it hears."""

    def __init__(self, *, captures_content: bool = False) -> None:
        self.captures_content = captures_content
        self.heard: list[Heard] = []

    def begin(self, name: str, kind: spans.Kind, attributes: dict[str, Any]) -> Heard:
        """Keep it."""
        self.heard.append(Heard(name, kind, dict(attributes)))
        return self.heard[-1]

    def extract(self, headers: dict[str, str]) -> AbstractContextManager[object]:  # noqa: ARG002 - the interface's
        """Not used here."""
        return nullcontext()

    def inject(self, headers: dict[str, str]) -> None:
        """Not used here."""


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Somebody who listens while a test runs."""
    made = Ear()
    spans.listen(made)
    yield made
    spans.listen(None)


def test_a_whole_answer(ear: Ear) -> None:
    """Operation and model in the name; parameters, counts, reason and address; no content."""
    with serving(COMPLETION) as server, LLMInferenceHttpEndpoint(f"{server.url}/v1", model="tiny") as llm:
        llm.generate(ASK)
        port = int(server.url.rpartition(":")[2])
    (span,) = ear.heard
    assert (span.name, span.kind, span.ended, span.failure) == ("text_completion tiny", "client", 1, None)
    expected = {
        "gen_ai.operation.name": "text_completion", "gen_ai.request.model": "tiny", "gen_ai.request.max_tokens": 3,
        "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 0.9, "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3, "gen_ai.response.finish_reasons": ["length"], "server.address": "127.0.0.1",
        "server.port": port,
    }  # fmt: skip
    assert {name: span.attributes.get(name) for name in expected} == expected
    assert "secret" not in repr(span.attributes)


def test_content_is_recorded_where_it_is_wanted(ear: Ear) -> None:
    """Question and answer."""
    ear.captures_content = True
    with serving(COMPLETION, STREAM) as server, LLMInferenceHttpEndpoint(f"{server.url}/v1") as llm:
        llm.generate(ASK)
        list(llm.stream(CHAT))
    for span in ear.heard:
        assert "secret question" in repr(span.attributes["gen_ai.input.messages"])
        assert "secret answer" in repr(span.attributes["gen_ai.output.messages"])


def test_a_stream_ends_its_span_when_it_ends_or_is_left(ear: Ear) -> None:
    """Read to its end, left, refused: one end each; a stream that was left has not failed."""
    with serving(STREAM, UNFINISHED, REFUSED) as server, LLMInferenceHttpEndpoint(f"{server.url}/v1") as llm:
        list(llm.stream(CHAT))
        left = llm.stream(CHAT)
        next(left)
        left.close()
        with pytest.raises(InferenceRequestError):
            list(llm.stream(CHAT))
    whole, abandoned, refused = ear.heard
    assert [span.ended for span in ear.heard] == [1, 1, 1]
    assert whole.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert whole.attributes["gen_ai.usage.output_tokens"] == 3
    assert (abandoned.failure, abandoned.attributes["llmdeploy.cancelled"]) == (None, True)
    assert (refused.failure, "llmdeploy.cancelled" in refused.attributes) == ("InferenceRequestError", False)


def test_on_an_event_loop(ear: Ear) -> None:
    """The same spans."""

    async def ask(url: str) -> None:
        async with AsyncLLMInferenceHttpEndpoint(f"{url}/v1", model="tiny") as llm:
            await llm.generate(ASK)
            async with aclosing(llm.stream(CHAT)) as chunks:
                assert [chunk.text async for chunk in chunks if chunk.text] == ["secret answer"]
            await llm.embed(["secret text"])
            with pytest.raises(InferenceRequestError):
                await llm.generate(ASK)

    with serving(COMPLETION, STREAM, VECTORS, REFUSED) as server:
        asyncio.run(ask(server.url))
    assert [span.name for span in ear.heard] == [
        "text_completion tiny", "chat tiny", "embeddings tiny", "text_completion tiny"
    ]  # fmt: skip
    assert [span.ended for span in ear.heard] == [1] * 4
    assert ear.heard[3].failure == "InferenceRequestError"
    vectors = ear.heard[2].attributes
    assert (vectors["gen_ai.usage.input_tokens"], vectors["gen_ai.embeddings.dimension.count"]) == (2, 2)
    assert "secret" not in repr([span.attributes for span in ear.heard])


def test_nobody_listens_and_nothing_is_made() -> None:
    """The module that makes spans is not even loaded by a call."""
    with serving(COMPLETION) as server, LLMInferenceHttpEndpoint(f"{server.url}/v1") as llm:
        assert not spans.enabled()
        assert llm.generate(ASK).text == "secret answer"
