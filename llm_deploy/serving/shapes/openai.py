"""OpenAI's chat and text completions as vLLM serves them: chunks in a stream, `[DONE]` at its end.

Source: vLLM's OpenAI-compatible server (defaults, texts of the refusals, error document).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llm_deploy.dialects.types import FinishReason, GenerationRequest, Token
from llm_deploy.serving.engine import Ending, Piece
from llm_deploy.serving.shapes.asked import Asked, Context, Limits, ShapeError
from llm_deploy.serving.shapes.fields import Fields
from llm_deploy.serving.shapes.grammar import checked_schema, regex_grammar
from llm_deploy.serving.shapes.tgi import checked_seed

NO_HANDLER = "Cannot find suitable handler for request. Supported types are [ChatCompletionRequest, CompletionRequest]."
_FINISH: dict[FinishReason, str] = {"length": "length", "eos": "stop", "stop": "stop"}
_ERROR_TYPES = {400: "BadRequestError", 404: "NotFoundError", 429: "TooManyRequestsError", 503: "ServiceUnavailable"}
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_MAX_TOP_LOGPROBS = 20
_MAX_TOP_COMPLETION_LOGPROBS = 5
_COMPLETION_NEW_TOKENS = 16
_ANY_OBJECT = {"type": "object"}
_BAD = 400
_Json = dict[str, Any]


def parse_chat(body: object, _limits: Limits) -> Asked:
    """Check a body of `/v1/chat/completions`.

    Raises:
        ShapeError: With status 400.
    """
    fields = Fields(body, status=_BAD)
    messages = _messages(fields)
    if fields.get("tools") and fields.get("tool_choice") != "none":
        raise ShapeError("this model's chat template has no tools: leave `tools` out", _BAD)
    logprobs = fields.boolean("logprobs")
    top = fields.integer("top_logprobs") or 0
    if not 0 <= top <= _MAX_TOP_LOGPROBS:
        raise ShapeError(f"`top_logprobs` must be from 0 to {_MAX_TOP_LOGPROBS}", _BAD)
    if top and not logprobs:
        raise ShapeError("when using `top_logprobs`, `logprobs` must be set to true.", _BAD)
    limit = _new_tokens(fields, "max_completion_tokens", _new_tokens(fields, "max_tokens", None))
    return _asked(fields, GenerationRequest(messages=messages, max_new_tokens=limit, logprobs=logprobs), top)


def parse_completion(body: object, _limits: Limits) -> Asked:
    """Check a body of `/v1/completions`: one prompt, as text.

    Raises:
        ShapeError: With status 400.
    """
    fields = Fields(body, status=_BAD)
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise ShapeError("`prompt` must be one string that is not empty", _BAD)
    logprobs = fields.integer("logprobs")
    if logprobs is not None and not 0 <= logprobs <= _MAX_TOP_COMPLETION_LOGPROBS:
        raise ShapeError(f"`logprobs` must be from 0 to {_MAX_TOP_COMPLETION_LOGPROBS}", _BAD)
    if fields.get("suffix"):
        raise ShapeError("suffix is not currently supported", _BAD)
    request = GenerationRequest(
        prompt=fields.checked_text("prompt", prompt),
        max_new_tokens=_new_tokens(fields, "max_tokens", _COMPLETION_NEW_TOKENS),
        logprobs=logprobs is not None,
        return_full_text=fields.boolean("echo"),
    )
    return _asked(fields, request, logprobs or 0)


def error(message: str, status: int) -> _Json:
    """The document for a refusal, in the nested form of OpenAI and of vLLM since 0.10."""
    kind = _ERROR_TYPES.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


class _OpenAiAnswer:
    """What chat and text completions share: the frame around choices, usage, and the end of a stream."""

    stream_type = "text/event-stream"
    kind = ""
    chunk_kind = ""
    id_prefix = ""

    def __init__(self, context: Context, *, as_lines: bool = False) -> None:
        self._context = context
        self._as_lines = as_lines
        self.needs_probabilities = context.asked.request.logprobs
        if as_lines:
            self.stream_type = "application/jsonlines"

    def broken(self, message: str) -> bytes:
        """An event with the error, then the end."""
        return self._event(error(message, 500)) + self._done()

    def _frame(self, kind: str, choices: list[_Json]) -> _Json:
        return {
            "id": f"{self.id_prefix}-{self._context.request_id}",
            "object": kind,
            "created": self._context.created_s,
            "model": self._context.model,
            "choices": choices,
        }

    def _usage(self, ending: Ending) -> _Json:
        prompt, generated = len(self._context.prompt_tokens), ending.generated_tokens
        return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}

    def _chunk(self, choice: _Json) -> bytes:
        document = self._frame(self.chunk_kind, [choice])
        return self._event(document | {"usage": None} if self._context.asked.include_usage else document)

    def _usage_chunk(self, ending: Ending) -> bytes:
        if not self._context.asked.include_usage:
            return b""
        return self._event(self._frame(self.chunk_kind, []) | {"usage": self._usage(ending)})

    def _event(self, document: _Json) -> bytes:
        text = json.dumps(document, separators=(",", ":")).encode()
        return text + b"\n" if self._as_lines else b"data: %s\n\n" % text

    def _done(self) -> bytes:
        return b"" if self._as_lines else b"data: [DONE]\n\n"


class ChatAnswer(_OpenAiAnswer):
    """An answer of `/v1/chat/completions`; as JSON lines when LMI gives it."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    id_prefix = "chatcmpl"

    def whole(self, pieces: Sequence[Piece], ending: Ending) -> _Json:
        """One choice and the usage."""
        text = "".join([piece.text for piece in pieces]) + ending.text
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": self._logprobs(pieces),
            "finish_reason": _FINISH.get(ending.reason, "stop"),
        }
        return self._frame(self.kind, [choice]) | {"usage": self._usage(ending)}

    def start(self) -> bytes:
        """The chunk that names the role."""
        return self._choice({"role": "assistant", "content": ""}, None, None)

    def piece(self, piece: Piece) -> bytes:
        """A chunk, unless there is neither text nor a probability to tell."""
        if not piece.text and not self.needs_probabilities:
            return b""
        return self._choice({"content": piece.text}, self._logprobs([piece]), None)

    def end(self, ending: Ending) -> bytes:
        """The chunk with the reason, the usage if asked for, and `[DONE]`."""
        held = self._choice({"content": ending.text}, None, None) if ending.text else b""
        last = self._choice({}, None, _FINISH.get(ending.reason, "stop"))
        return held + last + self._usage_chunk(ending) + self._done()

    def _choice(self, delta: _Json, logprobs: _Json | None, reason: str | None) -> bytes:
        return self._chunk({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason})

    def _logprobs(self, pieces: Sequence[Piece]) -> _Json | None:
        if not self.needs_probabilities:
            return None
        top = self._context.asked.top
        return {
            "content": [
                _logprob(piece.token) | {"top_logprobs": [_logprob(token) for token in piece.top[:top]]}
                for piece in pieces
            ]
        }


