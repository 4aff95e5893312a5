"""Sessions and clients, and the one table that turns botocore's errors into ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

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

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
CONTROL_PLANE_ATTEMPTS = 6
"""botocore's standard mode: throttling, 5xx, time-outs and broken connections are tried again after a random part of 1,
2, 4, 8 and 16 s: 31 s of waiting at most, beside the time that the attempts themselves take. Source: botocore 1.44,
`retries/standard.py`."""

_FAILED_BY_ITSELF = frozenset({500, 502, 503, 504})
"""HTTP statuses that say nothing about the request. Source: as above, `TransientRetryableChecker`."""

ROLE_SESSION_NAME = "llmdeploy"
"""What CloudTrail shows of calls under a role that we assumed; who assumed it is in the event of AssumeRole."""

_CODES: Mapping[str, type[LlmDeployError]] = {
    "AccessDenied": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    "UnauthorizedOperation": AccessDeniedError,
    "ExpiredToken": CredentialsError,
    "ExpiredTokenException": CredentialsError,
    "InvalidClientTokenId": CredentialsError,
    "UnrecognizedClientException": CredentialsError,
    "SignatureDoesNotMatch": CredentialsError,
    "InvalidSignatureException": CredentialsError,
    "InvalidAccessKeyId": CredentialsError,
    "MissingAuthenticationToken": CredentialsError,
    "MissingAuthenticationTokenException": CredentialsError,
    "IncompleteSignature": CredentialsError,
    "IncompleteSignatureException": CredentialsError,
    "RequestExpired": CredentialsError,
    "RequestTimeTooSkewed": CredentialsError,
    "NoSuchEntity": NotFoundError,
    "ResourceNotFound": NotFoundError,
    "ResourceNotFoundException": NotFoundError,
    "ObjectNotFoundException": NotFoundError,
    "ResourceInUse": ConflictError,
    "AlreadyExistsException": ConflictError,
    "ChangeSetNotFound": NotFoundError,
    "InvalidChangeSetStatus": BusyError,
    "OperationInProgressException": BusyError,
    "EntityAlreadyExists": ConflictError,
    "DeleteConflict": ConflictError,
    "ConcurrentModification": BusyError,
    "ConcurrentModificationException": BusyError,
    "ConcurrentUpdateException": BusyError,
    "ResourceLimitExceeded": QuotaError,
    "LimitExceeded": QuotaError,
    "LimitExceededException": QuotaError,
    "Throttling": ThrottledError,
    "ThrottlingException": ThrottledError,
    "ThrottledException": ThrottledError,
    "RequestThrottled": ThrottledError,
    "RequestThrottledException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "SlowDown": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "RequestTimeout": UnavailableError,
    "RequestTimeoutException": UnavailableError,
}
"""By error code. Source: the service models of SageMaker, IAM, STS, Application Auto Scaling; AWS's common errors;
botocore's own list of throttling codes."""

_TEXTS: tuple[tuple[str, type[LlmDeployError]], ...] = (
    (r"^Could not find ", NotFoundError),
    (r"^Cannot create already existing ", ConflictError),
    (r"^Cannot update in-progress ", BusyError),
    (r"while it is in state ", BusyError),
    (r"is a base inference component for one or more associated", BusyError),
    (r"service limit '", QuotaError),
    (r"^Stack (with id \S+|\[\S+\]) does not exist", NotFoundError),
    (
        r"is in \w+_IN_PROGRESS state and can ?not be updated|deleted while in status \w+_IN_PROGRESS",
        BusyError,
    ),
    (r"^Stack \[\S+\] already exists and cannot be created again", ConflictError),
    (r"User is missing the following permissions", AccessDeniedError),
    (r"(Error Code|HandlerErrorCode): AccessDenied", AccessDeniedError),
    (r"(?i)Could not assume role|not able to assume|unable to assume the role", NotYetError),
)
"""SageMaker hosting says nearly everything as `ValidationException`; only the text tells the cases apart. So does
Application Auto Scaling where its caller lacks permissions on what is to scale. Expressions, compiled when needed."""

_HINTS: Mapping[type[LlmDeployError], str] = {
    AccessDeniedError: "Ask for the permission that is named, or deploy as the role of `llmdeploy create-roles`.",
    CredentialsError: "Renew them: `aws sso login`, a new session, or the keys in .env. "
    "`--target local` needs no credentials.",
    BusyError: "Wait a moment and run the same command again; it goes on where it stopped.",
    QuotaError: "Ask for an increase in the Service Quotas console, or choose another instance type or region.",
    NotYetError: "A new role takes up to a minute. If it is not new: does it exist in this account, and does it trust "
    "sagemaker.amazonaws.com? `llmdeploy create-roles` makes one; AWS_ARN_ROLE in .env names it.",
    ThrottledError: "Wait a minute and run the same command again; it goes on where it stopped.",
    UnavailableError: "It was tried again for a while. Run the same command again; it looks first at what is there.",
}

