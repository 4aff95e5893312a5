"""LMI (DJL Serving), server side: TGI's request with other names, an object or JSON lines as the answer.

Source: DJL Serving docs, lmi_input_output_schema: `log_prob`, `inputs` in the details, 30 tokens and greedy by default.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llm_deploy.dialects.types import GenerationRequest, Token
from llm_deploy.serving.engine import Ending, Json, Piece
from llm_deploy.serving.shapes.asked import Asked, Context, Limits, ShapeError
from llm_deploy.serving.shapes.fields import Fields
from llm_deploy.serving.shapes.openai import fit
from llm_deploy.serving.shapes.tgi import FINISH_REASONS, checked_seed, frequency_penalty

_DEFAULT_NEW_TOKENS = 30


def parse(body: object, _limits: Limits) -> Asked:
    """Check a body that has `inputs` or `prompt`.

    Raises:
        ShapeError: With status 424, as LMI answers whatever is wrong.
    """
    fields = Fields(body, status=424)
    prompt = fields.text("inputs") if "inputs" in fields else fields.text("prompt")
    if not prompt:
        raise ShapeError("`inputs` is missing or empty", 424)
    given = Fields(fields.mapping("parameters") or {}, what="`parameters`", status=424)
    if given.integer("n") not in {None, 1} or given.integer("best_of") not in {None, 1}:
        raise ShapeError("this server generates one answer a request: `n` and `best_of` must be 1", 424)
    try:
        request = _request(prompt, given)
    except ShapeError as error:
        raise ShapeError(error.message, 424) from error
    return Asked(request=request, stream=fields.boolean("stream"), details=given.boolean("details"))


class LmiAnswer:
    """An answer of LMI; its text leaves the stop string out, as vLLM does below it."""

    stream_type = "application/jsonlines"
    needs_probabilities = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text: list[str] = []
        self._held: Piece | None = None

    def whole(self, pieces: Sequence[Piece], ending: Ending) -> Json:
        """`{"generated_text", "details"?}`."""
        text = "".join([piece.text for piece in pieces]) + ending.text
        document: dict[str, Any] = {"generated_text": self._full_text(text)}
        if self._context.asked.details:
            tokens = [_token(piece.token) for piece in pieces]
            document["details"] = self._details(ending) | {"tokens": tokens}
        return document

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """The piece before; one is always held, because the last line carries the text."""
        self._text.append(piece.text)
        before, self._held = self._held, piece
        return b"" if before is None else _line({"token": _shown(before)})

    def end(self, ending: Ending) -> bytes:
        """The last token with text and details."""
        self._text.append(ending.text)
        token = _token(Token("", None, None)) if self._held is None else _shown(self._held)
        document = {"token": token, "generated_text": self._full_text("".join(self._text))}
        return _line(document | {"details": self._details(ending)})

    def broken(self, message: str) -> bytes:
        """A line with the error; the status was 200 already."""
        return _line(error(message, 424))

    def _full_text(self, text: str) -> str:
        return self._context.prompt_text + text if self._context.asked.request.return_full_text else text

    def _details(self, ending: Ending) -> dict[str, Any]:
        return {
            "finish_reason": FINISH_REASONS.get(ending.reason, "length"),
            "generated_tokens": ending.generated_tokens,
            "inputs": self._context.prompt_text,
        }


def error(message: str, status: int) -> dict[str, Any]:
    """The document for a refusal."""
    return {"error": message, "code": status}


def _shown(piece: Piece) -> dict[str, Any]:
    """A token with the text that it adds to the answer."""
    return {"id": piece.token.id, "text": piece.text, "log_prob": piece.token.logprob}


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "log_prob": token.logprob}


def _line(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _request(prompt: str, given: Fields) -> GenerationRequest:
    max_new_tokens = given.integer("max_new_tokens")
    if max_new_tokens is None:
        max_new_tokens = _DEFAULT_NEW_TOKENS
    top_p, top_k = given.number("top_p"), given.integer("top_k")
    temperature, penalty = given.number("temperature"), given.number("repetition_penalty")
    if max_new_tokens <= 0:
        raise ShapeError("`max_new_tokens` must be at least 1")
    if temperature is not None and temperature < 0:
        raise ShapeError("`temperature` must be non-negative")
    if top_p is not None and not 0 < top_p <= 1:
        raise ShapeError("`top_p` must be in (0, 1]")
    if penalty is not None and penalty <= 0:
        raise ShapeError("`repetition_penalty` must be greater than zero")
    if not given.boolean("do_sample"):
        temperature = 0.0
    return GenerationRequest(
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        temperature=1.0 if temperature is None else temperature,
        top_p=top_p,
        top_k=top_k if top_k is not None and 0 < top_k < 1 << 31 else None,
        repetition_penalty=penalty,
        frequency_penalty=frequency_penalty(given),
        stop=given.texts("stop_sequences") + given.texts("stop"),
        seed=checked_seed(given),
        return_full_text=given.boolean("return_full_text"),
    )


class LmiDialect:
    """LMI on `/invocations`."""

    invalid_status = 424
    failed_status = 424

    def parse(self, body: object, limits: Limits) -> Asked:
        """Check a body."""
        return parse(body, limits)

    def fit(self, prompt_tokens: int, asked: Asked, limits: Limits) -> int:
        """Check the context, which vLLM does below LMI."""
        return fit(prompt_tokens, asked.request.max_new_tokens, limits, status=424)

    def answer(self, context: Context) -> LmiAnswer:
        """Begin an answer."""
        return LmiAnswer(context)

    def error(self, message: str, status: int) -> dict[str, Any]:
        """The document for a refusal."""
        return error(message, status)
