"""Calls of models as spans. Loaded when somebody listens."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from llm_deploy.client.question import Label
from llm_deploy.dialects import tool_calls
from llm_deploy.dialects.types import Chunk, Embeddings, Generation, GenerationRequest, TokenCounts
from llm_deploy.tracing import conventions, spans


@dataclass(slots=True)
class Seen:
    """What a stream has said so far, for its span."""

    texts: list[str] = field(default_factory=list)
    deltas: list[dict[str, Any]] = field(default_factory=list)
    counts: TokenCounts = field(default_factory=TokenCounts)
    reason: str | None = None
    first_token_s: float | None = None
    failed: bool = False

    def take(self, chunk: Chunk) -> None:
        """Note one chunk."""
        self.texts.append(chunk.text)
        self.deltas.extend(chunk.tool_calls)
        self.counts = chunk.counts or self.counts
        self.reason = chunk.finish_reason or self.reason
        if chunk.timings is not None:
            self.first_token_s = chunk.timings.first_token_s


def begin(request: GenerationRequest, label: Label, *, stream: bool) -> spans.Span:
    """A started span for one question; to be ended."""
    operation: conventions.Operation = "text_completion" if request.messages is None else "chat"
    about = conventions.request(
        operation,
        label.model,
        provider=label.provider,
        stream=stream,
        json=request.json_schema is not None,
        url=label.url,
        max_tokens=request.max_new_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        stop=request.stop,
        seed=request.seed,
    )
    span = spans.begin(f"{operation} {label.model}", "client", **about)
    span.set(**conventions.prompt(text=request.prompt, messages=request.messages, tools=request.tools))
    return span


def begin_embedding(label: Label) -> spans.Span:
    """A started span for one request for vectors; to be ended."""
    about = conventions.request("embeddings", label.model, provider=label.provider, url=label.url)
    return spans.begin(f"embeddings {label.model}", "client", **about)


def note_answer(span: spans.Span, answer: Generation) -> None:
    """Say what came back."""
    span.set(**conventions.answer(
        text=answer.text,
        finish_reason=answer.finish_reason,
        tool_calls=map(asdict, answer.tool_calls),
        input_tokens=answer.counts.prompt,
        output_tokens=answer.counts.generated,
    ))  # fmt: skip


def note_stream(span: spans.Span, seen: Seen) -> None:
    """Say what had come back when the stream ended; of one that was left, that it was."""
    if seen.reason is None and not seen.failed:
        span.set(**{conventions.CANCELLED: True})
    span.set(**conventions.answer(
        text="".join(seen.texts),
        finish_reason=seen.reason or "unknown",
        tool_calls=map(asdict, tool_calls.joined(seen.deltas)),
        input_tokens=seen.counts.prompt,
        output_tokens=seen.counts.generated,
        first_chunk_s=seen.first_token_s,
    ))  # fmt: skip


def note_embeddings(span: spans.Span, found: Embeddings) -> None:
    """Say what came back."""
    span.set(**{
        conventions.INPUT_TOKENS: found.prompt_tokens,
        conventions.RESPONSE_MODEL: found.model or None,
        "gen_ai.embeddings.dimension.count": len(found.vectors[0]) if found.vectors else None,
    })  # fmt: skip
