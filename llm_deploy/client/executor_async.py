"""A question, its context and a model, on an event loop: `AsyncInferenceExecutor`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from llm_deploy.client.executor import prompt_of
from llm_deploy.client.inference import AsyncInference
from llm_deploy.dialects.types import Generation, GenerationRequest


class AsyncInferenceExecutor:
    """As `InferenceExecutor`.

    Args:
        llm: Any `AsyncInference`.
    """

    def __init__(self, llm: AsyncInference, query: str, context: str | None = None, prompt: str | None = None) -> None:
        self.llm = llm
        self.query = query
        self.context = context
        self.prompt = prompt

    async def execute(self) -> str:
        """See `InferenceExecutor.execute`."""
        return (await self.generate()).text

    async def generate(self) -> Generation:
        """See `InferenceExecutor.generate`."""
        return await self.llm.generate(await self._request())

    async def stream(self) -> AsyncGenerator[str]:
        """See `InferenceExecutor.stream`."""
        async with aclosing(self.llm.stream(await self._request())) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    yield chunk.text

    def render(self) -> str:
        """See `InferenceExecutor.render`."""
        return prompt_of(self.prompt, self.query, self.context)

    async def _request(self) -> GenerationRequest:
        return replace(await self.llm.defaults(), prompt=self.render(), messages=None)
