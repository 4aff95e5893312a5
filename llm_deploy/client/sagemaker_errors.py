"""The one table that turns SageMaker runtime's errors into ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from llm_deploy import aws
from llm_deploy.client.wire.eventstream import Fault
from llm_deploy.dialects.failures import model_error
from llm_deploy.errors import (
    CloudError,
    InferenceError,
    InferenceRequestError,
    InferenceTimeoutError,
    LlmDeployError,
    NoCapacityError,
    NotFoundError,
    StreamBrokenError,
    UnreachableError,
)

_FAILED = 500

CAPACITY_HINT = (
    "Wait for it: --wait SECONDS on the command line, wait_for_capacity_s in Python; an endpoint that scales from "
    "zero needs some minutes. If it never comes back, `llmdeploy status` says how many copies are wanted."
)
TIMEOUT_HINT = (
    "Stream the answer (SageMaker allows 8 minutes for a stream, 60 s for a whole answer), or ask for fewer new tokens."
)
ENDPOINT_HINT = "`llmdeploy list` shows them."
COMPONENT_HINT = (
    "`llmdeploy status` shows an endpoint's components; say which with --component on the command line, "
    "inference_component_name in Python."
)

_VALIDATION_TEXTS: tuple[tuple[str, type[LlmDeployError], str | None], ...] = (
    (r"has no capacity to process", NoCapacityError, CAPACITY_HINT),
    (r"(?s)^Endpoint .* not found", NotFoundError, ENDPOINT_HINT),
    (r"^Could not find endpoint ", NotFoundError, ENDPOINT_HINT),
    (r"Inference Component Name header is required", InferenceRequestError, COMPONENT_HINT),
    (r"[Ii]nference [Cc]omponent .*(not found|does not exist)", NotFoundError, COMPONENT_HINT),
    (r"^Could not find ", NotFoundError, COMPONENT_HINT),
)
"""SageMaker runtime says many things as `ValidationError`; only the text tells them apart.

Source: reports by users of SageMaker, in public issue threads.
"""

_CONTAINER_TIMEOUT = "Your invocation timed out while waiting for a response"
_STREAM_TIMEOUT = "did not complete sending the inference response in the allotted time"
"""Of `ModelStreamError`; its member `ErrorCode` (ModelInvocationTimeExceeded) says it too, but botocore drops it."""

_QUOTED_MESSAGE = r'(?s)^Received (?:server|client) error \((\d+)\) from \S+ with message "(.*)"\.? See '


def _validation(details: Mapping[str, Any], action: str) -> LlmDeployError:
    text = str(details.get("Message", ""))
    for pattern, kind, hint in _VALIDATION_TEXTS:
        if re.search(pattern, text):
            return kind(f"cannot {action}: {text}", hint=hint)
    return InferenceRequestError(f"cannot {action}: {text}")


def _model(details: Mapping[str, Any], action: str) -> LlmDeployError:
    text = str(details.get("Message", ""))
    if _CONTAINER_TIMEOUT in text or _CONTAINER_TIMEOUT in str(details.get("OriginalMessage", "")):
        return InferenceTimeoutError(f"cannot {action}: {text}", hint=TIMEOUT_HINT)
    quoted = re.match(_QUOTED_MESSAGE, text)
    status = details.get("OriginalStatusCode") or (int(quoted[1]) if quoted else None)
    original = str(details.get("OriginalMessage") or (quoted[2] if quoted else text))
    return model_error(original, status=status, where=f"cannot {action}: the model server")


def _not_ready(details: Mapping[str, Any], action: str) -> LlmDeployError:
    return NoCapacityError(f"cannot {action}: {details.get('Message', 'the model is not ready')}", hint=CAPACITY_HINT)


def _cloud(details: Mapping[str, Any], action: str) -> LlmDeployError:
    text = details.get("Message") or details.get("Code")
    return CloudError(f"cannot {action}: {text} ({details.get('Code')})", hint="Try again; this one is AWS's.")


def _broken_model_stream(details: Mapping[str, Any], action: str) -> LlmDeployError:
    text = f"{action}: {details.get('Message', '')} (ModelStreamError)"
    if _STREAM_TIMEOUT in text:
        return InferenceTimeoutError(text, hint="SageMaker allows a stream 8 minutes; ask for fewer new tokens.")
    return StreamBrokenError(text)


def _broken_stream(details: Mapping[str, Any], action: str) -> LlmDeployError:
    return StreamBrokenError(f"{action}: {details.get('Message', '')} ({details.get('Code')})")


TABLE: Mapping[str, Callable[[Mapping[str, Any], str], LlmDeployError]] = {
    "ValidationError": _validation,
    "ValidationException": _validation,
    "ModelError": _model,
    "ModelNotReadyException": _not_ready,
    "ServiceUnavailable": _cloud,
    "InternalFailure": _cloud,
    "InternalDependencyException": _cloud,
    "ModelStreamError": _broken_model_stream,
    "InternalStreamFailure": _broken_stream,
}
"""Every error that botocore's model names for the operations we call, by code; a test compares. Whatever else comes
(credentials, permissions, throttling) is common to AWS and is in `llm_deploy.aws`."""


_MEMBERS = frozenset({"OriginalStatusCode", "OriginalMessage", "LogStreamArn", "ErrorCode"})
"""What errors carry beside code and message. Source: botocore's model of the service."""


