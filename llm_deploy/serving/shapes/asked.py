"""What a parsed request comes to, and what an answer is written from; the same for all dialects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llm_deploy.dialects.types import GenerationRequest, Token
from llm_deploy.serving.engine import Ending, Json, Piece


class ShapeError(Exception):
    """The body is wrong; the message is the engine's that is imitated.

    Attributes:
        status: The HTTP status to answer with.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, checked as far as that goes without a tokeniser.

    Attributes:
        request: Prompt or messages, sampling with the dialect's defaults filled in; `temperature` 0 is greedy.
            Its `extra` holds `typical_p`, `min_p` and `presence_penalty` where given.
        stream: Answer token by token.
        top: Likeliest tokens to report at each position.
        details: Report tokens, counts and finish reason.
        prefill: Report the prompt's tokens.
        truncate: Keep so many tokens from the prompt's end.
        include_usage: End a stream with token counts.
        model: The model's name in the request.
        json_schema: The answer must be JSON of this schema.
        grammar: The answer must match, in llama.cpp's grammar language.
    """

    request: GenerationRequest
    stream: bool = False
    top: int = 0
    details: bool = False
    prefill: bool = False
    truncate: int | None = None
    include_usage: bool = False
    model: str | None = None
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken each time, so that no seed matters."""
        return self.request.temperature == 0


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer says besides the tokens.

    Attributes:
        model: The served name.
        created_s: Unix time.
        seed: The seed that was used.
    """

    asked: Asked
    model: str
    request_id: str
    created_s: int
    prompt_text: str
    prompt_tokens: Sequence[Token]
    seed: int


class Answer(Protocol):
    """Writes one answer, either whole or piece by piece."""

    stream_type: str
    needs_probabilities: bool

    def whole(self, pieces: Sequence[Piece], ending: Ending) -> Json:
        """The document of an answer that is not streamed."""

    def start(self) -> bytes:
        """What a stream begins with, before the first token."""

    def piece(self, piece: Piece) -> bytes:
        """The event for a piece; empty when there is nothing to send yet."""

    def end(self, ending: Ending) -> bytes:
        """The events that end a stream."""

    def broken(self, message: str) -> bytes:
        """The event that ends a stream which failed after it had begun."""


class Dialect(Protocol):
    """The server's half of one way to write a request, its answer and its errors.

    Attributes:
        invalid_status: For a request that is wrong in a way only the engine can tell.
        failed_status: For a generation that broke off before its first token.
    """

    invalid_status: int
    failed_status: int

    def parse(self, body: object, limits: Limits) -> Asked:
        """Check a body.

        Raises:
            ShapeError: It is wrong.
        """

    def fit(self, prompt_tokens: int, asked: Asked, limits: Limits) -> int:
        """Return how many tokens may be generated: what was asked for, or the room that is left.

        Raises:
            ShapeError: Prompt and answer do not fit.
        """

    def answer(self, context: Context) -> Answer:
        """Begin an answer."""

    def error(self, message: str, status: int) -> Json:
        """The document for a refusal."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Token limits that hold for each request: `max_input_tokens < max_total_tokens <= the engine's context`."""

    max_input_tokens: int
    max_total_tokens: int
