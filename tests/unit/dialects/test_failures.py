"""A model server's own words as one of our errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.dialects.failures import MAX_QUOTED_CHARS, model_error
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

on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InferenceRequestError),
        (401, CredentialsError),
        (403, AccessDeniedError),
        (404, InferenceRequestError),
        (413, InferenceRequestError),
        (422, InferenceRequestError),
        (424, InferenceError),
        (429, OverloadedError),
        (500, InferenceError),
        (503, NoCapacityError),
        (504, InferenceTimeoutError),
    ],
)
def test_the_status_says_the_class(status: int, kind: type[LlmDeployError]) -> None:
    """Exactly this class, and the server's words in the message."""
    error = model_error('{"error": "its own words", "error_type": "whatever"}', status=status)
    assert type(error) is kind
    assert "its own words" in error.message


@pytest.mark.parametrize(("status", "kind"), [(401, CredentialsError), (403, AccessDeniedError)])
@pytest.mark.parametrize("named", ["invalid_request_error", "BadRequestError", "validation"])
def test_a_wrong_key_is_no_malformed_request(status: int, kind: type[LlmDeployError], named: str) -> None:
    """OpenAI and SageMaker's path name both alike; changing the request would not help."""
    body = json.dumps({"error": {"message": "Incorrect API key", "type": named, "code": "invalid_api_key"}})
    assert type(model_error(body, status=status)) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"error": "input is too long", "error_type": "validation"},
        {"error": {"message": "input is too long", "type": "BadRequestError", "code": 400}},
        {"object": "error", "message": "input is too long", "type": "BadRequestError", "code": 400},
        {"detail": "input is too long"},
        {"message": "input is too long"},
        "input is too long",
    ],
)
def test_every_engines_shape_gives_its_message(body: object) -> None:
    """The message is the server's sentence, not its JSON."""
    error = model_error(body if isinstance(body, str) else json.dumps(body), status=400)
    assert error.message == "the model server refused the request (HTTP 400): input is too long"


def test_the_kind_that_a_server_names_goes_before_its_status() -> None:
    """TGI's "overloaded" is overload under any status."""
    assert type(model_error('{"error":"full","error_type":"overloaded"}', status=500)) is OverloadedError


def test_a_prompt_that_does_not_fit_is_the_requests_fault_under_any_status() -> None:
    """LMI answers 424 to it, as to everything."""
    body = '{"error":"This model\'s maximum context length is 2048 tokens. However, ...","code":424}'
    assert type(model_error(body, status=424)) is InferenceRequestError


@on_a_busy_machine
@given(st.text(max_size=3 * MAX_QUOTED_CHARS), st.none() | st.integers(100, 599))
def test_any_body_gives_one_bounded_error(body: str, status: int | None) -> None:
    """Whatever a server says, there is a message, and it is not megabytes long."""
    error = model_error(body, status=status)
    assert 0 < len(error.message) < MAX_QUOTED_CHARS + 200


@pytest.mark.parametrize(
    ("status", "verb"),
    [(400, "refused"), (403, "refused"), (422, "refused"), (429, "refused"), (424, "failed"), (500, "failed")],
)
def test_a_refusal_is_not_called_a_failure(status: int, verb: str) -> None:
    """Who reads "failed" looks at the server; who reads "refused the request" at the request."""
    assert f"the model server {verb}" in model_error('{"error": "no"}', status=status).message


@pytest.mark.parametrize(
    "text",
    [
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3001 `inputs` tokens",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 3001",
        "This model's maximum context length is 2048 tokens. However, you requested 3101 tokens",
    ],
)
def test_a_prompt_that_is_too_long_gets_the_limits_as_its_hint(text: str) -> None:
    """In the words of TGI and vLLM, whatever the status."""
    error = model_error(json.dumps({"error": text}), status=422)
    assert isinstance(error, InferenceRequestError)
    assert "limits.max_input_tokens" in (error.hint or "")
