"""Calls of models as spans, in OpenTelemetry's conventions for generative AI.

What was asked and answered is recorded only where `tracing.captures_content` says so.

Source: OpenTelemetry semantic conventions, "GenAI spans" and "GenAI client".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_deploy.dialects import tool_calls
from llm_deploy.dialects.types import Chunk, Embeddings, Generation, GenerationRequest, TokenCounts
from llm_deploy.tracing import spans


@dataclass(frozen=True, slots=True)
class Label:
    """Whom the spans say was asked.

    Attributes:
        model: An endpoint's name, or the model's as the server knows it.
        address: Host and port, or the endpoint's name.
        provider: `aws.sagemaker`, or empty.
    """

    model: str = ""
    address: str = ""
    provider: str = ""


@dataclass(slots=True)
class Seen:
    """What a stream has said so far, for its span."""

    texts: list[str] = field(default_factory=list)
    deltas: list[dict[str, Any]] = field(default_factory=list)
    counts: TokenCounts = field(default_factory=TokenCounts)
    reason: str | None = None
    first_token_s: float | None = None

    def take(self, chunk: Chunk) -> None:
        """Note one chunk."""
        if chunk.text:
            self.texts.append(chunk.text)
        self.deltas.extend(chunk.tool_calls)
        self.counts = chunk.counts or self.counts
        self.reason = chunk.finish_reason or self.reason
        if chunk.timings is not None:
            self.first_token_s = chunk.timings.first_token_s


def begin(request: GenerationRequest, label: Label) -> spans.Span:
    """A started span for one question; to be ended."""
    operation = "text_completion" if request.messages is None else "chat"
    span = spans.begin(f"{operation} {label.model}".strip(), "client", **_asked(request, operation, label))
    if spans.captures_content():
        said = request.messages or ({"role": "user", "content": request.prompt},)
        span.set(**{"gen_ai.input.messages": [_message(each) for each in said]})
    return span


def begin_embedding(texts: Sequence[str], label: Label) -> spans.Span:
    """A started span for one request for vectors; to be ended."""
    about = {**_whom("embeddings", label), "llm_deploy.embeddings.texts": len(texts)}
    return spans.begin(f"embeddings {label.model}".strip(), "client", **about)


def note_answer(span: spans.Span, answer: Generation) -> None:
    """Say what came back."""
    span.set(**_counted(answer.counts, answer.finish_reason))
    if spans.captures_content():
        span.set(**_said(answer.text, answer.tool_calls, answer.finish_reason))


def note_stream(span: spans.Span, seen: Seen) -> None:
    """Say what had come back when the stream ended, or was left."""
    span.set(**_counted(seen.counts, seen.reason), **{"gen_ai.response.time_to_first_chunk": seen.first_token_s})
    if spans.captures_content():
        span.set(**_said("".join(seen.texts), tool_calls.joined(seen.deltas), seen.reason))


def note_embeddings(span: spans.Span, found: Embeddings) -> None:
    """Say what came back."""
    size = len(found.vectors[0]) if found.vectors else None
    span.set(**{
        "gen_ai.usage.input_tokens": found.prompt_tokens,
        "gen_ai.response.model": found.model or None,
        "gen_ai.embeddings.dimension.count": size,
    })  # fmt: skip


def _whom(operation: str, label: Label) -> dict[str, Any]:
    host, _, port = label.address.rpartition(":")
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": label.provider or None,
        "gen_ai.request.model": label.model or None,
        "server.address": host or label.address or None,
        "server.port": int(port) if host and port.isdigit() else None,
    }


def _asked(request: GenerationRequest, operation: str, label: Label) -> dict[str, Any]:
    return _whom(operation, label) | {
        "gen_ai.request.max_tokens": request.max_new_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.top_k": request.top_k,
        "gen_ai.request.frequency_penalty": request.frequency_penalty,
        "gen_ai.request.presence_penalty": request.presence_penalty,
        "gen_ai.request.stop_sequences": list(request.stop) or None,
        "gen_ai.request.seed": request.seed,
    }


def _counted(counts: TokenCounts, reason: str | None) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": counts.prompt,
        "gen_ai.usage.output_tokens": counts.generated,
        "gen_ai.response.finish_reasons": [reason] if reason else None,
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {"role": message.get("role"), "parts": [{"type": "text", "content": message.get("content")}]}


def _said(text: str, calls: Sequence[Any], reason: str | None) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "content": text}] if text else []
    parts += [{"type": "tool_call", "id": c.id, "name": c.name, "arguments": c.arguments} for c in calls]
    return {"gen_ai.output.messages": [{"role": "assistant", "parts": parts, "finish_reason": reason}]}