class CompletionAnswer(_OpenAiAnswer):
    """An answer of `/v1/completions`."""

    kind = "text_completion"
    chunk_kind = "text_completion"
    id_prefix = "cmpl"

    def __init__(self, context: Context, *, as_lines: bool = False) -> None:
        super().__init__(context, as_lines=as_lines)
        self._offset = 0

    def whole(self, pieces: Sequence[Piece], ending: Ending) -> _Json:
        """One choice and the usage."""
        text = self._echo() + "".join([piece.text for piece in pieces]) + ending.text
        choice = {
            "index": 0,
            "text": text,
            "logprobs": self._logprobs(pieces),
            "finish_reason": _FINISH.get(ending.reason, "stop"),
        }
        return self._frame(self.kind, [choice]) | {"usage": self._usage(ending)}

    def start(self) -> bytes:
        """The prompt, if it is to be echoed."""
        echo = self._echo()
        return self._choice(echo, None, None) if echo else b""

    def piece(self, piece: Piece) -> bytes:
        """A chunk, unless there is neither text nor a probability to tell."""
        if not piece.text and not self.needs_probabilities:
            return b""
        return self._choice(piece.text, self._logprobs([piece]), None)

    def end(self, ending: Ending) -> bytes:
        """The chunk with the reason, the usage if asked for, and `[DONE]`."""
        last = self._choice(ending.text, None, _FINISH.get(ending.reason, "stop"))
        return last + self._usage_chunk(ending) + self._done()

    def _echo(self) -> str:
        return self._context.prompt_text if self._context.asked.request.return_full_text else ""

    def _choice(self, text: str, logprobs: _Json | None, reason: str | None) -> bytes:
        return self._chunk({"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason})

    def _logprobs(self, pieces: Sequence[Piece]) -> _Json | None:
        if not self.needs_probabilities:
            return None
        offsets = []
        for piece in pieces:
            offsets.append(self._offset)
            self._offset += len(piece.token.text)
        top = self._context.asked.top
        return {
            "text_offset": offsets,
            "token_logprobs": [piece.token.logprob for piece in pieces],
            "tokens": [piece.token.text for piece in pieces],
            "top_logprobs": [{token.text: token.logprob for token in piece.top[:top]} for piece in pieces],
        }


def _logprob(token: Token) -> _Json:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode())}


