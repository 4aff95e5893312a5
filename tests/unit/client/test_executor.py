"""`InferenceExecutor`: prompts, and backends of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from llm_deploy import Chunk, Generation, GenerationRequest, Inference, InferenceExecutor, StreamingInference
from llm_deploy.errors import InferenceRequestError, WireFormatError

pytestmark = pytest.mark.row("T5")


class Seedlike:
    """A backend with the seed's two methods, answering in any shape."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.inputs: object = None

    def set_payload(self, inputs: object, parameters: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - the interface's
        """Keep it."""
        self.inputs = inputs

    def inference(self) -> object:
        """Give the answer."""
        return self.answer


class Echo(Seedlike):
    """A backend that streams its prompt back, word by word."""

    closed = False

    def defaults(self) -> GenerationRequest:
        """With a parameter to be seen."""
        return GenerationRequest(max_new_tokens=7)

    def generate(self, request: GenerationRequest) -> Generation:
        """The prompt, and the parameter as a reason to believe."""
        return Generation(f"{request.prompt}|{request.max_new_tokens}")

    def stream(self, request: GenerationRequest) -> Iterator[Chunk]:
        """Word by word, with an empty last chunk."""
        try:
            for word in str(request.prompt).split():
                yield Chunk(word)
            yield Chunk("", finish_reason="eos")
        finally:
            self.closed = True


@pytest.mark.parametrize(
    "answer",
    ["42", [{"generated_text": "42"}], {"generated_text": "42"}, Generation("42"),
     {"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}]}],
)  # fmt: skip
def test_a_backend_of_ones_own_needs_two_methods(answer: object) -> None:
    """And may answer with a text, in the seed's raw shape, or with a `Generation`."""
    llm = Seedlike(answer)
    assert isinstance(llm, Inference)
    assert not isinstance(llm, StreamingInference)
    assert InferenceExecutor(llm, "6 * 7?", prompt="Q: {query}").execute() == "42"
    assert llm.inputs == "Q: 6 * 7?"


@pytest.mark.parametrize("answer", [None, 42, [], [{"text": "42"}], {"choices": 4}])
def test_an_answer_of_no_known_shape_is_said_so(answer: object) -> None:
    """With its type."""
    with pytest.raises(WireFormatError, match=type(answer).__name__):
        InferenceExecutor(Seedlike(answer), "6 * 7?").execute()


def test_streaming_needs_a_backend_that_streams() -> None:
    """Said at the call, not at the first piece."""
    with pytest.raises(InferenceRequestError, match="Seedlike does not stream"):
        InferenceExecutor(Seedlike("42"), "6 * 7?").stream()


def test_a_streaming_backend_gets_its_defaults_with_the_prompt() -> None:
    """Typed requests, the backend's own parameters."""
    executor = InferenceExecutor(Echo(None), "q", prompt="{query}")
    assert executor.execute() == "q|7"


def test_stream_gives_the_texts_and_leaving_it_closes_the_backends() -> None:
    """Empty chunks are not handed out."""
    llm = Echo(None)
    pieces = InferenceExecutor(llm, "one two three", prompt="{query}").stream()
    assert next(pieces) == "one"
    pieces.close()
    assert llm.closed
    assert list(InferenceExecutor(llm, "one two", prompt="{query}").stream()) == ["one", "two"]


def test_the_default_prompt_holds_query_and_context() -> None:
    """The context's part is left out when there is none."""
    assert "Paris" in InferenceExecutor(Echo(None), "Where?", "Paris is in France.").render()
    assert "ontext" not in InferenceExecutor(Echo(None), "Where?").render()


@pytest.mark.parametrize(
    ("query", "context", "template", "prompt"),
    [
        ("q", "c", '{"query": "{query}", "context": "{context}"}', '{"query": "q", "context": "c"}'),
        ("a {context} b", "c", "{query}", "a {context} b"),
        ("q", "a {query} b", "{context} {query}", "a {query} b q"),
        ("{}", None, "{query} {context}.", "{} ."),
    ],
)
def test_braces_in_templates_queries_and_contexts_are_left_alone(
    query: str, context: str | None, template: str, prompt: str
) -> None:
    """Only the template's own two names are filled in, once."""
    assert InferenceExecutor(Echo(None), query, context, template).render() == prompt
