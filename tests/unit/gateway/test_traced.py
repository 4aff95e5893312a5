"""Requests as spans: what they say, and that nobody pays when nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from llm_deploy.gateway.answers.heard import LONGEST, Heard
from llm_deploy.tracing import spans
from tests.fakes.gateways import answer, chat, chunks, client, gateway
from tests.fakes.transports import FakeTransport


@dataclass
class Recorded:
    """A span that a test can read."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    failure: BaseException | str | None = None
    recording: bool = True

    def set(self, **attributes: Any) -> None:  # noqa: ANN401 - as the facade's
        """See `Span.set`."""
        self.attributes |= {name: value for name, value in attributes.items() if value is not None}

    def event(self, name: str, **attributes: Any) -> None:  # noqa: ANN401 - as above
        """See `Span.event`."""

    def fail(self, error: BaseException | str) -> None:
        """See `Span.fail`."""
        self.failure = error

    def end(self) -> None:
        """See `Span.end`."""

    def active(self) -> AbstractContextManager[object]:
        """See `Span.active`."""
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


@dataclass
class Recorder:
    """Keeps every span."""

    captures_content: bool = False
    seen: list[Recorded] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def begin(self, name: str, kind: Any, attributes: dict[str, Any]) -> Recorded:  # noqa: ANN401, ARG002 - as the facade's
        """See `Recorder.begin`."""
        self.seen.append(Recorded(name, dict(attributes)))
        return self.seen[-1]

    def extract(self, headers: dict[str, str]) -> AbstractContextManager[object]:
        """See `Recorder.extract`."""
        self.headers.append(headers)
        return nullcontext()

    def inject(self, headers: dict[str, str]) -> None:
        """See `Recorder.inject`."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Who listens."""
    made = Recorder()
    spans.listen(made)
    yield made
    spans.listen(None)


def test_a_request_is_a_span_of_the_callers_trace(recorder: Recorder) -> None:
    """Model, tokens, times, the request's id; the prompt only while content is captured, the key's secret never."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for captured in (False, True):
        recorder.captures_content = captured
        made, _ = gateway({"twin": [FakeTransport(parts=chunks("a", "b"))]})
        asyncio.run(_ask(made, chat(stream=True, temperature=0.5), traceparent=parent, **{"x-request-id": "r9"}))
        seen = recorder.seen[-1].attributes
        assert seen["gen_ai.request.model"] == "twin"
        assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.usage.output_tokens"]) == (4, 2)
        assert seen["gen_ai.response.finish_reasons"] == ["stop"]
        assert (seen["llmdeploy.request_id"], seen["http.response.status_code"]) == ("r9", 200)
        assert ("hi" in str(seen)) is captured
        assert "secret-key" not in str(seen)
        assert recorder.headers[-1]["traceparent"] == parent


def test_a_failed_request_is_a_failed_span(recorder: Recorder) -> None:
    """What was refused as wrong is the caller's affair, and no failure."""
    made, _ = gateway({"twin": [FakeTransport(answer=b"nothing")]})
    asyncio.run(_ask(made, chat()))
    assert recorder.seen[-1].failure == "bad_answer"
    made, _ = gateway({"twin": [FakeTransport(answer=answer())]})
    asyncio.run(_ask(made, chat(n=5)))
    assert recorder.seen[-1].failure is None


@pytest.mark.parametrize("stream", [False, True])
def test_the_answers_words_are_recorded_where_content_is(recorder: Recorder, *, stream: bool) -> None:
    """Whole or streamed, with the reason of its end; and nothing reads the answer twice where content is not wanted."""
    for captured in (False, True):
        recorder.captures_content = captured
        transport = FakeTransport(answer=answer("bonjour"), parts=chunks("bon", "jour"))
        made, _ = gateway({"twin": [transport]})
        asyncio.run(_ask(made, chat(stream=stream)))
        seen = recorder.seen[-1].attributes
        assert seen["gen_ai.response.finish_reasons"] == ["stop"]
        assert ("bonjour" in str(seen.get("gen_ai.output.messages"))) is captured


def test_what_is_heard_is_bounded_and_fails_nothing() -> None:
    """Answers without end, and ones that cannot be read."""
    heard = Heard()
    for part in chunks(*["word " * 200] * 200, finish=None):
        heard.feed(part)
    heard.close()
    assert len(heard.text) == LONGEST
    for data in (b"nothing\n\n", b"data: {]\n\n", b'data: {"error":"x"}\n\n', b"\xff" * 100):
        heard = Heard()
        heard.feed(data)
        heard.close()
        heard.whole(data)
        assert (heard.text, heard.calls) == ("", [])


async def _ask(made: Any, body: bytes, **headers: str) -> None:  # noqa: ANN401 - a gateway
    async with client(made) as it:
        await it.post("/v1/chat/completions", content=body, headers=headers)
