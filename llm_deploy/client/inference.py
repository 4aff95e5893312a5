"""The interfaces of a language model, as callers see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest


@runtime_checkable
class Inference(Protocol):
    """A language model behind a payload: the least that a backend implements to work with `InferenceExecutor`."""

    def set_payload(
        self, inputs: str | Sequence[Mapping[str, Any]], parameters: Mapping[str, Any] | None = None
    ) -> None:
        """Say what the next `inference` of this thread or task asks.

        Args:
            inputs: A prompt, or a chat's messages.
            parameters: Sampling parameters in TGI's names; they go before the backend's defaults, one by one.
        """

    def inference(self) -> Any:  # noqa: ANN401 - backends of one's own may answer in the seed's raw shapes
        """The answer to what was set: a `Generation`, a text, or TGI's `[{"generated_text": text}]`."""


@runtime_checkable
class StreamingInference(Inference, Protocol):
    """A language model that also takes typed requests and streams."""

    def defaults(self) -> GenerationRequest:
        """A request without prompt that carries the backend's default parameters."""

    def generate(self, request: GenerationRequest) -> Generation:
        """One whole answer; blocks until it is there.

        Raises:
            LlmDeployError: Any of the tree's; nothing is asked twice when it may have been started.
        """

    def stream(self, request: GenerationRequest) -> Iterator[Chunk]:
        """The answer while it is made. The request is sent when the first chunk is asked for.

        Closing the iterator closes the connection, at which the model server stops generating.
        """


@runtime_checkable
class AsyncInference(Protocol):
    """A language model on an event loop. What it does is what `StreamingInference` does, call for call."""

    async def defaults(self) -> GenerationRequest:
        """See `StreamingInference.defaults`; asks the cloud once, if at all."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """See `StreamingInference.generate`. Cancelling it frees the model's slot."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `StreamingInference.stream`; close it with `aclose` (or `contextlib.aclosing`)."""

    async def aclose(self) -> None:
        """Close the connections; harmless when called again."""
