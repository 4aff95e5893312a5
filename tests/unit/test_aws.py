"""botocore's errors become ours once, by one table, with the cloud's own words and something to do."""

from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker

from llm_deploy.aws import CLOCK_HINT, NO_CREDENTIALS_HINT, Session, aws_errors, translate
from llm_deploy.errors import (
    AccessDeniedError,
    BusyError,
    CloudError,
    ConflictError,
    CredentialsError,
    LlmDeployError,
    NotFoundError,
    NotYetError,
    QuotaError,
    SpecError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
)

OF_OTHER_SERVICES = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
}
"""Of EC2, Route 53 and DynamoDB, which nothing here calls."""


def answer(code: str, message: str) -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "CreateEndpoint")


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:::endpoint/x".', NotFoundError),
        ("ValidationException", 'Cannot create already existing endpoint configuration "arn".', ConflictError),
        ("ValidationException", 'Cannot update in-progress endpoint "arn".', BusyError),
        ("ValidationException", "Cannot delete it while it is in state CREATE_IN_PROGRESS", BusyError),
        ("ValidationException", "1 validation error detected", CloudError),
        (
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances",
            QuotaError,
        ),
        ("AccessDeniedException", "User: x is not authorized to perform: sagemaker:CreateModel", AccessDeniedError),
        ("ExpiredToken", "The security token included in the request is expired", CredentialsError),
        ("UnrecognizedClientException", "The security token included in the request is invalid.", CredentialsError),
        ("MissingAuthenticationToken", "Request is missing Authentication Token", CredentialsError),
        ("IncompleteSignature", "Authorization header requires 'Signature' parameter.", CredentialsError),
        ("RequestExpired", "Request has expired.", CredentialsError),
        ("RequestTimeTooSkewed", "The difference between the request time and the current time", CredentialsError),
        ("ConcurrentUpdateException", "There is already a pending update to this scalable target", BusyError),
        ("ConcurrentModification", "The request was submitted simultaneously with another", BusyError),
        ("ThrottlingException", "Rate exceeded", ThrottledError),
        ("NoSuchEntity", "The role with name x cannot be found.", NotFoundError),
        ("ValidationException", "Could not assume role arn:aws:iam::1:role/x. Please ensure", NotYetError),
        ("SomethingNew", "words of the cloud", CloudError),
    ],
)
def test_the_clouds_answers_are_told_apart(code: str, message: str, expected: type[LlmDeployError]) -> None:
    """SageMaker says nearly everything as ValidationException, so its text decides; its words are kept."""
    error = translate(answer(code, message), "create endpoint 'x'")
    assert type(error) is expected
    assert error.message == f"cannot create endpoint 'x': {message} ({code})"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(500, UnavailableError), (502, UnavailableError), (503, UnavailableError), (501, CloudError), (400, CloudError)],
)
def test_a_failure_of_the_cloud_itself_is_told_by_its_status(status: int, expected: type[LlmDeployError]) -> None:
    """Nobody knows whether the request was carried out; what the cloud does not offer (501) will not pass."""
    response = {"Error": {"Code": "Whatever"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(translate(exceptions.ClientError(response, "CreateEndpoint"), "create endpoint 'x'")) is expected


@pytest.mark.parametrize("code", sorted({*ThrottledRetryableChecker._THROTTLED_ERROR_CODES} - OF_OTHER_SERVICES))
def test_whatever_botocore_takes_for_throttling_is_throttling_here(code: str) -> None:
    """What is left after its retries has the same name, whichever of AWS's words for it a service uses."""
    assert isinstance(translate(answer(code, "Rate exceeded"), "x"), ThrottledError | QuotaError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.NoCredentialsError(), CredentialsError),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), CredentialsError),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="x"), CredentialsError),
        (exceptions.ProfileNotFound(profile="nobody"), SpecError),
        (exceptions.NoRegionError(), SpecError),
        (exceptions.InvalidRegionError(region_name="x/y"), SpecError),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), UnreachableError),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), UnreachableError),
        (exceptions.SSLError(endpoint_url="https://x", error="x"), CloudError),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), UnavailableError),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), UnavailableError),
        (ResponseParserError("not XML"), UnavailableError),
        (exceptions.DataNotFoundError(data_path="x"), CloudError),
    ],
)
def test_what_goes_wrong_before_an_answer_is_told_apart(error: Exception, expected: type[LlmDeployError]) -> None:
    """Missing credentials, a wrong profile or region, no network: each its own kind with its own way out."""
    assert type(translate(error, "list endpoints")) is expected


@pytest.mark.parametrize(
    ("code", "message", "clock"),
    [
        ("RequestExpired", "Request has expired.", True),
        ("RequestTimeTooSkewed", "too large", True),
        ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z", True),
        ("SignatureDoesNotMatch", "Signature not yet current: 20260101T001500Z is still later than x", True),
        ("InvalidSignatureException", "The request signature we calculated does not match", False),
        ("ExpiredToken", "The security token included in the request is expired", False),
    ],
)
def test_a_wrong_clock_is_not_taken_for_wrong_credentials(code: str, message: str, *, clock: bool) -> None:
    """Renewing keys would not help; the clock is named, and only where the cloud speaks of time."""
    hint = translate(answer(code, message), "list endpoints").hint or ""
    assert (hint == CLOCK_HINT) is clock
    assert ("clock" in hint) is clock


def test_missing_credentials_say_every_way_to_have_some() -> None:
    """The hint names signing in, the profile, .env and the local target."""
    hint = translate(exceptions.NoCredentialsError(), "x").hint or ""
    assert hint == NO_CREDENTIALS_HINT
    assert all(way in hint for way in ("aws sso login", "AWS_PROFILE", "AWS_ACCESS_KEY", "--target local"))


def test_errors_of_our_own_pass_through() -> None:
    """Only botocore's errors are translated; a bug is not dressed up as a cloud's answer."""
    with pytest.raises(KeyError), aws_errors("x"):
        raise KeyError


def test_a_session_shows_no_secret() -> None:
    """A repr goes to logs and tracebacks."""
    session = Session("eu-central-1", access_key="AKIAEXAMPLE", secret_key="very-secret", token="also-secret")
    assert "secret" not in repr(session)
    assert "AKIA" not in repr(session)
