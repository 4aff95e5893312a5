"""A question, its context and a model: `InferenceExecutor`."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from llm_deploy.client.inference import Inference, StreamingInference
from llm_deploy.dialects.lmi import read_answer
from llm_deploy.dialects.stream import MALFORMED
from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.errors import InferenceRequestError, WireFormatError

DEFAULT_PROMPT = """\
Answer the question, or do what it asks. Take the facts from the context.

Context: {context}

Question: {query}

Answer:"""

BARE_PROMPT = """\
Answer the question, or do what it asks.

Question: {query}

Answer:"""


class InferenceExecutor:
    """Puts a query and its context into a prompt, asks a model, and gives the text back.

    Args:
        llm: Any `Inference`; streaming needs a `StreamingInference`.
        query: What the user asks.
        context: What the model should know for it; left out of the default prompt when there is none.
        prompt: A template with `{query}` and, if wanted, `{context}`; other braces are left alone.
    """

    def __init__(self, llm: Inference, query: str, context: str | None = None, prompt: str | None = None) -> None:
        self.llm = llm
        self.query = query
        self.context = context
        self.prompt = prompt

    def execute(self) -> str:
        """The answer's text; blocks until it is whole."""
        return self.generate().text

    def generate(self) -> Generation:
        """The answer with its finish reason, token counts and timings, as far as the backend says them."""
        if isinstance(self.llm, StreamingInference):
            return self.llm.generate(self._request(self.llm))
        self.llm.set_payload(inputs=self.render())
        return generation_of(self.llm.inference())

    def stream(self) -> Generator[str]:
        """The answer's text, piece by piece; closing the iterator stops the model.

        Raises:
            InferenceRequestError: The backend cannot stream.
        """
        if not isinstance(self.llm, StreamingInference):
            raise InferenceRequestError(f"{type(self.llm).__name__} does not stream", hint="Use execute().")
        return self._texts(self.llm)

    def render(self) -> str:
        """The prompt as the model gets it."""
        return prompt_of(self.prompt, self.query, self.context)

    def _request(self, llm: StreamingInference) -> GenerationRequest:
        return replace(llm.defaults(), prompt=self.render(), messages=None)

    def _texts(self, llm: StreamingInference) -> Generator[str]:
        chunks = llm.stream(self._request(llm))
        try:
            yield from (chunk.text for chunk in chunks if chunk.text)
        finally:
            getattr(chunks, "close", lambda: None)()


def prompt_of(template: str | None, query: str, context: str | None) -> str:
    """A template filled in; without one, the default for what there is."""
    template = template or (DEFAULT_PROMPT if context else BARE_PROMPT)
    # Not str.format: a user's template may hold JSON, and a query may hold braces.
    pieces = [part.replace("{context}", context or "") for part in template.split("{query}")]
    return query.join(pieces)


def generation_of(answer: Any) -> Generation:  # noqa: ANN401 - whatever a foreign backend gives
    """A `Generation` from what an `Inference` gave: itself, a text, or an engine's document.

    Raises:
        WireFormatError: None of these.
    """
    if isinstance(answer, Generation):
        return answer
    if isinstance(answer, str):
        return Generation(answer)
    try:
        found = read_answer(answer)
    except MALFORMED:
        found = None
    if found is None:
        raise WireFormatError(f"the backend gave neither a text nor a known answer, but {type(answer).__name__}")
    return found