def _messages(fields: Fields) -> tuple[_Json, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ShapeError("`messages` must be a list that is not empty", _BAD)
    return tuple(_message(Fields(message, what="each message", status=_BAD)) for message in messages)


def _message(fields: Fields) -> _Json:
    role = fields.text("role")
    if role not in _ROLES:
        raise ShapeError(f"`role` must be one of {', '.join(sorted(_ROLES))}. Given: {role!r}", _BAD)
    content = fields.get("content")
    if isinstance(content, list):
        content = "".join(_part(Fields(part, what="each part of a content", status=_BAD)) for part in content)
    if content is None and role == "assistant":
        content = ""
    if not isinstance(content, str):
        raise ShapeError("`content` must be a string, or a list of parts with text", _BAD)
    return {"role": role, "content": fields.checked_text("content", content)}


def _part(fields: Fields) -> str:
    if fields.get("type") != "text":
        raise ShapeError("this model reads text only: each part must be of the type `text`", _BAD)
    return fields.text("text") or ""


def _asked(fields: Fields, request: GenerationRequest, top: int) -> Asked:
    if fields.integer("n") not in {None, 1} or fields.integer("best_of") not in {None, 1}:
        raise ShapeError("this server generates one answer a request: `n` and `best_of` must be 1", _BAD)
    json_schema, grammar = _format(fields)
    options = fields.mapping("stream_options") or {}
    return Asked(
        request=_with_sampling(request, fields),
        stream=fields.boolean("stream"),
        top=top,
        include_usage=bool(options.get("include_usage")),
        model=fields.text("model"),
        json_schema=json_schema,
        grammar=grammar,
    )


def _with_sampling(request: GenerationRequest, fields: Fields) -> GenerationRequest:
    temperature, top_p = fields.number("temperature"), fields.number("top_p")
    top_k, penalty = fields.integer("top_k"), fields.number("repetition_penalty")
    if temperature is not None and temperature < 0:
        raise ShapeError(f"temperature must be non-negative, got {temperature}.", _BAD)
    if top_p is not None and not 0 < top_p <= 1:
        raise ShapeError(f"top_p must be in (0, 1], got {top_p}.", _BAD)
    if penalty is not None and penalty <= 0:
        raise ShapeError(f"repetition_penalty must be greater than zero, got {penalty}.", _BAD)
    try:
        seed = checked_seed(fields)
    except ShapeError as error_:
        raise ShapeError(error_.message, _BAD) from error_
    return GenerationRequest(
        prompt=request.prompt,
        messages=request.messages,
        max_new_tokens=request.max_new_tokens,
        temperature=1.0 if temperature is None else temperature,
        top_p=top_p,
        top_k=top_k if top_k is not None and 0 < top_k < 1 << 31 else None,
        repetition_penalty=penalty,
        frequency_penalty=_penalty(fields, "frequency_penalty"),
        stop=fields.texts("stop"),
        seed=seed,
        logprobs=request.logprobs,
        return_full_text=request.return_full_text,
        extra=_extra(fields),
    )


def _extra(fields: Fields) -> _Json:
    min_p = fields.number("min_p")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ShapeError(f"min_p must be in [0, 1], got {min_p}.", _BAD)
    extra = {"min_p": min_p, "presence_penalty": _penalty(fields, "presence_penalty")}
    return {name: value for name, value in extra.items() if value is not None}


def _penalty(fields: Fields, name: str) -> float | None:
    value = fields.number(name)
    if value is not None and not -2 <= value <= 2:  # noqa: PLR2004 - the bounds in the message
        raise ShapeError(f"{name} must be in [-2, 2], got {value}.", _BAD)
    return value


def _new_tokens(fields: Fields, name: str, default: int | None) -> int | None:
    value = fields.integer(name)
    if value is not None and value < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}.", _BAD)
    return default if value is None else value


