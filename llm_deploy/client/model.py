"""What every model object does, from threads. `model_async` is its twin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llm_deploy.client.chat import asked_of, chat_request, requests_of
from llm_deploy.client.patience import Patience
from llm_deploy.client.payload import Inputs, PayloadSlot, with_inputs, with_parameters
from llm_deploy.client.target import Allowed, Connection, Target
from llm_deploy.dialects.types import Chunk, Embeddings, Generation, GenerationRequest

if TYPE_CHECKING:
    from llm_deploy.client.batch import BatchItem

MOST_TIMEOUTS = 8
"""Connections are kept for so many different `timeout_s` of calls; each has sockets of its own."""


class Model:
    """A language model. One object serves any number of threads.

    Calls take `timeout_s`, the most seconds for a whole answer instead of the object's own. Use few different ones.
    """

    def __init__(self, target: Target, *, answer_timeout_s: float | None, patience: Patience) -> None:
        self._target = target
        self._allowed = Allowed(answer_timeout_s, patience)
        self._payload = PayloadSlot()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._others: dict[float, Connection] = {}

    def set_payload(self, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> None:
        """See `Inference.set_payload`."""
        self._payload.set(with_parameters(with_inputs(self.defaults(), inputs), parameters or {}))

    def inference(self) -> Generation:
        """The answer to what was set in this thread or task; its `raw` is the engine's document."""
        return self.generate(self._payload.get(self.defaults()))

    def defaults(self) -> GenerationRequest:
        """See `StreamingInference.defaults`."""
        return self._target.known_defaults() or self._target.defaults()

    def request(self, inputs: Inputs, **parameters: Any) -> GenerationRequest:  # noqa: ANN401 - of any engine
        """A request for a prompt or messages: the defaults, with these parameters in TGI's or our names."""
        return asked_of(self.defaults(), inputs, parameters)

    def generate(self, request: GenerationRequest, *, timeout_s: float | None = None) -> Generation:
        """See `StreamingInference.generate`. SageMaker ends it after 60 s: stream what takes longer."""
        connection = self._connection
        if connection is None or timeout_s is not None:
            connection = self._connected(timeout_s)
        return (connection.prompts if request.messages is None else connection.chats).generate(request)

    def stream(self, request: GenerationRequest, *, timeout_s: float | None = None) -> Generator[Chunk]:
        """See `StreamingInference.stream`. SageMaker ends it after 8 minutes."""
        connection = self._connection
        if connection is None or timeout_s is not None:
            connection = self._connected(timeout_s)
        return (connection.prompts if request.messages is None else connection.chats).stream(request)

    def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        json_schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - of any engine
    ) -> Generation:
        """The answer to a chat.

        Args:
            messages: `[{"role", "content"}, ...]`, or the text of a user.
            system: What the model is told first.
            tools: Functions that the model may call, in OpenAI's shape; its calls are the answer's `tool_calls`.
            tool_choice: `auto`, `none`, `required`, or OpenAI's document that names one.
            json_schema: The answer is JSON of this schema.
            regex: The answer matches this expression.
            timeout_s: See the class.
            parameters: Sampling parameters of this call, in TGI's or our names.

        Raises:
            InferenceRequestError: The engine, or its dialect, has no way of doing what is asked.
        """
        request = chat_request(
            self.defaults(),
            messages,
            system=system,
            tools=tools,
            tool_choice=tool_choice,
            json_schema=json_schema,
            regex=regex,
            parameters=parameters,
        )
        return self.generate(request, timeout_s=timeout_s)

    def stream_chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        json_schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - as above
    ) -> Generator[Chunk]:
        """As `chat`, while the answer is made; `dialects.stream.collect` makes one answer of it."""
        request = chat_request(
            self.defaults(),
            messages,
            system=system,
            tools=tools,
            tool_choice=tool_choice,
            json_schema=json_schema,
            regex=regex,
            parameters=parameters,
        )
        return self.stream(request, timeout_s=timeout_s)

    def batch(
        self,
        asked: Sequence[Inputs | GenerationRequest],
        *,
        concurrency: int = 16,
        on_done: Callable[[BatchItem], None] | None = None,
        timeout_s: float | None = None,
        **parameters: Any,  # noqa: ANN401 - as above
    ) -> list[BatchItem]:
        """Answers to many prompts, chats or requests, in their order; one that fails does not stop the others.

        It runs on an event loop in a thread of its own, which costs about half of what so many threads do.

        Args:
            asked: Prompts, lists of messages, or requests.
            concurrency: Most calls under way at once.
            on_done: Called in this thread with each item when it is done, whatever their order.
            timeout_s: For each answer. See the class.
            parameters: As of `chat`.
        """
        from llm_deploy.client.background import batched  # noqa: PLC0415 - asyncio is 50 ms that one call need not pay

        requests = requests_of(self.defaults(), asked, parameters)
        allowed = self._allowed if timeout_s is None else Allowed(timeout_s, self._allowed.patience)
        return batched(self._target, allowed, requests, concurrency=concurrency, on_done=on_done)

    def embed(self, texts: Sequence[str], *, timeout_s: float | None = None) -> Embeddings:
        """A vector for each text, in their order.

        Raises:
            InferenceRequestError: A text is empty or too long, or the model makes no vectors.
        """
        return self._connected(timeout_s).embedder.embed(texts)

    def close(self) -> None:
        """Close the idle connections; harmless when called again. A later call connects anew."""
        with self._lock:
            closing = [*self._others.values(), *([self._connection] if self._connection else [])]
            self._connection, self._others = None, {}
        for connection in closing:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self, timeout_s: float | None) -> Connection:
        with self._lock:
            if timeout_s is None or timeout_s == self._allowed.answer_timeout_s:
                if self._connection is None:
                    self._connection = self._target.open(self._allowed)
                return self._connection
            return self._connected_for(timeout_s)

    def _connected_for(self, timeout_s: float) -> Connection:
        connection = self._others.pop(timeout_s, None)
        if connection is None:
            connection = self._target.open(Allowed(timeout_s, self._allowed.patience))
        self._others[timeout_s] = connection
        if len(self._others) > MOST_TIMEOUTS:
            self._others.pop(next(iter(self._others))).close()  # of idle ones; calls under way keep theirs
        return connection
