"""What every dialect is translated to and from: one request shape, one answer shape, one streamed piece.

These are plain dataclasses, not pydantic models, because `import llm_deploy; InferenceExecutor` must stay cheap. All
are values that nobody changes; `Token` and `Chunk` alone are not frozen, since one of each is made per token and a
frozen one takes four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["length", "stop", "eos", "content_filter", "tool_calls", "unknown"]
"""`length`: the token limit; `stop`: a stop string; `eos`: the model ended by itself."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation asked for, in no engine's words.

    Exactly one of `prompt` (raw text) and `messages` (`[{"role", "content"}]`, the chat template is applied by the
    engine) is set. `None` means "the engine's default".

    Attributes:
        max_new_tokens: Most tokens to generate.
        seed: Same seed, same request, same engine: same text.
        logprobs: Ask for the log-probability of each generated token.
        tools: Functions that the model may call, in OpenAI's shape (`{"type": "function", "function": {...}}`).
        tool_choice: `auto`, `none`, `required`, or OpenAI's document that names one.
        json_schema: The answer must be JSON of this schema. At most one of `json_schema` and `regex`.
        regex: The answer must match this regular expression.
        extra: Parameters of one engine, passed through under their own names.
    """

    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    return_full_text: bool = False
    presence_penalty: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model calls; `arguments` is the JSON text as the model wrote it, which may be no JSON."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True, unsafe_hash=True)
class Token:
    """One generated token. `id` and `logprob` (natural logarithm) are `None` where the dialect does not carry them."""

    text: str
    id: int | None = None
    logprob: float | None = None
    special: bool = False


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of the prompt and of the answer, as the engine counted them; `None` where it did not say."""

    prompt: int | None = None
    generated: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds on the caller's monotonic clock, from the moment the request was sent."""

    first_token_s: float | None
    total_s: float


@dataclass(slots=True, unsafe_hash=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: The new text; empty for special tokens and for pieces that only carry what follows.
        finish_reason: Why the answer ended; set on exactly one chunk of a whole answer, after which no text follows.
        counts: What the engine counted, on the finishing chunk or right after it (OpenAI's usage chunk).
        timings: Set by the client on the finishing chunk.
        tool_calls: OpenAI's `delta.tool_calls` as they came, in pieces: `collect` puts them together by their `index`.
    """

    text: str
    token: Token | None = None
    finish_reason: FinishReason | None = None
    counts: TokenCounts | None = None
    timings: Timings | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A whole answer, whatever engine gave it."""

    text: str
    finish_reason: FinishReason = "unknown"
    counts: TokenCounts = field(default_factory=TokenCounts)
    timings: Timings | None = None
    tokens: tuple[Token, ...] = ()
    raw: Any = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, in the order of the texts.

    Attributes:
        vectors: All of one length.
        model: As the server names it; empty where it does not.
        prompt_tokens: Tokens of all texts; `None` where the server did not say.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    prompt_tokens: int | None = None
