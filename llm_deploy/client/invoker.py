"""One dialect over one transport: typed requests in, typed answers with timings out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from llm_deploy.client.transport import Transport
from llm_deploy.dialects.protocols import Dialect
from llm_deploy.dialects.registry import asking_order
from llm_deploy.dialects.stream import decode_stream
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest, Timings
from llm_deploy.errors import InferenceRequestError

T = TypeVar("T")

_SHAPE_REFUSED = re.compile(
    r"Cannot find suitable handler|untagged enum|missing field|[Ff]ield required|Input should be|extra_forbidden"
    r"|\bUnsupported\b.*\b(shape|body|schema)\b"
)
"""How engines refuse a body of another dialect, before they do anything.

Source: vLLM's SageMaker route; serde's messages in TGI; pydantic's in SGLang.
"""


@dataclass(slots=True)
class Invoker:
    """Asks a model in its dialect; where the dialect is unknown, finds it with the first request and remembers it.

    Attributes:
        dialect_name: A dialect's name, or `auto`.
        clock: Monotonic seconds.
    """

    transport: Transport
    dialect_name: str = "auto"
    clock: Callable[[], float] = time.monotonic
    _found: Dialect | None = field(default=None, init=False)

    def generate(self, request: GenerationRequest) -> Generation:
        """One whole answer. See `StreamingInference.generate`."""
        started_s = self.clock()
        dialect, body = self._ask(request, stream=False, send=self.transport.call)
        answer = dialect.decode(body)
        return replace(answer, timings=Timings(first_token_s=None, total_s=self.clock() - started_s))

    def stream(self, request: GenerationRequest) -> Generator[Chunk]:
        """The answer while it is made. See `StreamingInference.stream`."""
        started_s = self.clock()
        first_s: float | None = None
        dialect, opened = self._ask(request, stream=True, send=self.transport.stream)
        try:
            for chunk in decode_stream(opened.parts, dialect.stream_decoder()):
                now_s = self.clock() - started_s
                if first_s is None and (chunk.text or chunk.token):
                    first_s = now_s
                yield replace(chunk, timings=Timings(first_s, now_s)) if chunk.finish_reason else chunk
        finally:
            opened.close()

    def _ask(self, request: GenerationRequest, *, stream: bool, send: Callable[[bytes], T]) -> tuple[Dialect, T]:
        candidates = (self._found,) if self._found else asking_order(self.dialect_name)
        for last, dialect in _with_last(candidates):
            try:
                answer = send(dialect.encode(request, stream=stream))
            except InferenceRequestError as error:
                if last or not _SHAPE_REFUSED.search(error.message):
                    raise
            else:
                if request.prompt is not None:  # messages are said alike in every dialect, and prove nothing
                    self._found = dialect
                return dialect, answer
        raise AssertionError("asking_order is never empty")


def _with_last(candidates: tuple[Dialect, ...]) -> Iterator[tuple[bool, Dialect]]:
    for place, dialect in enumerate(candidates, start=1):
        yield place == len(candidates), dialect
