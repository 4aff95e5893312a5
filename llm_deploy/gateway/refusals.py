"""Errors as callers see them: status, document and headers, such as the official clients of OpenAI understand.

What a model server says of a request is passed on. What a cloud says to the gateway (accounts, roles, names of
endpoints) is for its log; callers are told that the backend could not be used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from llm_deploy.errors import (
    AccessDeniedError,
    BackendError,
    IndexUnavailableError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    NotFoundError,
    OverloadedError,
    RateLimitedError,
    SpecError,
    StateError,
    StreamBrokenError,
    TooLargeError,
    UnauthenticatedError,
    UnknownModelError,
    WireFormatError,
)

Style = Literal["openai", "tgi"]
_CAPACITY_RETRY_S: Final = 10
_OVERLOADED_RETRY_S: Final = 1
_LONGEST_WAIT_S: Final = 60
"""The official clients take no longer `Retry-After` at its word, and would be back within seconds: in vain, twice."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered.

    Attributes:
        code: One word for programs, and for metrics.
        retry_after_s: Sent as `Retry-After`.
        may_repeat: Whether the same request may be sent again without generating twice.
    """

    status: int
    kind: str
    code: str
    message: str
    retry_after_s: int | None = None
    may_repeat: bool = False

    def document(self, style: Style = "openai") -> dict[str, object]:
        """The error's document."""
        if style == "tgi":
            return {"error": self.message, "error_type": _TGI_TYPES.get(self.status, self.code)}
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}}

    def body(self, style: Style = "openai") -> bytes:
        """The error's document as JSON."""
        return json.dumps(self.document(style), separators=(",", ":")).encode()

    def event(self, style: Style = "openai") -> bytes:
        """The error as an event of a stream that had begun."""
        return b"data: %s\n\n" % self.body(style)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of their own: when to come again, or that the official clients must not by themselves."""
        found = [(b"x-should-retry", b"true" if self.may_repeat else b"false")]
        if self.retry_after_s is not None:
            found.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.status == 401:  # noqa: PLR2004 - HTTP's number
            found.append((b"www-authenticate", b"Bearer"))
        return found


_TGI_TYPES: Final[Mapping[int, str]] = {422: "validation", 400: "validation", 429: "overloaded", 424: "generation"}

_TABLE: Final[tuple[tuple[type[LlmDeployError], int, str, str], ...]] = (
    (TooLargeError, 413, "invalid_request_error", "request_too_large"),
    (UnknownModelError, 404, "invalid_request_error", "model_not_found"),
    (InferenceRequestError, 400, "invalid_request_error", "invalid_request"),
    (UnauthenticatedError, 401, "authentication_error", "invalid_api_key"),
    (AccessDeniedError, 403, "permission_error", "access_denied"),
    (RateLimitedError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (OverloadedError, 429, "rate_limit_error", "overloaded"),
    (NoCapacityError, 503, "server_error", "no_capacity"),
    (BackendError, 503, "server_error", "backend_unavailable"),
    (SpecError, 422, "invalid_request_error", "invalid_request"),
    (StateError, 503, "server_error", "state_unavailable"),
    (IndexUnavailableError, 503, "server_error", "index_unavailable"),
    (InferenceTimeoutError, 504, "server_error", "timeout"),
    (StreamBrokenError, 502, "server_error", "stream_broken"),
    (WireFormatError, 502, "server_error", "bad_answer"),
    (InferenceError, 502, "server_error", "model_failed"),
    (NotFoundError, 404, "invalid_request_error", "not_found"),
)
_ADDRESS: Final = re.compile(r"^(?:cannot )?call (?:endpoint )?\S+: ")
"""How transports begin their messages: with an address that callers need not know."""

_REPEATABLE: Final = (
    RateLimitedError,
    OverloadedError,
    NoCapacityError,
    BackendError,
    IndexUnavailableError,
    StateError,
)


def refusal(error: LlmDeployError) -> Refusal:
    """What a caller is told of an error."""
    for kind, status, family, code in _TABLE:
        if isinstance(error, kind):
            wait_s = _retry_after_s(error)
            repeat = isinstance(error, _REPEATABLE) and (wait_s or 0) <= _LONGEST_WAIT_S
            return Refusal(status, family, code, _told(error), wait_s, repeat)
    return Refusal(500, "server_error", "internal_error", "the gateway failed; its log has this request's id")


def backend_error(error: LlmDeployError, *, model: str) -> LlmDeployError:
    """An error of a backend as it may be told to a caller: the model's own words, or that it could not be used."""
    if isinstance(error, InferenceError):
        return error
    return BackendError(f"the backend of model {model} cannot be used at the moment ({type(error).__name__})")


def _told(error: LlmDeployError) -> str:
    if isinstance(error, WireFormatError):
        return "the model's answer cannot be read"
    if isinstance(error, IndexUnavailableError):
        return "the index of documents cannot be used at the moment"
    message = _ADDRESS.sub("", error.message)
    return f"{message} ({error.hint})" if error.hint else message


def _retry_after_s(error: LlmDeployError) -> int | None:
    if isinstance(error, RateLimitedError):
        return max(1, math.ceil(error.retry_after_s))
    if isinstance(error, NoCapacityError | BackendError | IndexUnavailableError | StateError):
        return _CAPACITY_RETRY_S
    return _OVERLOADED_RETRY_S if isinstance(error, OverloadedError) else None
