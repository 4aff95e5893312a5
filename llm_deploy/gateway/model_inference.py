"""One of the gateway's models as an `AsyncInference`: what `/rag` answers with, weights and fallbacks included."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from llm_deploy.client import question
from llm_deploy.client.invoker_async import AsyncInvoker
from llm_deploy.client.transport import AsyncOpenStream
from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest
from llm_deploy.errors import LlmDeployError
from llm_deploy.gateway import asked as bodies
from llm_deploy.gateway.refusals import backend_error
from llm_deploy.gateway.routing import ServedModel

_PROVIDER: Final = "llmdeploy"
_DIALECT: Final = "auto"
"""Chats go out in OpenAI's shape; engines answer in it or, as old ones do, in TGI's."""


class ModelInference:
    """See `AsyncInference`: chats only. It takes places of the model as requests from outside do."""

    def __init__(self, model: ServedModel) -> None:
        label = question.Label(model.name, _PROVIDER)
        self._invoker = AsyncInvoker(ModelTransport(model), question.Asked(_DIALECT), label)

    async def defaults(self) -> GenerationRequest:
        """See `AsyncInference.defaults`."""
        return GenerationRequest()

    async def generate(self, request: GenerationRequest) -> Generation:
        """See `AsyncInference.generate`."""
        return await self._invoker.generate(request)

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """See `AsyncInference.stream`."""
        return self._invoker.stream(request)

    async def aclose(self) -> None:
        """Nothing to close: the backends are the gateway's."""


class ModelTransport:
    """An `AsyncTransport` to whichever backend of a model is asked next."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        self._model.enter()
        try:
            return await self._model.call(bodies.of_chat(self._model.name, body, stream=False))
        except LlmDeployError as error:
            raise backend_error(error, model=self._model.name) from error
        finally:
            self._model.leave()

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """See `AsyncTransport.stream`."""
        self._model.enter()
        try:
            return _Placed(await self._model.stream(bodies.of_chat(self._model.name, body, stream=True)), self._model)
        except LlmDeployError as error:
            self._model.leave()
            raise backend_error(error, model=self._model.name) from error
        except BaseException:
            self._model.leave()
            raise

    async def aclose(self) -> None:
        """Nothing to close, as above."""


class _Placed:
    """A stream that holds a place of its model until it is closed."""

    def __init__(self, opened: AsyncOpenStream, model: ServedModel) -> None:
        self._opened = opened
        self._model: ServedModel | None = model

    async def read(self) -> bytes:
        """See `AsyncOpenStream.read`."""
        return await self._opened.read()

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        model, self._model = self._model, None
        if model is not None:
            model.leave()
        await self._opened.aclose()
