"""A model of the gateway that records its calls as spans: what `/rag` answers with, when somebody listens."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Final

from llm_deploy.client import traced
from llm_deploy.client.inference import AsyncInference
from llm_deploy.client.question import Label
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import LlmDeployError
from llm_deploy.tracing import spans

_PROVIDER: Final = "llmdeploy"


@dataclass(frozen=True, slots=True)
class TracedInference:
    """See `AsyncInference`; `name` is the model's in the gateway."""

    inner: AsyncInference
    name: str

    async def defaults(self) -> GenerationRequest:
        """See `AsyncInference.defaults`."""
        return await self.inner.defaults()

    async def generate(self, request: GenerationRequest) -> Generation:
        """See `AsyncInference.generate`."""
        if not spans.enabled():
            return await self.inner.generate(request)
        with traced.begin(request, Label(self.name, _PROVIDER), stream=False) as span:
            found = await self.inner.generate(request)
            traced.note_answer(span, found)
            return found

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `AsyncInference.stream`."""
        async with (
            aclosing(self.inner.stream(request)) as chunks,
            aclosing(self._noted(request, chunks)) if spans.enabled() else nullcontext(chunks) as noted,
        ):
            async for chunk in noted:
                yield chunk

    async def _noted(self, request: GenerationRequest, chunks: AsyncGenerator[Chunk]) -> AsyncGenerator[Chunk]:
        span, seen = traced.begin(request, Label(self.name, _PROVIDER), stream=True), traced.Seen()
        started_s = time.perf_counter()
        try:
            async for chunk in chunks:
                seen.take(chunk)
                if seen.first_token_s is None and chunk.text:
                    seen.first_token_s = time.perf_counter() - started_s
                yield chunk
        except LlmDeployError as error:
            seen.failed = True
            span.fail(error)
            raise
        finally:
            traced.note_stream(span, seen)
            span.end()

    async def aclose(self) -> None:
        """See `AsyncInference.aclose`."""
        await self.inner.aclose()
