"""What a model server says when it fails, in any dialect, as one of our errors.

The shapes: TGI `{"error": text, "error_type": kind}`; OpenAI `{"error": {"message", "type", "code"}}`, and the flat
`{"object": "error", "message", "type", "code"}` of older vLLM; LMI `{"error": text, "code": 424}`, and an answer whose
`finish_reason` is `error`; FastAPI's `{"detail": ...}` before a handler was reached; plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.errors import (
    AccessDeniedError,
    CredentialsError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    OverloadedError,
)

MAX_QUOTED_CHARS = 2000
"""How much of a server's own words is quoted in a message."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A model server's own words: the text, the kind it named, and the status code inside the document."""

    message: str
    kind: str | None = None
    code: int | None = None


_BY_STATUS: Mapping[int, type[LlmDeployError]] = {
    400: InferenceRequestError,
    401: CredentialsError,
    403: AccessDeniedError,
    404: InferenceRequestError,
    405: InferenceRequestError,
    408: InferenceTimeoutError,
    409: InferenceRequestError,
    413: InferenceRequestError,
    415: InferenceRequestError,
    422: InferenceRequestError,
    429: OverloadedError,
    503: NoCapacityError,
    504: InferenceTimeoutError,
}
"""By the status of the model server; any other is an `InferenceError`. 424 is TGI's "generation failed"."""

_OF_THE_CALLER = frozenset({401, 403})
"""A wrong key or one without a grant, which OpenAI and others call `invalid_request_error` too."""

_BY_KIND: Mapping[str, type[InferenceError]] = {
    "overloaded": OverloadedError,
    "rate_limit_exceeded": OverloadedError,
    "rate_limit_error": OverloadedError,
    "validation": InferenceRequestError,
    "template_error": InferenceRequestError,
    "tool_error": InferenceRequestError,
    "empty_input": InferenceRequestError,
    "invalid_request_error": InferenceRequestError,
    "BadRequestError": InferenceRequestError,
    "NotFoundError": InferenceRequestError,
}
"""By the kind the server named, which says more than its status. Source: TGI router `error_type`; OpenAI and vLLM
`error.type`."""

_TOO_LONG = re.compile(
    r"maximum context length|must have less than \d+ tokens|tokens \+ `max_new_tokens` must be|reduce the length of"
)
"""A prompt that does not fit, in vLLM's and TGI's words: LMI says it with 424, its status for everything."""

_TOO_LONG_HINT = (
    "Shorten the prompt or ask for fewer new tokens; what fits is set by limits.max_input_tokens and max_total_tokens."
)

_REFUSALS = (InferenceRequestError, OverloadedError, CredentialsError, AccessDeniedError)
"""Nothing broke: the server would not take this request, or not now, or not from this caller."""

_HINTS: Mapping[type[LlmDeployError], str] = {
    InferenceRequestError: "Change the request: as it is, it would be refused again.",
    OverloadedError: "Try again shortly; more copies, or fewer requests at once, help for good.",
    NoCapacityError: "The model is still loading or scaled to zero; wait for it, or try again.",
    InferenceTimeoutError: "Stream the answer, or ask for fewer new tokens.",
}


def failure_in(document: object) -> Failure | None:
    """The failure that a JSON document reports, or `None` when it is none."""
    if not isinstance(document, dict):
        return None
    if document.get("object") == "error":
        return _from_fields(document)
    error = document.get("error")
    if isinstance(error, dict):
        return _from_fields(error)
    if error:
        return Failure(_text(error), _word(document.get("error_type")), _number(document.get("code")))
    details = document.get("details")
    if isinstance(details, dict) and details.get("finish_reason") == "error":
        return Failure("the engine ended the answer with finish_reason 'error' and gave no reason")
    return None


def model_error(text: str, *, status: int | None = None, where: str = "the model server") -> LlmDeployError:
    """The error for an answer with an error status.

    Args:
        text: The body, or as much of it as is known.
        status: The model server's own status code.
        where: Who failed, as the message names it.
    """
    failure = _failure_of_body(text)
    return error_for(failure, status=status, where=where)


def error_for(failure: Failure, *, status: int | None = None, where: str = "the model server") -> LlmDeployError:
    """The error for a failure that was read from a document."""
    code = status if status is not None else failure.code
    said = f" (HTTP {status})" if status is not None else ""
    if _TOO_LONG.search(failure.message):
        return InferenceRequestError(f"{where} refused the request{said}: {failure.message}", hint=_TOO_LONG_HINT)
    by_kind = None if code in _OF_THE_CALLER else _BY_KIND.get(failure.kind or "")
    kind = by_kind or _BY_STATUS.get(code or 0, InferenceError)
    verb = "refused the request" if issubclass(kind, _REFUSALS) else "failed"
    return kind(f"{where} {verb}{said}: {failure.message}", hint=_HINTS.get(kind))


def _failure_of_body(text: str) -> Failure:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Failure(_text(text.strip() or "it gave no reason"))
    found = failure_in(document)
    if found is None and isinstance(document, dict):
        found = _from_fields(document)
    return found or Failure(_text(document))


def _from_fields(fields: dict[str, Any]) -> Failure:
    message = fields.get("message") or fields.get("detail") or fields
    return Failure(_text(message), _word(fields.get("type")), _number(fields.get("code")))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_QUOTED_CHARS else text[:MAX_QUOTED_CHARS] + "..."


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
