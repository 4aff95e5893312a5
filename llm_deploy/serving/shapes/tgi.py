"""TGI 3, server side: `inputs` in, `generated_text` out, one event with one token each in a stream.

Source: huggingface/text-generation-inference, router/src/{lib,validation,server}.rs of 3.3 (texts of the refusals).
One deviation, on purpose: `return_full_text` is off unless asked for, on `/invocations` too, where TGI turns it on for
models that the Hub tags as text-generation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llm_deploy.dialects.types import FinishReason, GenerationRequest, Token
from llm_deploy.serving.engine import Ending, Json, Piece
from llm_deploy.serving.shapes.asked import Asked, Context, Limits, ShapeError
from llm_deploy.serving.shapes.fields import Fields
from llm_deploy.serving.shapes.grammar import checked_schema, regex_grammar

FINISH_REASONS: dict[FinishReason, str] = {"length": "length", "eos": "eos_token", "stop": "stop_sequence"}
MAX_STOP_SEQUENCES = 4
MAX_TOP_N_TOKENS = 5
_SEEDS = (1 << 32) - 1
_ERROR_TYPES = {422: "validation", 429: "overloaded", 424: "generation", 500: "incomplete_generation"}
_NO_VARIANT = (
    "Failed to deserialize the JSON body into the target type: "
    "data did not match any variant of untagged enum SagemakerRequest"
)


def parse(body: object, limits: Limits) -> Asked:
    """Check a body of `/generate`, or one of `/invocations` that has `inputs`.

    Raises:
        ShapeError: In TGI's words.
    """
    fields = Fields(body)
    prompt = fields.text("inputs")
    if prompt is None:
        raise ShapeError(_NO_VARIANT)
    given = Fields(fields.mapping("parameters") or {}, what="`parameters`")
    stream = fields.boolean("stream")
    if not prompt:
        raise ShapeError("`inputs` cannot be empty")
    _check_best_of(given)
    prefill = given.boolean("decoder_input_details")
    if prefill and stream:
        raise ShapeError("`decoder_input_details` == true is not supported when streaming tokens")
    json_schema, grammar = _grammar(given)
    return Asked(
        request=_request(prompt, given),
        stream=stream,
        top=_top(given),
        details=given.boolean("details") or prefill,
        prefill=prefill,
        truncate=_truncate(given, limits),
        json_schema=json_schema,
        grammar=grammar,
    )


def error(message: str, status: int) -> dict[str, str]:
    """The document for a refusal."""
    text = f"Input validation error: {message}" if status == 422 and message != _NO_VARIANT else message  # noqa: PLR2004 - HTTP's number
    return {"error": text, "error_type": _ERROR_TYPES.get(status, "validation")}


class TgiAnswer:
    """An answer of TGI.

    The last token's event carries the whole text and the details. So a token that may be the last is held until it is
    known; all others go out at once.
    """

    stream_type = "text/event-stream"
    needs_probabilities = True

    def __init__(self, context: Context, *, as_list: bool = False) -> None:
        self._context = context
        self._as_list = as_list
        self._text: list[str] = []
        self._held: Piece | None = None

    def whole(self, pieces: Sequence[Piece], ending: Ending) -> Json:
        """`{"generated_text", "details"?}`, in a list on `/invocations`."""
        text = "".join([piece.token.text for piece in pieces if not piece.token.special])
        document: dict[str, Any] = {"generated_text": self._full_text(text)}
        if self._context.asked.details:
            document["details"] = self._details(pieces, ending)
        return [document] if self._as_list else document

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """The event of the piece that was held, if it was, and this one's unless it may be the last."""
        if not piece.token.special:
            self._text.append(piece.token.text)
        before, self._held = self._held, piece
        out = b"" if before is None else self._event(before)
        if self._may_be_last(piece):
            return out
        self._held = None
        return out + self._event(piece)

    def end(self, ending: Ending) -> bytes:
        """The last token with text and details."""
        last = self._held or Piece("", Token("", 0, 0.0, special=True), (), ending.generated_tokens)
        return self._event(last, self._full_text("".join(self._text)), self._stream_details(ending))

    def broken(self, message: str) -> bytes:
        """An event with the error, as TGI writes it into a stream."""
        document = {"error": f"Request failed during generation: {message}", "error_type": "generation"}
        return _sse(document)

    def _may_be_last(self, piece: Piece) -> bool:
        request = self._context.asked.request
        held_back = piece.text != piece.token.text  # a part of a stop string, perhaps
        return piece.token.special or piece.generated >= (request.max_new_tokens or 0) or held_back

    def _full_text(self, text: str) -> str:
        return self._context.prompt_text + text if self._context.asked.request.return_full_text else text

    def _event(self, piece: Piece, text: str | None = None, details: dict[str, Any] | None = None) -> bytes:
        document: dict[str, Any] = {"index": piece.generated, "token": token_document(piece.token)}
        if self._context.asked.top:
            document["top_tokens"] = [token_document(token) for token in piece.top[: self._context.asked.top]]
        return _sse(document | {"generated_text": text, "details": details})

    def _stream_details(self, ending: Ending) -> dict[str, Any]:
        return {
            "finish_reason": FINISH_REASONS.get(ending.reason, "length"),
            "generated_tokens": ending.generated_tokens,
            "seed": None if self._context.asked.greedy else self._context.seed,
            "input_length": len(self._context.prompt_tokens),
        }

    def _details(self, pieces: Sequence[Piece], ending: Ending) -> dict[str, Any]:
        prefill = self._context.prompt_tokens if self._context.asked.prefill else ()
        document = {
            "finish_reason": FINISH_REASONS.get(ending.reason, "length"),
            "generated_tokens": ending.generated_tokens,
            "seed": None if self._context.asked.greedy else self._context.seed,
            # llama.cpp does not compute the prompt's probabilities; TGI's first one is null as well.
            "prefill": [{"id": token.id, "text": token.text, "logprob": None} for token in prefill],
            "tokens": [token_document(piece.token) for piece in pieces],
        }
        if top := self._context.asked.top:
            document["top_tokens"] = [[token_document(token) for token in piece.top[:top]] for piece in pieces]
        return document


