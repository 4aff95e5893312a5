"""What an answer leaves in its trace: query, wordings, documents with scores, prompt, answer, tokens, times."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self, cast

import pytest

from llm_deploy.errors import InferenceError
from llm_deploy.rag.passages import Passage
from llm_deploy.rag.retrieval import AsyncContextRetriever
from llm_deploy.rag.service import RagService
from llm_deploy.tracing import spans
from tests.fakes.rag import SayingLlm, WordEmbedder, config, fill

CURRENT: ContextVar[Seen | None] = ContextVar("current", default=None)


class Seen:
    """See `Span`: remembers everything."""

    recording = True

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        self.name, self.attributes, self.parent = name, dict(attributes), CURRENT.get()
        self.failed: object = None
        self.ended = 0

    def set(self, **attributes: object) -> None:
        """See `Span.set`."""
        self.attributes |= attributes

    def event(self, name: str, **attributes: object) -> None:
        """Not used here."""

    def fail(self, error: BaseException | str) -> None:
        """See `Span.fail`."""
        self.failed = error

    def end(self) -> None:
        """See `Span.end`."""
        self.ended += 1

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See `Span.active`."""
        token = CURRENT.set(self)
        try:
            yield
        finally:
            CURRENT.reset(token)

    def __enter__(self) -> Self:
        self._token = CURRENT.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        CURRENT.reset(self._token)
        self.failed = error
        self.end()


class Recorder:
    """See `tracing.spans.Recorder`."""

    def __init__(self, *, captures_content: bool) -> None:
        self.captures_content = captures_content
        self.seen: list[Seen] = []

    def begin(self, name: str, kind: str, attributes: dict[str, Any]) -> Seen:  # noqa: ARG002 - the Protocol's
        """See the Protocol."""
        self.seen.append(Seen(name, attributes))
        return self.seen[-1]

    def extract(self, headers: dict[str, str]) -> contextlib.AbstractContextManager[object]:  # noqa: ARG002 - as above
        """Nothing comes in."""
        return contextlib.nullcontext()

    def inject(self, headers: dict[str, str]) -> None:
        """Nothing goes out."""


def traced(folder: Path, *, content: bool, stream: bool, llm: SayingLlm | None = None) -> dict[str, Seen]:
    recorder = Recorder(captures_content=content)
    settings = config(folder, steps={"rerank": True}, model="tiny")

    async def main() -> None:
        embedder = WordEmbedder()
        retriever = AsyncContextRetriever(settings, embedder=embedder)
        async with RagService(settings, retriever, llm or SayingLlm("Nine days [1].")) as service:
            await fill(await retriever.index(), embedder, [Passage("Refunds take nine days.", "a.md")])
            spans.listen(cast("Any", recorder))  # it leaves out what nobody here calls
            if stream:
                async for _ in service.stream("refunds"):
                    pass
            else:
                await service.answer("refunds")

    try:
        asyncio.run(main())
    finally:
        spans.listen(None)
        recorded = {each.name: each for each in recorder.seen}
        assert all(each.ended == 1 for each in recorder.seen)
        last.clear()
        last.update(recorded)
    return recorded


last: dict[str, Seen] = {}


@pytest.mark.row("T8")
@pytest.mark.parametrize("stream", [False, True])
def test_each_step_is_a_span_of_the_answers(tmp_path: Path, *, stream: bool) -> None:
    """One workflow with its steps below it, each ended once, under the names of the conventions."""
    found = traced(tmp_path, content=True, stream=stream)
    whole = found["invoke_workflow rag"]
    assert whole.attributes["gen_ai.workflow.name"] == "rag"
    assert whole.attributes["gen_ai.usage.output_tokens"] == 3
    assert "refunds" in str(whole.attributes["gen_ai.input.messages"])
    assert "Nine days" in str(whole.attributes["gen_ai.output.messages"])
    assert whole.attributes["llmdeploy.rag.retrieve_s"] > 0
    assert {"rag embed", "rag retrieve", "rag rerank", "rag deduplicate", "rag context"} <= set(found)
    assert all(each.parent is whole for name, each in found.items() if name != whole.name)
    documents = found["rag retrieve"].attributes["gen_ai.retrieval.documents"]
    assert documents[0]["id"] == "a.md#0"
    assert documents[0]["score"] > 0


@pytest.mark.row("T8")
def test_content_is_left_out_where_it_is_not_wanted(tmp_path: Path) -> None:
    """Neither the query, nor a passage, nor the answer is in any span; ids, scores and times are."""
    found = traced(tmp_path, content=False, stream=False)
    everything = str([each.attributes for each in found.values()])
    assert "a.md#0" in everything
    for text in ("refunds", "Refunds take", "Nine days"):
        assert text not in everything


def test_a_failed_answer_is_a_failed_span(tmp_path: Path) -> None:
    """And ended."""

    def fail(_: object) -> str:
        raise InferenceError("no GPU")

    for stream in (False, True):
        with pytest.raises(InferenceError):
            traced(tmp_path / str(stream), content=True, stream=stream, llm=SayingLlm(fail))
        assert isinstance(last["invoke_workflow rag"].failed, InferenceError)
