"""The container's contract: what the environment of each image's engine says about limits.

Source: TGI 3.3 launcher/src/main.rs (names, defaults, texts of the refusals); the `SM_VLLM_*` and `OPTION_*` variables
of the AWS images; TEI 1.8 router/src/main.rs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from llm_deploy.errors import SpecError
from llm_deploy.serving.embedding_app import EmbeddingLimits
from llm_deploy.serving.shapes.asked import Limits

DialectName = Literal["tgi", "openai", "lmi"]
DEFAULT_CONTEXT_TOKENS = 2048
_DEFAULT_CONCURRENT_REQUESTS = 128
_DEFAULT_PAYLOAD_BYTES = 2_000_000
_LENGTHS = {"openai": ("SM_VLLM_MAX_MODEL_LEN", "SM_SGLANG_CONTEXT_LENGTH"), "lmi": ("OPTION_MAX_MODEL_LEN",)}


@dataclass(frozen=True, slots=True)
class Contract:
    """Limits as asked for; what the model can do is not known here.

    Attributes:
        max_input_tokens: `None` is one less than all.
        max_total_tokens: `None` is the context of the server.
        max_concurrent_requests: Running and waiting together; more are answered 429.
        payload_bytes: Largest body of a request.
    """

    max_input_tokens: int | None
    max_total_tokens: int | None
    max_concurrent_requests: int
    payload_bytes: int

    def context_tokens(self, asked: int | None) -> int:
        """Return the context each generation needs, if it is not asked for outright."""
        if asked is not None:
            return asked
        if self.max_total_tokens is not None:
            return self.max_total_tokens
        return max(DEFAULT_CONTEXT_TOKENS, (self.max_input_tokens or 0) + 1)

    def limits(self, context_tokens: int) -> Limits:
        """Return the limits, cut to the context that the engine has."""
        total = min(self.max_total_tokens or context_tokens, context_tokens)
        return Limits(min(self.max_input_tokens or total, total - 1), total)

    def cut(self, limits: Limits) -> str | None:
        """Say which limits were cut, in one line; `None` when none was."""
        asked = {"max_input_tokens": self.max_input_tokens, "max_total_tokens": self.max_total_tokens}
        real = {"max_input_tokens": limits.max_input_tokens, "max_total_tokens": limits.max_total_tokens}
        cuts = [f"{name} {value} -> {real[name]}" for name, value in asked.items() if value and value > real[name]]
        return f"limits cut to this model's context: {', '.join(cuts)}" if cuts else None


def read_contract(environment: Mapping[str, str], dialect: DialectName) -> Contract:
    """Read the variables that the engine of this dialect's images knows.

    Raises:
        SpecError: In TGI's words: two names for one limit, input not below total, no number.
    """
    inputs, total = _tgi_lengths(environment) if dialect == "tgi" else (None, _length(environment, dialect))
    return Contract(
        max_input_tokens=inputs,
        max_total_tokens=total,
        max_concurrent_requests=_number(environment, "MAX_CONCURRENT_REQUESTS") or _DEFAULT_CONCURRENT_REQUESTS,
        payload_bytes=_number(environment, "PAYLOAD_LIMIT") or _DEFAULT_PAYLOAD_BYTES,
    )


def read_embedding_limits(environment: Mapping[str, str]) -> EmbeddingLimits:
    """Read the variables that TEI's images know.

    Raises:
        SpecError: One is no number.
    """
    defaults = EmbeddingLimits()
    return EmbeddingLimits(
        max_concurrent_requests=_number(environment, "MAX_CONCURRENT_REQUESTS") or defaults.max_concurrent_requests,
        max_batch=_number(environment, "MAX_CLIENT_BATCH_SIZE") or defaults.max_batch,
        truncate=environment.get("AUTO_TRUNCATE", "").lower() in {"true", "1"},
        payload_bytes=_number(environment, "PAYLOAD_LIMIT") or defaults.payload_bytes,
    )


def _tgi_lengths(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    tokens, length = _number(environment, "MAX_INPUT_TOKENS"), _number(environment, "MAX_INPUT_LENGTH")
    if tokens is not None and length is not None:
        raise SpecError(
            f"Both `max_input_tokens` ({tokens}) and `max_input_length` ({length}) are set. "
            "Please define only `max_input_tokens` as `max_input_length is deprecated for naming consistency.",
            hint="Remove MAX_INPUT_LENGTH from the container's environment.",
        )
    inputs, total = tokens or length, _number(environment, "MAX_TOTAL_TOKENS")
    if inputs is not None and total is not None and inputs >= total:
        raise SpecError(
            f"`max_input_tokens`({inputs}) must be < `max_total_tokens`({total})",
            hint="The answer needs room: raise MAX_TOTAL_TOKENS or lower MAX_INPUT_TOKENS.",
        )
    return inputs, total


def _length(environment: Mapping[str, str], dialect: DialectName) -> int | None:
    found = (_number(environment, name) for name in _LENGTHS[dialect])
    return next((value for value in found if value is not None), None)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) == 0:
        raise SpecError(f"{name} must be a positive integer. Given: {text!r}")
    return int(text)