def translate_answer(status: int, kind: str | None, body: bytes, action: str) -> LlmDeployError:
    """Our error for an answer of the runtime with an error status, read as botocore reads it.

    Args:
        status: HTTP's.
        kind: The header `x-amzn-ErrorType`, where there is one.
        body: The document, or whatever a load balancer sent in its place.
        action: What was tried.
    """
    return _from_response(_response(status, kind, body), action)


def code_and_message(status: int, kind: str | None, body: bytes) -> tuple[str, str]:
    """What an answer calls its error, and its words."""
    error = _response(status, kind, body)["Error"]
    return error["Code"], error["Message"]


def translate_fault(fault: Fault, action: str) -> InferenceError:
    """Our error for what broke an event stream off: the service's exception in it, or damage."""
    if fault.code is None:
        return StreamBrokenError(f"{action}: the connection broke in the middle of the answer ({fault.message})")
    response = _response(400, fault.code, fault.payload)
    response["Error"]["Message"] = response["Error"]["Message"] or fault.message
    return _mid_stream(_from_response(response, action))


def _response(status: int, kind: str | None, body: bytes) -> dict[str, Any]:
    text = body.decode("utf-8", errors="replace").strip()
    if status >= _FAILED and (not text or text.startswith("<html>")):
        reason = http_reason(status)
        return {"Error": {"Code": str(status), "Message": reason}, "ResponseMetadata": {"HTTPStatusCode": status}}
    document = _document(text)
    code = kind or document.get("code") or document.get("Code") or document.get("__type") or status
    message = document.get("message", document.get("Message", ""))
    return {
        "Error": {"Code": str(code).split(":", 1)[0].rsplit("#", 1)[-1], "Message": str(message)},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **{name: value for name, value in document.items() if name in _MEMBERS},
    }


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {"message": text}
    return document if isinstance(document, dict) else {"message": text}


def http_reason(status: int) -> str:
    """`Bad Gateway`; empty for a status that HTTP does not know."""
    from http import HTTPStatus  # noqa: PLC0415 - 2 ms that only this failure needs

    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def translate(error: Exception, action: str) -> LlmDeployError:
    """Our error for whatever botocore, or urllib3 beneath it, raised while an endpoint was called."""
    from botocore import exceptions as boto  # noqa: PLC0415 - botocore is loaded by now, and not before

    if isinstance(error, boto.ClientError):
        return _from_response(error.response, action)
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
        return UnreachableError(f"cannot {action}: {error}", hint="Check the network, AWS_REGION and any proxy.")
    if isinstance(error, boto.ReadTimeoutError):
        return InferenceTimeoutError(f"cannot {action}: no answer in the time allowed", hint=TIMEOUT_HINT)
    if isinstance(error, boto.HTTPClientError | boto.IncompleteReadError):
        return InferenceError(
            f"cannot {action}: the connection broke before the answer was whole ({error})",
            hint="The model may have worked on it, so it was not asked again by itself.",
        )
    return aws.translate(error, action)


def translate_mid_stream(error: Exception, action: str) -> InferenceError:
    """As `translate`, for what is raised while a stream is read: the answer had begun."""
    from botocore.exceptions import ClientError, ReadTimeoutError  # noqa: PLC0415 - as above
    from urllib3.exceptions import ReadTimeoutError as Urllib3ReadTimeoutError  # noqa: PLC0415 - as above

    if isinstance(error, ClientError):
        return _mid_stream(_from_response(error.response, action))
    if isinstance(error, ReadTimeoutError | Urllib3ReadTimeoutError):
        return InferenceTimeoutError(f"{action}: the stream fell silent for longer than the time allowed")
    return StreamBrokenError(f"{action}: the connection broke in the middle of the answer ({error})")


def _mid_stream(found: LlmDeployError) -> InferenceError:
    return found if isinstance(found, InferenceError) else StreamBrokenError(found.message, hint=found.hint)


def _from_response(response: Mapping[str, Any], action: str) -> LlmDeployError:
    # Modelled members (OriginalStatusCode, ErrorCode, ...) stand beside "Error" in the response.
    members = {name: value for name, value in response.items() if name not in {"Error", "ResponseMetadata"}}
    details = {**members, **response.get("Error", {})}
    read = TABLE.get(str(details.get("Code", "")))
    return read(details, action) if read else aws.translate_answer(response, action)