NETWORK_HINT = "Check the network and AWS_REGION; for the local cloud `llmdeploy local status`."

CLOCK_HINT = (
    "AWS refuses requests whose time is minutes off: set this machine's clock, then run the same command again."
)

_CLOCK_IS_OFF = re.compile(r"^(RequestExpired|RequestTimeTooSkewed)$|Signature (expired|not yet current)")
"""A code, or the words with which services that only know `InvalidSignatureException` say it.

Source: AWS General Reference, "Troubleshooting AWS Signature Version 4 errors"; botocore's own list of skew errors.
"""

ASSUME_ROLE_HINT = (
    "LLMDEPLOY_ROLE_ARN (environment or .env) names the role to act as: is it in this account, and may you assume it? "
    "One that is new takes up to a minute."
)

NO_CREDENTIALS_HINT = (
    "Sign in (`aws sso login` or `aws configure`), set AWS_PROFILE, or put AWS_ACCESS_KEY and AWS_SECRET_KEY "
    "into .env. `--target local` needs no AWS account."
)

_LIBRARY_ERRORS: tuple[tuple[frozenset[str], type[LlmDeployError], str], ...] = (
    (frozenset({"NoCredentialsError", "PartialCredentialsError"}), CredentialsError, NO_CREDENTIALS_HINT),
    (
        frozenset({"CredentialRetrievalError", "SSOError", "TokenRetrievalError"}),
        CredentialsError,
        _HINTS[CredentialsError],
    ),
    (frozenset({"ProfileNotFound", "InvalidConfigError"}), SpecError, "Check AWS_PROFILE and ~/.aws/config."),
    (frozenset({"NoRegionError", "InvalidRegionError"}), SpecError, "Set AWS_REGION, for example eu-central-1."),
    (
        frozenset({"ParamValidationError"}),
        SpecError,
        "This should have been found before anything was sent; please report it with your spec.",
    ),
    (frozenset({"SSLError", "InvalidProxiesConfigError"}), CloudError, NETWORK_HINT),
    (
        frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"}),
        UnreachableError,
        NETWORK_HINT,
    ),
    (frozenset({"HTTPClientError", "ConnectionError"}), UnavailableError, NETWORK_HINT),
    (frozenset({"ResponseParserError"}), UnavailableError, _HINTS[UnavailableError]),
)
"""By class name of botocore.exceptions (by name, so that this table costs no import); the first match wins."""


@dataclass(frozen=True)
class Session:
    """Who talks to which cloud, and its clients, made once each.

    Attributes:
        endpoint_url: Where every service is, for clouds that are not AWS; `None`: AWS's own addresses.
        access_key, secret_key, token: Explicit credentials; without them botocore's chain is asked
            (environment, profile, SSO, instance role).
        attempts: How often a call is sent at most, when it is throttled or fails for reasons that pass.
        role_arn: A role to act as. These credentials then do nothing but assume it, now and whenever that runs out.
        wire: How models are called: `fast`, the client's own path where that is right; or `botocore`.
    """

    region: str
    profile: str | None = None
    endpoint_url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    attempts: int = CONTROL_PLANE_ATTEMPTS
    role_arn: str | None = None
    wire: Literal["fast", "botocore"] = "fast"
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def client(self, service: str) -> Any:  # noqa: ANN401 - botocore makes its client classes at run time
        """The client of a service (what `boto3.client` gives), with our time-outs and retries.

        Raises:
            SpecError: The region or the profile does not exist.
        """
        if service not in self._clients:
            with aws_errors(f"open {service} in {self.region}"):
                self._clients[service] = self._our_client(service)
        return self._clients[service]

    def once(self) -> Session:
        """The same, each call sent once: for what must not be carried out a second time unseen."""
        return replace(self, attempts=1, _clients={"botocore": self._botocore()})

    def new_client(self, service: str, config: Any) -> Any:  # noqa: ANN401 - botocore ships no types
        """A client with the caller's own `botocore.config.Config`; not kept.

        botocore raises its own errors here: a region or a profile that does not exist.
        """
        return self._botocore().create_client(service, self.region, endpoint_url=self.endpoint_url, config=config)

    def credentials(self) -> Any:  # noqa: ANN401 - as above
        """The credentials that botocore finds, which renew themselves where they run out; `None` where there are none.

        botocore raises its own errors here.
        """
        return self._botocore().get_credentials()

    def _botocore(self) -> Any:  # noqa: ANN401 - as above
        """Made once, since it keeps what it has read; not boto3's, which loads transfers and resources nobody uses."""
        if "botocore" not in self._clients:
            import botocore.session  # noqa: PLC0415 - 100 ms that a command without AWS calls need not pay

            from llm_deploy.service_models import use_smaller_models  # noqa: PLC0415 - as above

            session = botocore.session.Session(profile=self.profile)
            if self.access_key is not None:
                session.set_credentials(self.access_key, self.secret_key, self.token)
            if self.role_arn is not None:
                self._act_as(self.role_arn, session)
            use_smaller_models(session)
            self._clients["botocore"] = session
        return self._clients["botocore"]

    def _act_as(self, role_arn: str, session: Any) -> None:  # noqa: ANN401 - as above
        """Let a botocore session sign as a role; STS is asked at the first call, and again before that expires."""
        from botocore import credentials  # noqa: PLC0415 - as above
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415 - as above

        source = session.get_credentials()
        if source is None:
            raise NoCredentialsError
        fetcher = credentials.AssumeRoleCredentialFetcher(
            lambda service, **keys: session.create_client(service, self.region, endpoint_url=self.endpoint_url, **keys),
            source,
            role_arn,
            extra_args={"RoleSessionName": ROLE_SESSION_NAME},
        )
        # botocore's own assume-role provider reads profiles only, and its sessions take lasting keys only.
        session._credentials = credentials.DeferredRefreshableCredentials(  # noqa: SLF001
            fetcher.fetch_credentials, "assume-role"
        )

    def _our_client(self, service: str) -> Any:  # noqa: ANN401 - as `client`
        import logging  # noqa: PLC0415 - botocore has loaded it

        from botocore.config import Config  # noqa: PLC0415 - as above

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            user_agent_extra="llm-deploy",
        )
        client = self.new_client(service, config)
        client.meta.events.register("before-parse.*.*", _check_whole)
        if logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
            client.meta.events.register("after-call.*.*", _log_call)
        return client