def token_document(token: Token) -> dict[str, Any]:
    """A token as TGI writes it."""
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}


def _sse(document: object) -> bytes:
    return b"data:%s\n\n" % json.dumps(document, separators=(",", ":")).encode()


def _request(prompt: str, given: Fields) -> GenerationRequest:
    stop = given.texts("stop")
    if len(stop) > MAX_STOP_SEQUENCES:
        raise ShapeError(f"`stop` supports up to {MAX_STOP_SEQUENCES} stop sequences. Given: {len(stop)}")
    max_new_tokens = given.integer("max_new_tokens")
    if max_new_tokens is not None and max_new_tokens <= 0:
        raise ShapeError("`max_new_tokens` must be strictly positive")
    typical_p = _open_interval(given, "typical_p")
    return GenerationRequest(
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        temperature=_temperature(given, samples=typical_p is not None),
        top_p=_open_interval(given, "top_p"),
        top_k=_positive_integer(given, "top_k"),
        repetition_penalty=_positive(given, "repetition_penalty"),
        frequency_penalty=frequency_penalty(given),
        stop=stop,
        seed=checked_seed(given),
        return_full_text=given.boolean("return_full_text"),
        extra={} if typical_p is None else {"typical_p": typical_p},
    )


def _temperature(given: Fields, *, samples: bool) -> float:
    """The temperature; 0 (greedy) unless TGI would sample: `do_sample`, or any parameter that changes the odds."""
    temperature = _positive(given, "temperature")
    changed = temperature is not None and temperature != 1.0
    if given.boolean("do_sample") or changed or "top_p" in given or "top_k" in given or samples:
        return 1.0 if temperature is None else temperature
    return 0.0


def _positive(given: Fields, name: str) -> float | None:
    value = given.number(name)
    if value is not None and value <= 0:
        raise ShapeError(f"`{name}` must be strictly positive")
    return value


