"""One question to a model, without its way there: in which dialects it is asked, and how its answer gets its times.

Pure; `invoker` and `invoker_async` are the two ways of carrying it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from llm_deploy.dialects.protocols import Dialect, StreamDecoder
from llm_deploy.dialects.registry import asking_order, dialect as known_dialect
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest, Timings
from llm_deploy.errors import InferenceError, InferenceRequestError

Clock = Callable[[], float]

_SHAPE_REFUSED = re.compile(
    r"Cannot find suitable handler|untagged enum|missing field|[Ff]ield required|Input should be|extra_forbidden"
    r"|\bUnsupported\b.*\b(shape|body|schema)\b"
)
"""How engines refuse a body of another dialect, before they do anything.

Source: vLLM's SageMaker route; serde's messages in TGI; pydantic's in SGLang.
"""


@dataclass(frozen=True, slots=True)
class Label:
    """Whom spans say was asked: the endpoint's or model's name, who provides it, and where it is."""

    model: str
    provider: str
    url: str | None = None


NOBODY = Label("", "")


class Asked:
    """In which dialect a model is asked; where it is unknown, the first answered prompt tells.

    Args:
        model: Named in each body, where the dialect has a place for it.
        sure: No other dialect is tried, since the address takes this one only.
    """

    __slots__ = ("_for_chats", "_for_prompts", "_order")

    def __init__(self, name: str, model: str | None = None, *, sure: bool = False) -> None:
        first = known_dialect(name)
        self._order = tuple(_naming(each, model) for each in ((first,) if sure else asking_order(name)))
        self._for_chats = self._order[0]  # messages are said alike in every dialect that may be tried
        self._for_prompts = self._order[0] if len(self._order) == 1 else None

    def known(self, request: GenerationRequest) -> Dialect | None:
        """The dialect for this request, if nothing has to be tried."""
        return self._for_prompts if request.messages is None else self._for_chats

    def tries(self, request: GenerationRequest, *, stream: bool) -> Generator[bytes, None, Dialect]:
        """The bodies to send, one after the other, while the last one is refused for its shape.

        Resume it when the body was accepted, and throw the refusal into it when it was not; what it returns reads the
        answer.

        Raises:
            InferenceRequestError: The refusal, when it is not one of the shape or no other dialect is left; or the
                request cannot be said in any.
        """
        refusal: InferenceRequestError | None = None
        for dialect in self._order:
            try:
                body = dialect.encode(request, stream=stream)
            except InferenceRequestError as error:  # it cannot be said in this one
                refusal = refusal or error
                continue
            try:
                yield body
            except InferenceRequestError as error:
                refusal = error
                if not _SHAPE_REFUSED.search(error.message):
                    break
            else:
                self._for_prompts = dialect
                return dialect
        raise refusal or AssertionError("asking_order is never empty")


def timed(answer: Generation, total_s: float) -> Generation:
    """The answer with its time. It is new and seen by nobody yet, so that it is filled in rather than copied."""
    object.__setattr__(answer, "timings", Timings(None, total_s))
    return answer


def chunk_of(answer: Generation) -> Chunk:
    """A whole answer as the one piece of a stream."""
    calls = tuple(
        {"index": place, "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for place, call in enumerate(answer.tool_calls)
    )
    return Chunk(answer.text, None, answer.finish_reason, answer.counts, answer.timings, calls)


class Reading:
    """One streamed answer while it is read: a decoder, with times on the finishing chunk."""

    __slots__ = ("_clock", "_decoder", "_first_s", "_started_s")

    def __init__(self, decoder: StreamDecoder, clock: Clock, started_s: float) -> None:
        self._decoder = decoder
        self._clock = clock
        self._started_s = started_s
        self._first_s: float | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """See `StreamDecoder.feed`."""
        return self._stamped(self._decoder.feed(data))

    def close(self, cause: InferenceError | None = None) -> list[Chunk]:
        """See `StreamDecoder.close`."""
        return self._stamped(self._decoder.close(cause))

    def raise_failure(self) -> None:
        """See `StreamDecoder.raise_failure`."""
        self._decoder.raise_failure()

    def _stamped(self, chunks: list[Chunk]) -> list[Chunk]:
        if self._first_s is None and any(chunk.text or chunk.token or chunk.tool_calls for chunk in chunks):
            self._first_s = self._clock() - self._started_s
        for place, chunk in enumerate(chunks):
            if chunk.finish_reason is not None:
                times = Timings(self._first_s, self._clock() - self._started_s)
                chunks[place] = replace(chunk, timings=times)
        return chunks


def _naming(dialect: Dialect, model: str | None) -> Dialect:
    """The dialect, naming the model in each body where one is given and the dialect has a place for it."""
    return _Naming(dialect, model) if model and dialect.name.startswith("openai") else dialect


class _Naming:
    """A dialect whose requests name the model: gateways serve several."""

    __slots__ = ("_dialect", "_model", "name")

    def __init__(self, dialect: Dialect, model: str) -> None:
        self.name = dialect.name
        self._dialect = dialect
        self._model = model

    def encode(self, request: GenerationRequest, *, stream: bool) -> bytes:
        """See `Dialect.encode`."""
        if "model" not in request.extra:
            request = replace(request, extra={"model": self._model, **request.extra})
        return self._dialect.encode(request, stream=stream)

    def decode(self, body: bytes) -> Generation:
        """See `Dialect.decode`."""
        return self._dialect.decode(body)

    def stream_decoder(self) -> StreamDecoder:
        """See `Dialect.stream_decoder`."""
        return self._dialect.stream_decoder()