def _check_whole(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:  # noqa: ANN401 - as above
    """Refuse an answer whose end is missing: botocore takes a cut one for a success that says nothing.

    Source: botocore 1.44 with urllib3 2.8, measured by cutting answers on the wire.
    """
    from botocore.exceptions import ConnectionClosedError  # noqa: PLC0415 - as above

    headers, body = response_dict["headers"], response_dict.get("body")
    said = headers.get("content-length")
    if said is None or "content-encoding" in headers or not isinstance(body, bytes):
        return
    if len(body) < int(said) and operation_model.http.get("method") != "HEAD":
        raise ConnectionClosedError(endpoint_url=operation_model.name)


def _log_call(model: Any, http_response: Any, **_: object) -> None:  # noqa: ANN401 - botocore ships no types
    """One line a call: what was asked and the answer's status; never a document, which could hold a secret."""
    import logging  # noqa: PLC0415 - as above

    logging.getLogger(__name__).debug(
        "%s %s: HTTP %s", model.service_model.service_name, model.name, http_response.status_code
    )


@contextmanager
def aws_errors(action: str) -> Iterator[None]:
    """Translate what botocore raises inside into our error tree; `action` says what was tried ("create model x")."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only code that calls AWS comes here
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - as above

    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise translate(error, action) from error


def translate(error: Exception, action: str) -> LlmDeployError:
    """Our error for one of botocore's. Pure; unknown ones become `CloudError` with the cloud's own words."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

    if isinstance(error, ClientError):
        return translate_answer(error.response, action)
    return _from_library(error, action)


def kind_of_error(words: str) -> type[LlmDeployError] | None:
    """What a service's words stand for, where another service passes them on (CloudFormation's events); else `None`."""
    return next((kind for pattern, kind in _TEXTS if re.search(pattern, words)), None)


def error_text(error: Exception) -> str:
    """The cloud's own message of a botocore error."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Message") or error)


def translate_answer(response: Mapping[str, Any], action: str) -> LlmDeployError:
    """Our error for a service's, in the shape that botocore gives them: `Error` and `ResponseMetadata`. Pure."""
    details = response.get("Error", {})
    code, text = str(details.get("Code", "")), str(details.get("Message", ""))
    by_text = next((kind for pattern, kind in _TEXTS if re.search(pattern, text)), None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    otherwise = UnavailableError if status in _FAILED_BY_ITSELF else CloudError
    kind = _CODES.get(code) or by_text or otherwise
    return kind(f"cannot {action}: {text or code} ({code})", hint=_hint(kind, code, text))


def _hint(kind: type[LlmDeployError], code: str, text: str) -> str | None:
    if kind is CredentialsError and (_CLOCK_IS_OFF.search(code) or _CLOCK_IS_OFF.search(text)):
        return CLOCK_HINT
    if kind is AccessDeniedError and "sts:AssumeRole" in text:
        return ASSUME_ROLE_HINT
    return _HINTS.get(kind)


def _from_library(error: Exception, action: str) -> LlmDeployError:
    lineage = {parent.__name__ for parent in type(error).__mro__}
    for names, kind, hint in _LIBRARY_ERRORS:
        if lineage & names:
            return kind(f"cannot {action}: {error}", hint=hint)
    return CloudError(f"cannot {action}: {error}")
