"""The error tree: what happened, why, what to do.

Every error that a person can meet is an `LlmDeployError`. It is made where the cause is known (a cloud's answer is
translated once, at the line of the I/O) and shown where the person is: the CLI prints `message` and `hint` and exits
with `exit_code`; an HTTP service answers with `http_status`. Nothing here imports anything.
"""

from __future__ import annotations

from typing import ClassVar


class LlmDeployError(Exception):
    """Base of every error of this package.

    Attributes:
        message: What happened and why, one or a few lines, free of secrets.
        hint: What to do about it, or `None` where nothing useful can be said.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(LlmDeployError):
    """A spec, a setting or a flag is wrong; the message names file, line and field of every problem found."""

    exit_code = 3
    http_status = 422


class CredentialsError(LlmDeployError):
    """No credentials, expired ones, or ones that the cloud does not know."""

    exit_code = 4
    http_status = 503


class AccessDeniedError(LlmDeployError):
    """The caller is known, and may not do this."""

    exit_code = 5
    http_status = 403


class NotFoundError(LlmDeployError):
    """The thing that was named does not exist."""

    exit_code = 6
    http_status = 404


class ConflictError(LlmDeployError):
    """The name is taken by something that is not ours, or somebody else is changing it."""

    exit_code = 7
    http_status = 409


class BusyError(ConflictError):
    """The object is being changed right now, by the cloud itself or by somebody else."""

    exit_code = 17
    retryable = True


class QuotaError(LlmDeployError):
    """An account limit, or the cloud's capacity, does not allow it."""

    exit_code = 8
    http_status = 503


class DeployError(LlmDeployError):
    """A deployment went wrong after it had started; what was made is said, and running it again goes on from there."""

    exit_code = 9
    http_status = 502


class WaitTimeoutError(LlmDeployError):
    """A deadline of ours passed; the cloud may still be working."""

    exit_code = 10
    http_status = 504
    retryable = True


class LeftoverError(LlmDeployError):
    """A deletion ended and the search afterwards still found something."""

    exit_code = 11


class CloudError(LlmDeployError):
    """The cloud answered with an error that has no better name here, or could not be reached."""

    exit_code = 12
    http_status = 502


class ThrottledError(CloudError):
    """The cloud asked for fewer requests, and went on asking after every retry."""

    http_status = 503
    retryable = True


class UnavailableError(CloudError):
    """The cloud failed by itself, or the connection broke in the middle: whether it did what was asked is not known."""

    http_status = 503
    retryable = True


class UnreachableError(CloudError):
    """No connection could be made, so nothing was sent."""

    http_status = 503
    retryable = True


class NotYetError(CloudError):
    """The cloud refuses for now and will not in a while: a role made a moment ago cannot be assumed yet."""

    exit_code = 16
    http_status = 503
    retryable = True


class LocalCloudError(LlmDeployError):
    """The local cloud cannot start, run or be reached: a taken port, no disk, a missing extra."""

    exit_code = 13


class PortTakenError(LocalCloudError):
    """The local cloud cannot start because another program listens on its port."""


class ModelFileError(LlmDeployError):
    """A model file is missing, damaged or not what its hash promised."""

    exit_code = 14


class FileWriteError(LlmDeployError):
    """A file of ours cannot be written: no room on the disk, or no permission."""

    exit_code = 18


class MissingExtraError(LlmDeployError):
    """A feature needs an optional dependency that is not installed."""

    exit_code = 15


class InferenceError(LlmDeployError):
    """A call of a model failed.

    Attributes:
        partial_text: What had been generated before the failure; empty when nothing had.
    """

    exit_code = 20
    http_status = 502

    def __init__(self, message: str, *, hint: str | None = None, partial_text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.partial_text = partial_text


class InferenceRequestError(InferenceError):
    """The model server refused the request as wrong; sending it again would be refused again."""

    exit_code = 21
    http_status = 400


class NoCapacityError(InferenceError):
    """No copy of the model is up (scaled to zero, still loading); nothing was generated, so it may be tried again."""

    exit_code = 22
    http_status = 503
    retryable = True


class OverloadedError(InferenceError):
    """The model server has no free place; nothing was generated, so it may be tried again."""

    exit_code = 23
    http_status = 429
    retryable = True


class InferenceTimeoutError(InferenceError):
    """The time allowed for an answer passed; the model may have worked on it, so it is not tried again by itself."""

    exit_code = 24
    http_status = 504


class StreamBrokenError(InferenceError):
    """A stream ended before its last event; `partial_text` holds what had arrived."""

    exit_code = 25


class WireFormatError(InferenceError):
    """Bytes arrived that are not of the dialect that was expected."""

    exit_code = 26


class UnauthenticatedError(LlmDeployError):
    """A caller of one of our services gave no API key, or one that is unknown, expired or revoked."""

    exit_code = 27
    http_status = 401


class RateLimitedError(LlmDeployError):
    """A caller of one of our services has used up what it may use in this span of time.

    Attributes:
        retry_after_s: When to try again; services send it as `Retry-After`.
    """

    exit_code = 28
    http_status = 429
    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class IndexUnavailableError(LlmDeployError):
    """The vector index cannot be reached, or refuses what was asked of it."""

    exit_code = 29
    http_status = 503
    retryable = True


class StateError(LlmDeployError):
    """The gateway's state (keys, usage) cannot be read or written: database down, disk full, file damaged."""

    exit_code = 30
    http_status = 503
    retryable = True


class TooLargeError(InferenceRequestError):
    """The body of a request to one of our services is larger than allowed."""

    http_status = 413


class UnknownModelError(InferenceRequestError):
    """One of our services has no model of the name that was asked for."""

    http_status = 404


class BackendError(LlmDeployError):
    """A backend of the gateway's could not be used; nothing was generated. What it said is in the gateway's log."""

    http_status = 503
    retryable = True
