"""SageMaker's OpenAI-compatible path: its address, and the token that clients without AWS signatures show there.

A token is a presigned request that lets its bearer call endpoints as the one who signed it. It is as secret as the key
that signed it, for as long as it holds.

Source: SageMaker developer guide, "OpenAI-compatible endpoints"; the token generator of SageMaker's Python SDK.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from llm_deploy.aws import Session, aws_errors
from llm_deploy.client.clients import runtime_client
from llm_deploy.errors import CredentialsError, SpecError

LONGEST_LIFE_S = 12 * 3600
_PREFIX = "sagemaker-api-key-"
_HOST = "sagemaker.amazonaws.com"
_SERVICE = "sagemaker"
_RENEW_BEFORE_S = 300.0
"""A request that is under way when its token ends was let in; what starts shortly before gets a new one."""


@dataclass(frozen=True, slots=True)
class BearerToken:
    """What goes behind `Authorization: Bearer`.

    Attributes:
        value: A secret.
        expires_at: When it ends at the latest: its own life, or that of the credentials which signed it.
    """

    value: str = field(repr=False)
    expires_at: datetime


def bearer_token(
    session: Any,  # noqa: ANN401 - ours or boto3's
    *,
    lifetime_s: int = LONGEST_LIFE_S,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BearerToken:
    """A new token of the session's identity; nothing is asked of AWS but what its credentials need.

    Raises:
        SpecError: `lifetime_s` is not between 1 s and 12 h.
        CredentialsError: There are no credentials.
    """
    if not 1 <= lifetime_s <= LONGEST_LIFE_S:
        raise SpecError(f"a token lives from 1 to {LONGEST_LIFE_S} s, not {lifetime_s}")
    with aws_errors("sign a token"):
        credentials, region = _identity(session)
        url = _presigned(credentials, region, lifetime_s)
    expires_at = now() + timedelta(seconds=lifetime_s)
    ends_at = getattr(credentials, "_expiry_time", None)  # of credentials that refresh; botocore has no public name
    text = f"{url.removeprefix('https://')}&Version=1"
    value = _PREFIX + base64.b64encode(text.encode()).decode()
    return BearerToken(value, min(expires_at, ends_at) if isinstance(ends_at, datetime) else expires_at)


def openai_base(session: Any, endpoint_name: str, component: str | None) -> str:  # noqa: ANN401 - as above
    """The base address for OpenAI's clients: `chat/completions` is under it."""
    client = runtime_client(session)
    try:
        root = str(client.meta.endpoint_url).rstrip("/")
    finally:
        client.close()
    part = f"/inference-components/{quote(component, safe='')}" if component else ""
    return f"{root}/endpoints/{quote(endpoint_name, safe='')}{part}/openai/v1"


class Renewed:
    """The current token of a session; a new one is made some minutes before the old one ends."""

    def __init__(
        self, make: Callable[[], BearerToken], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._make = make
        self._now = now
        self._lock = threading.Lock()
        self._token: BearerToken | None = None

    def held(self) -> BearerToken | None:
        """The token at hand, if it holds for the next request."""
        token = self._token
        if token is None or (token.expires_at - self._now()).total_seconds() < _RENEW_BEFORE_S:
            return None
        return token

    def current(self) -> BearerToken:
        """A token that holds for the next request; may block."""
        token = self.held()
        if token is None:
            with self._lock:
                token = self.held()
                if token is None:
                    token = self._token = self._make()
        return token


def _identity(session: Any) -> tuple[Any, str]:  # noqa: ANN401 - as above
    if isinstance(session, Session):
        credentials, region = session.credentials(), session.region
    else:
        credentials, region = session.get_credentials(), session.region_name
    if credentials is None:
        raise CredentialsError("there are no AWS credentials to sign a token with")
    if not region:
        raise SpecError("the session has no region")
    return credentials, region


def _presigned(credentials: Any, region: str, lifetime_s: int) -> str:  # noqa: ANN401 - botocore ships no types
    from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 - loaded with the session
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - as above

    request = AWSRequest(
        method="POST",
        url=f"https://{_HOST}/",
        headers={"host": _HOST},
        params={"Action": "CallWithBearerToken"},
    )
    SigV4QueryAuth(credentials.get_frozen_credentials(), _SERVICE, region, expires=lifetime_s).add_auth(request)
    return str(request.url)