def _format(fields: Fields) -> tuple[_Json | None, str | None]:
    """What constrains the answer: OpenAI's `response_format`, TGI's form of it, or vLLM's own words, old and new."""
    outputs = fields.mapping("structured_outputs") or {}
    wanted = fields.mapping("response_format") or {"type": "text"}
    tgi = wanted.get("value") if wanted.get("type") in {"json", "json_object"} else None
    for schema in (outputs.get("json"), fields.get("guided_json"), tgi):
        if schema is not None:
            return checked_schema(schema, status=_BAD), None
    tgi = wanted.get("value") if wanted.get("type") == "regex" else None
    for regex in (outputs.get("regex"), fields.text("guided_regex"), tgi):
        if isinstance(regex, str):
            return None, regex_grammar(regex, status=_BAD)
    return _openai_format(wanted), None


def _openai_format(wanted: Mapping[str, Any]) -> _Json | None:
    """The schema of a `response_format`."""
    if wanted.get("type") == "json_object":
        return _ANY_OBJECT
    if wanted.get("type") == "json_schema" and isinstance(wanted.get("json_schema"), dict):
        return checked_schema(wanted["json_schema"].get("schema"), status=_BAD)
    if wanted.get("type") != "text":
        raise ShapeError("`response_format` must be of the type text, json_object or json_schema", _BAD)
    return None


def fit(prompt_tokens: int, wanted: int | None, limits: Limits, *, status: int = _BAD) -> int:
    """Return how many tokens may be generated.

    Raises:
        ShapeError: In vLLM's words.
    """
    total, room = limits.max_total_tokens, limits.max_total_tokens - prompt_tokens
    context = f"This model's maximum context length is {total} tokens"
    if prompt_tokens > limits.max_input_tokens:
        counted = f"However, your request has {prompt_tokens} input tokens."
        raise ShapeError(f"{context}. {counted} Please reduce the length of the input messages.", status)
    if wanted is not None and wanted > room:
        counted = f"{context} and your request has {prompt_tokens} input tokens ({wanted} > {total} - {prompt_tokens})."
        raise ShapeError(f"'max_tokens' or 'max_completion_tokens' is too large: {wanted}. {counted}", status)
    return room if wanted is None else wanted


def _check_model(asked: Asked, model: str | None) -> Asked:
    if model is not None and asked.model not in {None, "", model}:
        raise ShapeError(f"The model `{asked.model}` does not exist.", 404)
    return asked


class ChatDialect:
    """Chat completions; as JSON lines where LMI speaks.

    Args:
        model: The only name that `model` may have; `None` takes any.
    """

    invalid_status = 400
    failed_status = 500

    def __init__(self, *, model: str | None = None, as_lines: bool = False) -> None:
        self._model = model
        self._as_lines = as_lines

    def parse(self, body: object, limits: Limits) -> Asked:
        """Check a body."""
        return _check_model(parse_chat(body, limits), self._model)

    def fit(self, prompt_tokens: int, asked: Asked, limits: Limits) -> int:
        """Check the context."""
        return fit(prompt_tokens, asked.request.max_new_tokens, limits)

    def answer(self, context: Context) -> ChatAnswer:
        """Begin an answer."""
        return ChatAnswer(context, as_lines=self._as_lines)

    def error(self, message: str, status: int) -> _Json:
        """The document for a refusal."""
        return error(message, status)


class CompletionDialect:
    """Text completions.

    Args:
        model: The only name that `model` may have; `None` takes any.
    """

    invalid_status = 400
    failed_status = 500

    def __init__(self, *, model: str | None = None) -> None:
        self._model = model

    def parse(self, body: object, limits: Limits) -> Asked:
        """Check a body."""
        return _check_model(parse_completion(body, limits), self._model)

    def fit(self, prompt_tokens: int, asked: Asked, limits: Limits) -> int:
        """Check the context."""
        return fit(prompt_tokens, asked.request.max_new_tokens, limits)

    def answer(self, context: Context) -> CompletionAnswer:
        """Begin an answer."""
        return CompletionAnswer(context)

    def error(self, message: str, status: int) -> _Json:
        """The document for a refusal."""
        return error(message, status)
