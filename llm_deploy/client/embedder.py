"""Texts to a model that makes vectors of them, in requests of a bounded size."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence

from llm_deploy.client.question import Label
from llm_deploy.client.transport import Transport
from llm_deploy.dialects import embeddings
from llm_deploy.dialects.embeddings import MOST_TEXTS, Shape
from llm_deploy.dialects.types import Embeddings
from llm_deploy.errors import InferenceRequestError
from llm_deploy.tracing import spans

_SHAPE_REFUSED = re.compile(
    r"Cannot find suitable handler|untagged enum|missing field|[Ff]ield required|Input should be|`inputs?` is missing"
    r"|extra_forbidden|\binputs?\b.*\b(missing|required)\b"
)
"""How servers refuse the other shape. Source: vLLM's SageMaker route; serde's messages in TEI; pydantic's elsewhere."""


class Shapes:
    """In which shape a server is asked; where it is unknown, the first answer tells."""

    __slots__ = ("_order", "model")

    def __init__(self, order: tuple[Shape, ...], model: str | None = None) -> None:
        self._order = order
        self.model = model

    def tries(self, texts: Sequence[str]) -> Generator[bytes, bytes, Embeddings]:
        """The bodies to send while the last one is refused for its shape: send the answer in, or throw the refusal."""
        for shape in self._order:
            try:
                answer = yield embeddings.encode(texts, shape=shape, model=self.model)
            except InferenceRequestError as error:
                if shape is self._order[-1] or not _SHAPE_REFUSED.search(error.message):
                    raise
            else:
                self._order = (shape,)
                return embeddings.decode(answer, len(texts))
        raise AssertionError("there is at least one shape")


class Embedder:
    """Asks over one transport. Safe to use from several threads at once."""

    __slots__ = ("_label", "_shapes", "_transport")

    def __init__(self, transport: Transport, shapes: Shapes, label: Label) -> None:
        self._transport = transport
        self._shapes = shapes
        self._label = label

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text, in their order.

        Raises:
            InferenceRequestError: A text is empty or too long, or the model makes no vectors.
        """
        return embeddings.joined([self._traced(part) for part in batches(texts)])

    def _traced(self, texts: Sequence[str]) -> Embeddings:
        if not spans.enabled():
            return self._embed(texts)
        from llm_deploy.client import traced  # noqa: PLC0415 - only where somebody listens

        with traced.begin_embedding(self._label) as span:
            found = self._embed(texts)
            traced.note_embeddings(span, found)
            return found

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        return carried_out(self._shapes.tries(texts), self._transport.call)


def carried_out(tries: Generator[bytes, bytes, Embeddings], send: Callable[[bytes], bytes]) -> Embeddings:
    """Send what `tries` wants to have sent, until it has its answer."""
    body = next(tries)
    while True:
        try:
            answer = send(body)
        except InferenceRequestError as error:
            body = tries.throw(error)
            continue
        try:
            tries.send(answer)
        except StopIteration as done:
            found: Embeddings = done.value
            return found


def batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in parts that a server takes at once."""
    if isinstance(texts, str):
        raise InferenceRequestError("embed takes a list of texts, not one text")
    for start in range(0, len(texts), MOST_TEXTS):
        yield texts[start : start + MOST_TEXTS]
