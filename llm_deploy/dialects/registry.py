"""The dialects by name, and how one of them is put together from the functions of its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.dialects import documents, lmi, openai, tgi
from llm_deploy.dialects.failures import error_for, failure_in
from llm_deploy.dialects.names import check_name
from llm_deploy.dialects.protocols import Dialect, StreamDecoder
from llm_deploy.dialects.stream import MALFORMED, AnswerDecoder, EventReader, quote
from llm_deploy.dialects.types import Generation, GenerationRequest
from llm_deploy.errors import InferenceRequestError, WireFormatError


@dataclass(frozen=True, slots=True)
class JsonDialect:
    """A `Dialect` whose bodies are JSON documents."""

    name: str
    body: Callable[..., dict[str, Any]]
    read_answer: Callable[[Any], Generation | None]
    read_event: EventReader

    def encode(self, request: GenerationRequest, *, stream: bool) -> bytes:
        """See `Dialect.encode`."""
        if (request.prompt is None) == (request.messages is None):
            raise InferenceRequestError("a request needs either a prompt or messages, and not both")
        try:
            return documents.dump(self.body(request, stream=stream))
        except (TypeError, ValueError, RecursionError) as error:
            raise InferenceRequestError(f"the request cannot be written as JSON: {error}") from error

    def decode(self, body: bytes) -> Generation:
        """See `Dialect.decode`."""
        try:
            document = documents.load(body)
        except (ValueError, RecursionError) as error:
            raise WireFormatError(f"the answer is not JSON: {quote(body)}") from error
        failure = failure_in(document[0] if isinstance(document, list) and document else document)
        if failure is not None:
            raise error_for(failure)
        try:
            answer = self.read_answer(document)
        except MALFORMED as error:
            raise WireFormatError(f"the answer is not of the {self.name} dialect: {quote(body)}") from error
        if answer is None:
            raise WireFormatError(f"the answer is not of the {self.name} dialect: {quote(body)}")
        return answer

    def stream_decoder(self) -> StreamDecoder:
        """See `Dialect.stream_decoder`."""
        return AnswerDecoder(self.read_event, dialect=self.name)


# TGI answers chats in OpenAI's shape, so it reads what LMI reads; only what they are sent differs.
TGI = JsonDialect("tgi", tgi.body, lmi.read_answer, lmi.read_event)
OPENAI = JsonDialect("openai", openai.body, openai.read_answer, openai.read_event)
OPENAI_CHAT = JsonDialect("openai-chat", openai.chat_body, openai.read_answer, openai.read_event)
LMI = JsonDialect("lmi", lmi.body, lmi.read_answer, lmi.read_event)
AUTO = JsonDialect("auto", tgi.unknown_body, lmi.read_answer, lmi.read_event)

DIALECTS: Mapping[str, Dialect] = {each.name: each for each in (TGI, OPENAI, OPENAI_CHAT, LMI, AUTO)}


def dialect(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        SpecError: There is none.
    """
    check_name(name)
    return DIALECTS[name]


def asking_order(name: str) -> tuple[Dialect, ...]:
    """The dialects to ask in, one after the other, while an engine refuses the shape of the request.

    `openai` may be SGLang, which takes a prompt as a chat only.
    """
    orders = {"auto": (AUTO, OPENAI, OPENAI_CHAT), "openai": (OPENAI, OPENAI_CHAT)}
    return orders.get(name) or (dialect(name),)
