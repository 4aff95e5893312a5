"""One of the gateway's models as an `AsyncInference`: what `/rag` answers with, weights and fallbacks included."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from llm_deploy.dialects import openai
from llm_deploy.dialects.registry import dialect
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import InferenceError
from llm_deploy.gateway.asked import Asked
from llm_deploy.gateway.routing import ServedModel

_READS: Final = "auto"
"""Engines answer chats in OpenAI's shape or, as old ones do, in TGI's; this reads both."""


@dataclass(frozen=True, slots=True)
class ModelInference:
    """See `AsyncInference`."""

    model: ServedModel

    async def defaults(self) -> GenerationRequest:
        """See `AsyncInference.defaults`."""
        return GenerationRequest()

    async def generate(self, request: GenerationRequest) -> Generation:
        """See `AsyncInference.generate`."""
        self.model.enter()
        try:
            return dialect(_READS).decode(await self.model.call(_asked(request, self.model, stream=False)))
        finally:
            self.model.leave()

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `AsyncInference.stream`."""
        self.model.enter()
        try:
            async for chunk in _chunks(self.model, _asked(request, self.model, stream=True)):
                yield chunk
        finally:
            self.model.leave()

    async def aclose(self) -> None:
        """Nothing to close: the backends are the gateway's."""


async def _chunks(model: ServedModel, asked: Asked) -> AsyncGenerator[Chunk]:
    decoder = dialect(_READS).stream_decoder()
    opened = await model.stream(asked)
    cause: InferenceError | None = None
    try:
        while data := await opened.read():
            for chunk in decoder.feed(data):
                yield chunk
            decoder.raise_failure()
    except InferenceError as error:
        cause = error
    finally:
        await opened.aclose()
    for chunk in decoder.close(cause):
        yield chunk
    decoder.raise_failure()


def _asked(request: GenerationRequest, model: ServedModel, *, stream: bool) -> Asked:
    document = openai.chat_body(request, stream=stream)
    size = sum(len(str(message.get("content", ""))) for message in document["messages"])
    return Asked("chat", model.name, document, stream, True, request.max_new_tokens, size // 4)