def _positive_integer(given: Fields, name: str) -> int | None:
    value = given.integer(name)
    if value is not None and not 0 < value < 1 << 31:
        raise ShapeError(f"`{name}` must be strictly positive")
    return value


def _open_interval(given: Fields, name: str) -> float | None:
    value = given.number(name)
    if value is not None and not 0 < value < 1:
        raise ShapeError(f"`{name}` must be > 0.0 and < 1.0")
    return value


def frequency_penalty(given: Fields) -> float | None:
    """The penalty, within TGI's and OpenAI's bounds."""
    value = given.number("frequency_penalty")
    if value is not None and not -2 <= value <= 2:  # noqa: PLR2004 - the bounds in the message
        raise ShapeError("`frequency_penalty` must be >= -2.0 and <= 2.0")
    return value


def checked_seed(given: Fields) -> int | None:
    """A seed of up to 64 bits, folded into the 32 that the engine has (whose all-ones means "random")."""
    seed = given.integer("seed")
    if seed is not None and seed < 0:
        raise ShapeError("`seed` must be >= 0")
    return None if seed is None else seed % _SEEDS


def _top(given: Fields) -> int:
    top = given.integer("top_n_tokens") or 0
    if not 0 <= top <= MAX_TOP_N_TOKENS:
        raise ShapeError(f"`top_n_tokens` must be >= 0 and <= {MAX_TOP_N_TOKENS}. Given: {top}")
    return top


def _truncate(given: Fields, limits: Limits) -> int | None:
    truncate = given.integer("truncate")
    if truncate is not None and not 0 < truncate <= limits.max_input_tokens:
        bound = limits.max_input_tokens
        raise ShapeError(f"`truncate` must be strictly positive and less than {bound}. Given: {truncate}")
    return truncate


def _check_best_of(given: Fields) -> None:
    best_of = given.integer("best_of")
    if best_of is not None and best_of != 1:
        raise ShapeError("`best_of` != 1 is not allowed for this endpoint")


def _grammar(given: Fields) -> tuple[dict[str, Any] | None, str | None]:
    grammar = given.mapping("grammar")
    if grammar is None:
        return None, None
    kind, value = grammar.get("type"), grammar.get("value")
    if kind == "regex" and isinstance(value, str):
        return None, regex_grammar(value)
    if kind in {"json", "json_object"}:
        return _schema(value), None
    raise ShapeError("grammar is not supported")


def _schema(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ShapeError(f"grammar is not valid: {error}") from error
    schema = checked_schema(value)
    if "properties" not in schema:
        raise ShapeError("grammar is not valid: Grammar must have a 'properties' field")
    return schema


class TgiDialect:
    """TGI on `/generate`, `/generate_stream` and, with its answer in a list, on `/invocations`."""

    invalid_status = 422
    failed_status = 424

    def __init__(self, *, as_list: bool = False, stream: bool | None = None) -> None:
        self._as_list = as_list
        self._stream = stream

    def parse(self, body: object, limits: Limits) -> Asked:
        """Check a body; the route may decide whether it streams."""
        if self._stream is not None and isinstance(body, dict):
            body = body | {"stream": self._stream}
        return parse(body, limits)

    def fit(self, prompt_tokens: int, asked: Asked, limits: Limits) -> int:
        """Check TGI's two limits, in its order."""
        wanted = asked.request.max_new_tokens
        total = limits.max_total_tokens
        new = max(total - prompt_tokens, 0) if wanted is None else wanted
        if prompt_tokens + new > total:
            counted = f"{prompt_tokens} `inputs` tokens and {new} `max_new_tokens`"
            raise ShapeError(f"`inputs` tokens + `max_new_tokens` must be <= {total}. Given: {counted}")
        if prompt_tokens > limits.max_input_tokens:
            raise ShapeError(f"`inputs` must have less than {limits.max_input_tokens} tokens. Given: {prompt_tokens}")
        return new

    def answer(self, context: Context) -> TgiAnswer:
        """Begin an answer."""
        return TgiAnswer(context, as_list=self._as_list)

    def error(self, message: str, status: int) -> dict[str, str]:
        """The document for a refusal."""
        return error(message, status)
