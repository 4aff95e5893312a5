"""What the server asks of an engine: tokens in, tokens out, one at a time, and nothing about HTTP or dialects."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llm_deploy.dialects.types import FinishReason, Token
from llm_deploy.errors import InferenceRequestError

Json = Any
"""A parsed JSON document, whatever it holds."""


class EngineFailureError(Exception):
    """The engine broke off, or answered what an engine must not answer; the request may have been right."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are neutral: the model's own distribution.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_k: 0 is no limit; `top_p` and `typical_p` 1 and `min_p` 0 likewise.
        seed: From 0 to 2**32 - 2.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    typical_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One generation, checked and tokenised.

    Attributes:
        prompt: Token ids; at least one.
        max_new_tokens: At least one; with the prompt it fits the context.
        probabilities: Likeliest tokens to report for each position; 0 reports none, not even the chosen one's.
        json_schema: The answer must be JSON of this schema.
        grammar: The answer must match, in the engine's own grammar language.
    """

    prompt: Sequence[int]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    probabilities: int = 0
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None


@dataclass(slots=True)
class Piece:
    """One event of a generation: usually one token.

    A character that takes several tokens (an emoji) arrives as one piece with the last token's id.

    Attributes:
        text: What the answer grows by. The engine holds back what may become a stop string, so this may be empty
            while `token.text` is not, and the other way round later.
        token: The token itself; its logarithm of probability only if the task asked.
        top: The likeliest tokens here, best first, as many as asked.
        generated: Tokens generated so far, this one included.
    """

    text: str
    token: Token
    top: tuple[Token, ...]
    generated: int


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a generation ended, and what was counted.

    Attributes:
        text: Text that was still held back.
        stop_string: The stop string that was found; it is in no piece's `text`.
    """

    reason: FinishReason
    prompt_tokens: int
    generated_tokens: int
    text: str = ""
    stop_string: str | None = None


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine knows about itself once it is loaded."""

    model: str
    context_tokens: int
    parallel: int


class Engine(Protocol):
    """A loaded model. Everything but `load` and `close` runs on one event loop."""

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""

    @property
    def facts(self) -> EngineFacts:
        """Limits that hold; known before the model is loaded."""

    def load(self) -> None:
        """Load the model; blocks.

        Raises:
            ModelFileError: The file is not a model that this engine can load.
            MissingExtraError: The engine is not installed.
        """

    async def tokenize(self, text: str) -> list[Token]:
        """Split a prompt, special tokens included."""

    async def apply_template(self, messages: Sequence[dict[str, Any]]) -> str:
        """Write a conversation as the model's own chat template wants it."""

    def generate(self, task: Task) -> AsyncGenerator[Piece | Ending, None]:
        """Yield pieces, then one `Ending`. Closing the iterator stops the engine's work at once.

        Raises:
            InferenceRequestError: The engine refuses the task (a bad grammar, a prompt that is too long).
            EngineFailureError: It broke off.
        """

    async def busy(self) -> int:
        """Count the generations that the engine is working on."""

    def close(self) -> None:
        """Release everything; blocks for up to a second or so. Safe to call again."""

    def remove_socket(self) -> None:
        """Remove the engine's private socket, and nothing else."""


__all__ = [
    "Ending",
    "Engine",
    "EngineFacts",
    "EngineFailureError",
    "InferenceRequestError",
    "Json",
    "Piece",
    "Sampling",
    "Task",
]
